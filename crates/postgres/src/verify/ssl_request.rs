//! `SSLRequest`: the request that precedes TLS (PostgreSQL manual, "SSL Session Encryption").

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Length 8, then the request code 80877103.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// The server's reply.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// `S`: TLS may begin.
    Tls,
    /// `N`: TLS is off.
    Plaintext,
    /// `E`: an error, whose text is not authenticated and must be neither parsed nor shown (CVE-2024-10977).
    Error,
    /// Something that no PostgreSQL sends.
    Garbage,
}

/// Requests TLS, and reads exactly one byte: further bytes belong to TLS, and if some have arrived already, somebody has
/// injected them (CVE-2021-23222).
pub(crate) async fn ask<S>(stream: &mut S) -> io::Result<Reply>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(&SSL_REQUEST).await?;
    stream.flush().await?;
    Ok(match stream.read_u8().await? {
        b'S' => Reply::Tls,
        b'N' => Reply::Plaintext,
        b'E' => Reply::Error,
        _ => Reply::Garbage,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn asks_and_reads_one_byte() {
        for (byte, reply) in [
            (b'S', Reply::Tls),
            (b'N', Reply::Plaintext),
            (b'E', Reply::Error),
            (b'H', Reply::Garbage),
        ] {
            let (mut ours, mut theirs) = tokio::io::duplex(64);
            theirs.write_all(&[byte, b'x']).await.unwrap();
            assert_eq!(ask(&mut ours).await.unwrap(), reply);
            let mut asked = [0; 8];
            theirs.read_exact(&mut asked).await.unwrap();
            assert_eq!(asked, SSL_REQUEST);
            assert_eq!(ours.read_u8().await.unwrap(), b'x', "the second byte is not ours to read");
        }
    }

    #[tokio::test]
    async fn an_end_before_the_answer_is_an_error() {
        let (mut ours, theirs) = tokio::io::duplex(64);
        drop(theirs);
        assert!(ask(&mut ours).await.is_err());
    }
}
