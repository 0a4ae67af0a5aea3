//! Asks a running daemon for its status, for the terminal and for probes. Blocks, with limits.

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
/// Largest answer in bytes: a full history has about thirty thousand.
const LARGEST: usize = 1024 * 1024;
/// Bytes that are read at once.
const PART: usize = 16 * 1024;
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

/// The code and body of an answer of ours.
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

/// Who listens and accepts nobody has a queue, and once it is full a connection waits for room in it.
fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(path)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(LIMIT))?;
    retry_on_intr(|| connect(&socket, &address))?;
    Ok(socket.into())
}

/// HTTP/1.0: the answer ends with the connection, and is in one piece.
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

/// Never nothing: to the kernel that would be no limit.
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
    // Most programs that speak HTTP answer 200 to something.
    is_ours.then(|| (code, body.to_owned()))
}
