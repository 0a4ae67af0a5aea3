//! A login for replication, as a standby makes it: the same handshake, and a start-up packet without a database.
//! tokio-postgres has no such packet (PostgreSQL: "Streaming Replication Protocol").

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::text::shown;

/// The request for TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// Version 3.0.
const VERSION: [u8; 4] = [0, 3, 0, 0];
/// Longest message in bytes, and most messages that are read. A server that sends more is not trusted to be PostgreSQL.
const LONGEST: u32 = 64 * 1024;
const MOST: usize = 200;

/// The server's answer.
#[derive(Debug)]
pub(super) enum Answer {
    /// The login succeeded, and the session was closed.
    Welcome,
    /// It asks for a password, too.
    Password,
    /// It asks for something else, such as GSSAPI.
    OtherMethod,
    /// It refuses.
    Refused {
        /// SQLSTATE
        code: String,
        /// Its message, shortened and escaped.
        text: String,
    },
    /// It sends more than PostgreSQL would.
    TooMuch,
}

/// Requests TLS; false if the server has it turned off.
pub(super) async fn ask_for_tls(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> io::Result<bool> {
    stream.write_all(&SSL_REQUEST).await?;
    Ok(stream.read_u8().await? == b'S')
}

/// Logs in over TLS, and closes the session.
pub(super) async fn log_in(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    role: &str,
) -> io::Result<Answer> {
    let mut packet = VERSION.to_vec();
    for text in ["user", role, "replication", "true", "application_name", "pgsvid check"] {
        packet.extend(text.as_bytes());
        packet.push(0);
    }
    packet.push(0);
    let length = u32::try_from(packet.len() + 4).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], &packet].concat()).await?;
    stream.flush().await?;
    for _ in 0..MOST {
        let kind = stream.read_u8().await?;
        let length = stream.read_u32().await?;
        if !(4..LONGEST).contains(&length) {
            return Ok(Answer::TooMuch);
        }
        let mut body = vec![0; length as usize - 4];
        stream.read_exact(&mut body).await?;
        match kind {
            // The first number is the requested method; 0 means none. 3, 5 and 10 ask for a password: in clear, md5, SASL.
            b'R' => match body.get(..4) {
                Some([0, 0, 0, 0]) => {}
                Some([0, 0, 0, 3 | 5 | 10]) => return Ok(Answer::Password),
                _ => return Ok(Answer::OtherMethod),
            },
            b'E' => return Ok(refused(&body)),
            b'Z' => {
                // Tells the server that the session ends.
                stream.write_all(&[b'X', 0, 0, 0, 4]).await?;
                stream.shutdown().await?;
                return Ok(Answer::Welcome);
            }
            _ => {}
        }
    }
    Ok(Answer::TooMuch)
}

/// The relevant fields of an error: C is the SQLSTATE, M the message.
fn refused(body: &[u8]) -> Answer {
    let field = |kind: u8| {
        let fields = body.split(|byte| *byte == 0);
        let found =
            fields.filter_map(|field| field.split_first()).find(|(first, _)| **first == kind);
        shown(&String::from_utf8_lossy(found.map_or(&[][..], |(_, text)| text)))
    };
    Answer::Refused { code: field(b'C'), text: field(b'M') }
}
