//! One request and its answer over TLS, to a server whose certificate is judged before anything is sent.

use std::io;

use tokio::time::{Instant, timeout_at};

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
    #[error("the server's certificate is not one that it should have, so nothing was sent")]
    Untrusted,
    /// There is no address.
    #[error("there is no address to connect to")]
    Nowhere,
}

/// Sends `request` to the first of these hosts that accepts the connection, after a handshake, and returns the answer, or the
/// first `longest` bytes of it. `is_trusted` judges what the server has shown; the request is not sent unless it returns true.
pub async fn exchange(
    (hosts, port): (&[String], u16),
    client: Option<&Client>,
    is_trusted: impl Fn(&Served) -> bool,
    request: &[u8],
    longest: u64,
) -> Result<Vec<u8>, Unanswered> {
    let deadline = Instant::now() + LIMIT;
    let exchange = async {
        let mut failed = Unanswered::Nowhere;
        for host in chosen(hosts) {
            let stream = match connect(host, port).await {
                Ok(stream) => stream,
                Err(error) => {
                    failed = error.into();
                    continue;
                }
            };
            let shaken = handshake::shake(stream, client).await;
            let (served, goodbye) = shaken.map_err(|failure| failure.error)?;
            if !is_trusted(&served) {
                goodbye.say().await;
                return Err(Unanswered::Untrusted);
            }
            return Ok(goodbye.request(request, longest).await?);
        }
        Err(failed)
    };
    timeout_at(deadline, exchange).await.unwrap_or(Err(Unanswered::Late))
}
