//! The Workload API's address, by SPIFFE Workload Endpoint section 4.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::text::harmless;

/// A Unix socket with an absolute path, or an IP address and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `unix:///path`
    Unix(PathBuf),
    /// `tcp://IP:PORT`
    Tcp(SocketAddr),
}

/// Why a text is not an address of a Workload API.
#[derive(Debug, thiserror::Error)]
pub enum InvalidEndpoint {
    /// The text is empty.
    #[error("it is empty; write unix:///path/to/the/agent.sock")]
    Empty,
    /// A bare path: the most common mistake.
    #[error("it is a path, not an endpoint; write unix://{0}")]
    BarePath(String),
    /// `unix:` with a path that is not absolute: usually a host name.
    #[error("unix: needs an absolute path and no host; write unix:///path, with three slashes")]
    Relative,
    /// `tcp:` with something other than an IP address and a port, such as a host name.
    #[error("tcp: needs an IP address and a port, and nothing else; write tcp://IP:PORT")]
    NoAddress,
    /// A query, a fragment, or a character that no address contains.
    #[error(
        "an endpoint has no ?, no # and no control character; write unix:///path or tcp://IP:PORT"
    )]
    Character,
    /// Another scheme, or none.
    #[error("it is neither unix:///path nor tcp://IP:PORT")]
    Unknown,
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.is_empty() {
            return Err(InvalidEndpoint::Empty);
        }
        if text.starts_with('/') {
            return Err(InvalidEndpoint::BarePath(text.to_owned()));
        }
        if text.contains(['?', '#']) || harmless(text) != text {
            return Err(InvalidEndpoint::Character);
        }
        // One slash instead of three, or none instead of two: people write that, and other clients accept it.
        match text.split_once(':') {
            Some(("unix", rest)) => match after_slashes(rest) {
                path if path.starts_with('/') && !path.trim_matches('/').is_empty() => {
                    Ok(Self::Unix(path.into()))
                }
                _ => Err(InvalidEndpoint::Relative),
            },
            Some(("tcp", rest)) => {
                let address = after_slashes(rest);
                let address = address.strip_suffix('/').unwrap_or(address);
                address.parse().map(Self::Tcp).map_err(|_| InvalidEndpoint::NoAddress)
            }
            _ => Err(InvalidEndpoint::Unknown),
        }
    }
}

fn after_slashes(rest: &str) -> &str {
    rest.strip_prefix("//").unwrap_or(rest)
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k03_takes_what_the_specification_allows_and_nothing_else() {
        for (text, shown) in [
            ("unix:///run/spire/agent.sock", "unix:///run/spire/agent.sock"),
            ("unix:/run/spire/agent.sock", "unix:///run/spire/agent.sock"),
            ("tcp://127.0.0.1:8081", "tcp://127.0.0.1:8081"),
            ("tcp:127.0.0.1:8081", "tcp://127.0.0.1:8081"),
            ("tcp://127.0.0.1:8081/", "tcp://127.0.0.1:8081"),
            ("tcp://[::1]:8081", "tcp://[::1]:8081"),
            (" unix:///run/agent.sock\r\n", "unix:///run/agent.sock"),
            ("unix:///run/my agent/a%20.sock", "unix:///run/my agent/a%20.sock"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), shown, "{text}");
        }
        for text in [
            "",
            " ",
            "unix:relative.sock",
            "unix://host/agent.sock",
            "unix://",
            "unix:///",
            "unix:////",
            "unix:",
            "tcp:",
            "tcp://user@127.0.0.1:8081",
            "tcp://127.0.0.1:99999",
            "unix:///run/agent\n.sock",
            "unix:///run/agent\u{202e}.sock",
            "/run/agent.sock",
            "tcp://agent.example:8081",
            "tcp://127.0.0.1",
            "tcp://127.0.0.1:8081/path",
            "http://127.0.0.1:8081",
            "unix:///run/agent.sock?x=1",
            "unix:///run/agent.sock#x",
            "unix://user@/run/agent.sock",
            "\0",
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains("unix:") || error.contains("tcp:"), "{text:?}: {error}");
        }
    }
}
