//! One request and its answer over TLS, to a server whose certificate is judged before anything is sent.

use std::io;

use tokio::time::timeout;

use super::turns::chosen;
use super::{Client, LIMIT, Served, connect, handshake};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// The connection, the handshake or the request failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// No answer came within five seconds.
    #[error("no answer within 5s")]
    Late,
    /// The server showed a certificate that is not trusted, so nothing was sent.
    #[error("nothing was sent, because the server's certificate is not pgsvid's")]
    Untrusted,
    /// There is no address.
    #[error("there is no address to connect to")]
    Nowhere,
}

/// Sends `request` to the first of these hosts whose server is trusted, after a handshake, and returns the answer, or the first
/// `longest` bytes of it. `is_trusted` judges what a server has shown; the request is not sent unless it returns true. Each host
/// has five seconds, so that one that accepts connections and says nothing does not keep the request from the next.
pub async fn exchange(
    (hosts, port): (&[String], u16),
    client: Option<&Client>,
    is_trusted: impl Fn(&Served) -> bool,
    request: &[u8],
    longest: u64,
) -> Result<Vec<u8>, Unanswered> {
    let ask = async |host: &str| {
        let stream = connect(host, port).await?;
        let shaken = handshake::shake(stream, client, None).await;
        let (served, goodbye) = shaken.map_err(|failure| failure.error)?;
        if !is_trusted(&served) {
            goodbye.say().await;
            return Err(Unanswered::Untrusted);
        }
        Ok(goodbye.request(request, longest).await?)
    };
    let mut failed = Unanswered::Nowhere;
    for host in chosen(hosts) {
        match timeout(LIMIT, ask(host)).await.unwrap_or(Err(Unanswered::Late)) {
            Ok(answer) => return Ok(answer),
            // The failure of a host that accepts connections says more than a refused connection.
            Err(failure) if failed.is_nobody() => failed = failure,
            Err(_) => {}
        }
    }
    Err(failed)
}

impl Unanswered {
    /// Whether nobody listens there.
    fn is_nobody(&self) -> bool {
        match self {
            Self::Io(error) => error.kind() == io::ErrorKind::ConnectionRefused,
            Self::Nowhere => true,
            Self::Late | Self::Untrusted => false,
        }
    }
}
