//! Asks a running daemon for its status, for the terminal. Blocks, with limits.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::Listen;
use crate::status::View;

/// Limit for connecting, and for each read and write.
const LIMIT: Duration = Duration::from_secs(5);
/// Largest answer in bytes: a full history has about thirty thousand.
const LARGEST: u64 = 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens, or does not answer.
    #[error("no answer from {0}: {1}; is pgsvid running, with health.listen set to this?")]
    Silent(Listen, io::Error),
    /// Somebody else listens.
    #[error("{0} answers something else: is it pgsvid that listens there?")]
    Strange(Listen),
}

/// What the daemon knows.
pub fn ask(listen: &Listen) -> Result<View, Error> {
    let answer = exchange(listen).map_err(|error| Error::Silent(listen.clone(), error))?;
    parse(&answer).ok_or_else(|| Error::Strange(listen.clone()))
}

fn exchange(listen: &Listen) -> io::Result<Vec<u8>> {
    match listen {
        Listen::Tcp(address) => {
            let stream = TcpStream::connect_timeout(address, LIMIT)?;
            stream.set_read_timeout(Some(LIMIT))?;
            stream.set_write_timeout(Some(LIMIT))?;
            converse(stream)
        }
        Listen::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(LIMIT))?;
            stream.set_write_timeout(Some(LIMIT))?;
            converse(stream)
        }
    }
}

/// HTTP/1.0: the answer ends with the connection, and is in one piece.
fn converse(mut stream: impl Read + Write) -> io::Result<Vec<u8>> {
    stream.write_all(b"GET /status HTTP/1.0\r\nHost: pgsvid\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(LARGEST).read_to_end(&mut answer)?;
    Ok(answer)
}

fn parse(answer: &[u8]) -> Option<View> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let ok = head.starts_with("HTTP/1.") && head.lines().next()?.contains(" 200");
    ok.then(|| serde_json::from_str(body).ok())?
}
