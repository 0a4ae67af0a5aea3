//! Requests to Patroni's REST API, each over a TLS connection of its own.
//!
//! `POST /reload` leads to the same code as SIGHUP (Patroni: `do_POST_reload`). Unlike a signal it cannot reach a Patroni whose
//! REST API has ended: that one would hang at the next reload.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::sql::{Retry, read_password};
use crate::verify::{Client, LIMIT, Served, Unanswered, connect, exchange, is_loopback};

/// Most bytes of an answer that are read.
const LONGEST: u64 = 64 * 1024;
/// How long a connection may take to be accepted before the listener counts as full.
const ACCEPTED: Duration = Duration::from_secs(1);

/// Patroni's default `loop_wait`, in seconds.
const LOOP_WAIT: u64 = 10;

/// The name and the password of `restapi.authentication`.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The name.
    pub username: String,
    /// The file with the password, read for each request.
    pub password_file: PathBuf,
}

/// Why Patroni could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens at its address.
    #[error("nobody listens at its address")]
    NotRunning,
    /// It accepts connections, and answers no handshake: its REST API has ended, or Patroni hangs.
    #[error("its REST API accepts connections and answers nothing")]
    Silent,
    /// The set is not proven to be served by PostgreSQL yet: then Patroni must not read it.
    #[error("PostgreSQL is not proven to serve this set yet")]
    NotProven,
    /// The connection failed.
    #[error("{0}")]
    Lost(Unanswered),
    /// It wants a name and a password, or others (401).
    #[error("it demands a name and a password (HTTP status 401)")]
    Unauthorized,
    /// It admits neither pgsvid's address nor its certificate (403).
    #[error("it denies access (HTTP status 403)")]
    Forbidden,
    /// It refused pgsvid's certificate in the handshake.
    #[error("it refuses pgsvid's certificate")]
    Refused,
    /// Its certificate is not trusted, so the password was not sent.
    #[error(
        "the password was not sent, because its certificate has expired or is of an authority that is not published"
    )]
    Untrusted,
    /// It has a fault (HTTP status 500 to 599).
    #[error("it answers with HTTP status {0}")]
    Failed(u16),
    /// Another status.
    #[error("its answer is not one of Patroni's (HTTP status {0})")]
    Unexpected(u16),
    /// It does not speak HTTP.
    #[error("its answer is not HTTP")]
    NotHttp,
    /// Its answer is longer than 64 KiB.
    #[error("its answer is longer than 64 KiB")]
    TooLong,
    /// The password file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// The reason.
        cause: io::Error,
    },
}

impl Error {
    /// When another try makes sense.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::NotRunning | Self::NotProven | Self::Lost(_) | Self::Failed(_) => Retry::Soon,
            Self::Silent
            | Self::Unauthorized
            | Self::Forbidden
            | Self::Refused
            | Self::Untrusted
            | Self::Unexpected(_)
            | Self::NotHttp
            | Self::TooLong
            | Self::PasswordFile { .. } => Retry::Slowly,
        }
    }
}

/// Asks Patroni to read its files again, which it does in its next loop. The password is sent only to a server that
/// `is_trusted`.
pub async fn reload(
    (hosts, port): (&[String], u16),
    client: Option<&Client>,
    credentials: Option<&Credentials>,
    is_trusted: impl Fn(&Served) -> bool,
) -> Result<(), Error> {
    let head = "POST /reload HTTP/1.0\r\nContent-Length: 0\r\n";
    let request = authorized(head, credentials, "").await?;
    match ask((hosts, port), client, is_trusted, request.as_bytes()).await? {
        (202, _) => Ok(()),
        (other, _) => Err(unexpected(other)),
    }
}

