//! Asks a running daemon for its status, for the terminal and for probes. Blocks, with time limits.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::io::retry_on_intr;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use tokio::time::Instant;

use super::Listen;
use super::answer::OURS;
use crate::status::View;

/// Limit from connecting to the end of the answer.
const LIMIT: Duration = Duration::from_secs(5);
/// Largest answer in bytes: a full history takes about thirty thousand.
const LARGEST: usize = 1024 * 1024;
/// How many bytes are read at once.
const PART: usize = 16 * 1024;
/// The two HTTP status codes of its answers.
const OK: u16 = 200;
const UNAVAILABLE: u16 = 503;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing listens there, or it does not answer.
    #[error("no answer from {0}: {1}; is pgsvid running, with health.listen set to this?")]
    Silent(Listen, io::Error),
    /// Another program listens there.
    #[error("{0} does not answer like pgsvid: does another program listen there?")]
    Strange(Listen),
}

/// A question with the answer yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Whether a valid set is published: `/startupz`.
    Started,
    /// Whether the daemon's loop makes progress: `/livez`.
    Alive,
}

/// The daemon's status.
pub fn ask(listen: &Listen) -> Result<View, Error> {
    let (code, body) = get(listen, "/status")?;
    let view = (code == OK).then(|| serde_json::from_str(&body).ok()).flatten();
    view.ok_or_else(|| Error::Strange(listen.clone()))
}

/// The daemon's answer to the question, and its text.
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

/// Status code and body of an answer from pgsvid.
fn get(listen: &Listen, path: &str) -> Result<(u16, String), Error> {
    let answer = exchange(listen, path).map_err(|error| {
        let error = match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                let limit = humantime::format_duration(LIMIT);
                io::Error::new(ErrorKind::TimedOut, format!("it takes longer than {limit}"))
            }
            _ => error,
        };
        Error::Silent(listen.clone(), error)
    })?;
    parse(&answer).ok_or_else(|| Error::Strange(listen.clone()))
}

fn exchange(listen: &Listen, path: &str) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + LIMIT;
    match listen {
        Listen::Tcp(address) => {
            converse(TcpStream::connect_timeout(address, LIMIT)?, deadline, path)
        }
        Listen::Unix(socket) => converse(connect_unix(socket)?, deadline, path),
    }
}

/// A listener that accepts no connection has a queue. When it is full, connecting waits for room.
fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(path)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(LIMIT))?;
    retry_on_intr(|| connect(&socket, &address))?;
    Ok(socket.into())
}

/// HTTP/1.0: the answer ends with the connection, and is not chunked.
fn converse(
    mut stream: impl Read + Write + AsFd,
    deadline: Instant,
    path: &str,
) -> io::Result<Vec<u8>> {
    set_socket_timeout(&stream, Timeout::Send, Some(left(deadline)?))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: pgsvid\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    let mut part = vec![0; PART];
    while answer.len() < LARGEST {
        set_socket_timeout(&stream, Timeout::Recv, Some(left(deadline)?))?;
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(&part[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(answer)
}

/// The time until the deadline, or an error if it has passed. Never zero, because the kernel takes zero as no limit.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

fn parse(answer: &[u8]) -> Option<(u16, String)> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let code = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let is_ours = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .any(|(name, value)| name.eq_ignore_ascii_case(OURS.0) && value.trim() == OURS.1);
    // Most programs that speak HTTP answer 200 to some path.
    is_ours.then(|| (code, body.to_owned()))
}
