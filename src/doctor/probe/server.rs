//! The server to probe: the given address, or the one in the configuration.

use std::fmt;
use std::net::Ipv6Addr;

use crate::sql::{self, Session};
use crate::verify::Target;

/// PostgreSQL's own port.
const PORT: u16 = 5432;

/// The server to probe.
#[derive(Debug, Clone)]
pub enum ProbedServer {
    /// A host and a port.
    At(Target),
    /// Where the postmaster behind this socket says it listens.
    Configured(sql::Settings),
}

/// The text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// A path.
    #[error("PostgreSQL has no TLS on a Unix socket; name the HOST:PORT of its TCP listener")]
    Socket,
    /// Any other text.
    #[error("write HOST, HOST:PORT or [IPV6]:PORT")]
    Other,
}

/// The hosts to try.
pub(super) enum Hosts {
    /// In order, at this port; and a note about them.
    At(Vec<String>, u16, Option<String>),
    /// There is nothing to probe, for this reason.
    Nowhere(String),
}

impl ProbedServer {
    /// `HOST`, `HOST:PORT`, `[::1]:PORT`, `::1`; the port is 5432 unless given.
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        if text.starts_with('/') || text.starts_with('@') {
            return Err(InvalidAddress::Socket);
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let whole = if bare.parse::<Ipv6Addr>().is_ok() {
            format!("[{bare}]:{PORT}")
        } else if text.contains(':') {
            text.to_owned()
        } else {
            format!("{text}:{PORT}")
        };
        match whole.parse() {
            Ok(target @ Target::Address(..)) => Ok(Self::At(target)),
            _ => Err(InvalidAddress::Other),
        }
    }

    /// The address in the configuration; this machine if there is none, and `None` if the configuration says `none`.
    #[must_use]
    pub fn configured(server: Option<(sql::Settings, Target)>) -> Option<Self> {
        match server {
            None => Some(Self::At(Target::Address("127.0.0.1".to_owned(), PORT))),
            Some((session, Target::Auto)) => Some(Self::Configured(session)),
            Some((_, target @ (Target::Address(..) | Target::Resolved(..)))) => {
                Some(Self::At(target))
            }
            Some((_, Target::Nowhere)) => None,
        }
    }

    /// The hosts; queries the postmaster if the place is [`Self::Configured`].
    pub(super) async fn hosts(&self) -> Hosts {
        let (target, session) = match self {
            Self::At(target) => (target, None),
            Self::Configured(session) => (&Target::Auto, Some(session)),
        };
        let mut note = None;
        let mut known = None;
        let port = session.map_or(PORT, |session| session.port);
        if let Some(session) = session {
            match listening(session).await {
                Ok(found) => known = Some(found),
                Err(why) => {
                    note = Some(format!(
                        "where PostgreSQL listens: pgsvid could not ask it, and probes the loopback addresses: {why}"
                    ));
                }
            }
        }
        let known = known.as_ref().map(|(addresses, port)| (addresses.as_str(), *port));
        match target.hosts(known, port) {
            Some((hosts, port)) => Hosts::At(hosts, port, note),
            None => Hosts::Nowhere(
                "PostgreSQL listens on no TCP address (listen_addresses is empty), so there is nothing to probe".to_owned(),
            ),
        }
    }
}

async fn listening(settings: &sql::Settings) -> Result<(String, u16), sql::Error> {
    let session = Session::connect(settings).await?;
    let found = session.tls_settings().await;
    session.close().await;
    let found = found?;
    Ok((found.listen_addresses, found.port))
}

impl fmt::Display for ProbedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(target) => target.fmt(f),
            Self::Configured(session) => session.socket().display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        for (text, place) in [
            ("db.example", "db.example:5432"),
            ("db.example:6432", "db.example:6432"),
            ("127.0.0.1", "127.0.0.1:5432"),
            ("::1", "[::1]:5432"),
            ("[::1]", "[::1]:5432"),
            ("[::1]:6432", "[::1]:6432"),
        ] {
            assert_eq!(ProbedServer::parse(text).unwrap().to_string(), place);
        }
        for text in ["", "a:0", "a:b:1", "[db]:1", "a b", ":5432", "db:65536", "db:"] {
            assert_eq!(ProbedServer::parse(text).unwrap_err(), InvalidAddress::Other, "{text}");
        }
        assert_eq!(ProbedServer::parse("/run/.s.PGSQL.5432").unwrap_err(), InvalidAddress::Socket);
        assert!(
            ProbedServer::configured(None)
                .is_some_and(|place| place.to_string() == "127.0.0.1:5432")
        );
    }
}