/// The request, with the name and the password if there are any.
async fn authorized(
    head: &str,
    credentials: Option<&Credentials>,
    body: &str,
) -> Result<Zeroizing<String>, Error> {
    let mut request = Zeroizing::new(head.to_owned());
    if let Some(given) = credentials {
        let failed = |cause| Error::PasswordFile { path: given.password_file.clone(), cause };
        // The file may be on a file system that does not answer.
        let password = timeout(LIMIT, read_password(&given.password_file)).await;
        let password = password.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let password = password.map_err(failed)?;
        let mut pair = Zeroizing::new(given.username.clone().into_bytes());
        pair.push(b':');
        pair.extend_from_slice(&password);
        let encoded = Zeroizing::new(STANDARD.encode(&pair));
        request.push_str("Authorization: Basic ");
        request.push_str(&encoded);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    request.push_str(body);
    Ok(request)
}

/// Patroni's `loop_wait`, which is ten seconds unless it is set: it executes a reload within this time.
pub async fn loop_wait(
    (hosts, port): (&[String], u16),
    client: Option<&Client>,
) -> Result<Duration, Error> {
    let request = b"GET /config HTTP/1.0\r\n\r\n";
    let (status, body) = ask((hosts, port), client, |_| true, request).await?;
    // 502: the cluster has no configuration in its store yet.
    let wait = matches!(status, 200 | 502).then(|| number(&body, "loop_wait").unwrap_or(LOOP_WAIT));
    wait.map(Duration::from_secs).ok_or_else(|| unexpected(status))
}

/// Asks whether Patroni lets this client change the cluster: its configuration, and by the same rule a reload (Patroni:
/// `check_access`). The request changes nothing: Patroni judges the client before it reads the request's body
/// (`do_PATCH_config`). The password, if there is one, is sent only to a server that `is_trusted`.
///
/// # Errors
/// [`Error::Unauthorized`] if Patroni wants a password, or another one; [`Error::Forbidden`] if it does not admit this address,
/// or wants a certificate, which it checks before the password; others if it was not asked.
pub async fn may_change(
    (hosts, port): (&[String], u16),
    client: Option<&Client>,
    credentials: Option<&Credentials>,
    is_trusted: impl Fn(&Served) -> bool,
) -> Result<(), Error> {
    let head = "PATCH /config HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: 2\r\n";
    let request = authorized(head, credentials, "{}").await?;
    match ask((hosts, port), client, is_trusted, request.as_bytes()).await? {
        // 502 and 503: the cluster has no configuration, or its store does not answer.
        (200 | 400 | 409 | 502 | 503, _) => Ok(()),
        (other, _) => Err(unexpected(other)),
    }
}

fn unexpected(status: u16) -> Error {
    match status {
        401 => Error::Unauthorized,
        403 => Error::Forbidden,
        500..=599 => Error::Failed(status),
        _ => Error::Unexpected(status),
    }
}

async fn ask(
    (hosts, port): (&[String], u16),
    client: Option<&Client>,
    is_trusted: impl Fn(&Served) -> bool,
    request: &[u8],
) -> Result<(u16, String), Error> {
    let answer = exchange((hosts, port), client, is_trusted, request, LONGEST).await;
    let answer = answer.map_err(|error| match &error {
        Unanswered::Io(cause) if cause.kind() == io::ErrorKind::ConnectionRefused => {
            Error::NotRunning
        }
        Unanswered::Io(cause) if crate::verify::alert(cause).is_some() => Error::Refused,
        Unanswered::Untrusted => Error::Untrusted,
        _ => Error::Lost(error),
    })?;
    // The rest, which was not read, may hold the value.
    if answer.len() as u64 >= LONGEST {
        return Err(Error::TooLong);
    }
    parse(&answer).ok_or(Error::NotHttp)
}

/// The status and the body of an HTTP answer.
fn parse(answer: &[u8]) -> Option<(u16, String)> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut words = head.lines().next()?.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/"))?;
    Some((words.next()?.parse().ok()?, body.to_owned()))
}

/// The whole number that a flat JSON object has under this key.
fn number(json: &str, key: &str) -> Option<u64> {
    let (_, rest) = json.split_once(&format!("\"{key}\""))?;
    let rest = rest.trim_start().strip_prefix(':')?.trim_start();
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..digits)?.parse().ok()
}

/// Why a probe had no answer. A REST API that has ended leaves its socket open: it accepts connections until its queue is full,
/// and answers none. One that starts again, because Patroni reloads, refuses or closes connections.
pub async fn why_unanswered((hosts, port): (&[String], u16)) -> Error {
    match timeout(ACCEPTED, connected(hosts, port)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Error::NotRunning,
        Ok(Err(error)) => Error::Lost(error.into()),
        // The kernel drops a packet to a loopback address only if the queue is full. On other paths a packet may be lost, or no
        // machine may have the address.
        Err(_) if hosts.iter().all(|host| host == "localhost" || is_loopback(host)) => {
            Error::Silent
        }
        Err(_) => Error::Lost(Unanswered::Late),
        Ok(Ok(())) => match exchange((hosts, port), None, |_| false, b"", LONGEST).await {
            Err(Unanswered::Late) => Error::Silent,
            Err(error) => Error::Lost(error),
            Ok(_) => Error::Lost(Unanswered::Untrusted),
        },
    }
}

/// Connects to the first host that accepts it; otherwise returns why the last one did not.
async fn connected(hosts: &[String], port: u16) -> io::Result<()> {
    let mut failed = Err(io::ErrorKind::AddrNotAvailable.into());
    for host in hosts {
        failed = connect(host, port).await.map(drop);
        if failed.is_ok() {
            break;
        }
    }
    failed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_and_the_body_of_an_answer() {
        let answer = b"HTTP/1.0 202 Accepted\r\nServer: x\r\n\r\nreload scheduled";
        assert_eq!(parse(answer), Some((202, "reload scheduled".to_owned())));
        for other in [&b""[..], b"HTTP/1.0 202", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.0 abc\r\n\r\n"] {
            assert_eq!(parse(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_number_of_the_configuration() {
        let json = r#"{"ttl": 30, "loop_wait": 10, "retry_timeout": 10}"#;
        assert_eq!(number(json, "loop_wait"), Some(10));
        assert_eq!(number(r#"{"loop_wait":5}"#, "loop_wait"), Some(5));
        assert_eq!(number(r#"{"loop_wait": "5"}"#, "loop_wait"), None);
        assert_eq!(number("{}", "loop_wait"), None);
    }
}
