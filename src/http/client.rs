//! Asks a running daemon for its status, for the terminal and for probes. Blocks, with limits.

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
/// The two codes of HTTP that it answers such questions by.
const OK: u16 = 200;
const UNAVAILABLE: u16 = 503;

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

/// A question that is answered by yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Whether a valid set is published: `/startupz`.
    Started,
    /// Whether its loop turns: `/livez`.
    Alive,
}

/// What the daemon knows.
pub fn ask(listen: &Listen) -> Result<View, Error> {
    let (code, body) = get(listen, "/status")?;
    let view = (code == OK).then(|| serde_json::from_str(&body).ok()).flatten();
    view.ok_or_else(|| Error::Strange(listen.clone()))
}

/// The daemon's own answer to the question, and its words.
pub fn ask_whether(listen: &Listen, question: Question) -> Result<(bool, String), Error> {
    let path = match question {
        Question::Started => "/startupz",
        Question::Alive => "/livez",
    };
    match get(listen, path)? {
        (code @ (OK | UNAVAILABLE), words) => Ok((code == OK, words)),
        _ => Err(Error::Strange(listen.clone())),
    }
}

/// The answer's code and body.
fn get(listen: &Listen, path: &str) -> Result<(u16, String), Error> {
    let answer = exchange(listen, path).map_err(|error| Error::Silent(listen.clone(), error))?;
    parse(&answer).ok_or_else(|| Error::Strange(listen.clone()))
}

fn exchange(listen: &Listen, path: &str) -> io::Result<Vec<u8>> {
    match listen {
        Listen::Tcp(address) => {
            let stream = TcpStream::connect_timeout(address, LIMIT)?;
            stream.set_read_timeout(Some(LIMIT))?;
            stream.set_write_timeout(Some(LIMIT))?;
            converse(stream, path)
        }
        Listen::Unix(socket) => {
            let stream = UnixStream::connect(socket)?;
            stream.set_read_timeout(Some(LIMIT))?;
            stream.set_write_timeout(Some(LIMIT))?;
            converse(stream, path)
        }
    }
}

/// HTTP/1.0: the answer ends with the connection, and is in one piece.
fn converse(mut stream: impl Read + Write, path: &str) -> io::Result<Vec<u8>> {
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: pgsvid\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(LARGEST).read_to_end(&mut answer)?;
    Ok(answer)
}

fn parse(answer: &[u8]) -> Option<(u16, String)> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let code = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((code, body.to_owned()))
}
