//! How TLS begins: by an SSLRequest, or directly (`sslnegotiation=direct`, PostgreSQL 17 and later).

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::verify::{Reply, ask_for_tls, has_spoken};

/// Why TLS cannot begin.
#[derive(Debug)]
pub(super) enum Unable {
    /// The server has TLS turned off.
    Plaintext,
    /// It answers with an error, whose text is not authenticated: it starts, or has no more processes.
    Error,
    /// No PostgreSQL answers.
    Foreign(&'static str),
    /// The connection failed.
    Io(io::Error),
}

/// Requests TLS with an SSLRequest.
pub(super) async fn request(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> Result<(), Unable> {
    match ask_for_tls(stream).await.map_err(Unable::Io)? {
        Reply::Tls if has_spoken(stream).await.map_err(Unable::Io)? => {
            Err(Unable::Foreign("bytes were injected before the TLS handshake"))
        }
        Reply::Tls => Ok(()),
        Reply::Plaintext => Err(Unable::Plaintext),
        Reply::Error => Err(Unable::Error),
        Reply::Garbage => Err(Unable::Foreign("the server there is not PostgreSQL")),
    }
}
