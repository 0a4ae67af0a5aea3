//! Where to probe: the address at which *this* postmaster listens.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::str::FromStr;

use super::names::look_up;

/// Longest host name, in bytes, including quotation marks.
const LONGEST_NAME: usize = 257;

/// The address to probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Where the postmaster says it listens.
    Auto,
    /// A host (name or IP address) and a port.
    Address(String, u16),
    /// A host and a port, with the addresses that the host had when it was looked up.
    Resolved(String, Vec<IpAddr>, u16),
    /// No probe.
    Nowhere,
}

/// Whether two targets may be the same address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddressOverlap {
    /// They cannot be the same.
    #[default]
    Never,
    /// They may be the same: one is where the server says it listens, or a name that may lead to the other's address.
    Possible,
    /// They are the same.
    Certain,
}

/// The text is not a target.
#[derive(Debug, thiserror::Error)]
#[error("it is neither auto, none, nor HOST:PORT (an IPv6 address goes in brackets, [::1]:5432)")]
pub struct InvalidTarget;

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => return Ok(Self::Auto),
            "none" => return Ok(Self::Nowhere),
            _ => {}
        }
        let (host, port) = text.rsplit_once(':').ok_or(InvalidTarget)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(InvalidTarget)?;
        let bare = match host.strip_prefix('[').map(|host| host.strip_suffix(']')) {
            Some(Some(inner)) if inner.parse::<std::net::Ipv6Addr>().is_ok() => inner,
            None if !host.is_empty()
                && !host.contains(|c: char| c == ':' || c == '/' || c.is_whitespace()) =>
            {
                host
            }
            _ => return Err(InvalidTarget),
        };
        Ok(Self::Address(bare.to_owned(), port))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Nowhere => f.write_str("none"),
            Self::Address(host, port) | Self::Resolved(host, _, port) if host.contains(':') => {
                write!(f, "[{host}]:{port}")
            }
            Self::Address(host, port) | Self::Resolved(host, _, port) => write!(f, "{host}:{port}"),
        }
    }
}

impl Target {
    /// The same target with its name looked up, for a process that cannot do so later. Blocks.
    pub fn resolved(self) -> io::Result<Self> {
        let Self::Address(host, port) = self else {
            return Ok(self);
        };
        let found = match addresses(&host) {
            known if known.iter().all(|host| is_address(host)) => {
                known.iter().filter_map(|host| host.parse().ok()).collect()
            }
            _ => look_up(&host)?,
        };
        Ok(Self::Resolved(host, found, port))
    }

    /// The port to connect to, for a server whose socket has the number `port`; `None` without a probe.
    #[must_use]
    pub fn port(&self, port: u16) -> Option<u16> {
        match self {
            Self::Nowhere => None,
            Self::Address(_, port) | Self::Resolved(_, _, port) => Some(*port),
            Self::Auto => Some(port),
        }
    }

    /// Whether this target and another may be the same address, for servers whose sockets have these numbers.
    #[must_use]
    pub fn meets(&self, port: u16, other: &Self, other_port: u16) -> AddressOverlap {
        if self.port(port) != other.port(other_port) || *self == Self::Nowhere {
            return AddressOverlap::Never;
        }
        let (Self::Address(one, _), Self::Address(two, _)) = (self, other) else {
            return AddressOverlap::Possible;
        };
        let (one, two) = (addresses(one), addresses(two));
        if one.iter().any(|host| two.contains(host)) {
            AddressOverlap::Certain
        } else if one.iter().chain(&two).all(|host| is_address(host)) {
            AddressOverlap::Never
        } else {
            AddressOverlap::Possible
        }
    }

    /// The hosts to try, in order, and their port; `None` if there is nothing to probe.
    ///
    /// `known` are the postmaster's `listen_addresses` and `port`. While they are unknown, the loopback addresses at `port`
    /// are tried.
    #[must_use]
    pub fn hosts(&self, known: Option<(&str, u16)>, port: u16) -> Option<(Vec<String>, u16)> {
        match (self, known) {
            (Self::Nowhere, _) => None,
            (Self::Address(host, port), _) => Some((vec![host.clone()], *port)),
            (Self::Resolved(_, found, port), _) => {
                Some((found.iter().map(ToString::to_string).collect(), *port))
            }
            (Self::Auto, Some((listen_addresses, port))) => {
                let hosts = addresses(listen_addresses);
                (!hosts.is_empty()).then_some((hosts, port))
            }
            (Self::Auto, None) => Some((addresses("localhost"), port)),
        }
    }
}

/// The hosts to try, in order, for this `listen_addresses`; empty if the postmaster listens on none.
#[must_use]
pub fn addresses(listen_addresses: &str) -> Vec<String> {
    let mut hosts = Vec::new();
    let mut known = BTreeSet::new();
    for entry in listen_addresses.split(',').map(str::trim).filter(is_a_hosts) {
        let found = match entry.trim_matches('"') {
            // Both wildcards include the loopback addresses.
            "*" | "localhost" => ["127.0.0.1", "::1"],
            "0.0.0.0" => ["127.0.0.1"; 2],
            "::" => ["::1"; 2],
            other => [other; 2],
        };
        for host in found {
            if known.insert(host) {
                hosts.push(host.to_owned());
            }
        }
    }
    hosts
}

/// Whether the entry can be a host name: no name is longer (RFC 1035).
fn is_a_hosts(entry: &&str) -> bool {
    (1..=LONGEST_NAME).contains(&entry.len())
}

/// Whether the host is an IP address, which needs no look-up.
pub(super) fn is_address(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_no_look_up_is_resolved_as_it_is_probed() {
        for (text, hosts) in [
            ("10.0.0.5:5432", &["10.0.0.5"][..]),
            ("[::1]:5432", &["::1"]),
            ("localhost:5432", &["127.0.0.1", "::1"]),
        ] {
            let target = text.parse::<Target>().unwrap().resolved().unwrap();
            assert_eq!(target.hosts(None, 1).unwrap().0, hosts, "{text}");
            assert_eq!((target.to_string().as_str(), target.port(1)), (text, Some(5432)));
        }
        assert_eq!(Target::Auto.resolved().unwrap(), Target::Auto);
        assert_eq!(Target::Auto.port(6432), Some(6432));
        assert_eq!(Target::Nowhere.port(6432), None);
    }

    #[test]
    fn b36_targets_meet_at_one_port() {
        let target = |text: &str| text.parse::<Target>().unwrap();
        for (one, two, meeting) in [
            ("auto", "auto", AddressOverlap::Possible),
            ("auto", "127.0.0.2:5432", AddressOverlap::Possible),
            ("auto", "127.0.0.1:5433", AddressOverlap::Never),
            ("auto", "none", AddressOverlap::Never),
            ("none", "none", AddressOverlap::Never),
            ("127.0.0.1:5432", "localhost:5432", AddressOverlap::Certain),
            ("[::1]:5432", "localhost:5432", AddressOverlap::Certain),
            ("127.0.0.1:5432", "127.0.0.2:5432", AddressOverlap::Never),
            ("127.0.0.1:5432", "127.0.0.1:5433", AddressOverlap::Never),
            ("db.example:5432", "db.example:5432", AddressOverlap::Certain),
            ("db.example:5432", "127.0.0.1:5432", AddressOverlap::Possible),
        ] {
            assert_eq!(target(one).meets(5432, &target(two), 5432), meeting, "{one} {two}");
            assert_eq!(target(two).meets(5432, &target(one), 5432), meeting, "{two} {one}");
        }
        assert_eq!(Target::Auto.meets(5432, &Target::Auto, 5433), AddressOverlap::Never);
    }

    #[test]
    fn listen_addresses_become_hosts() {
        for (setting, hosts) in [
            ("", &[][..]),
            ("localhost", &["127.0.0.1", "::1"]),
            ("*", &["127.0.0.1", "::1"]),
            ("0.0.0.0", &["127.0.0.1"]),
            ("::", &["::1"]),
            ("10.0.0.5, 127.0.0.1", &["10.0.0.5", "127.0.0.1"]),
            ("localhost,127.0.0.1", &["127.0.0.1", "::1"]),
            ("db.example", &["db.example"]),
        ] {
            assert_eq!(addresses(setting), hosts, "{setting:?}");
        }
    }

    #[test]
    fn targets() {
        for text in ["auto", "none", "127.0.0.1:5432", "[::1]:5432", "db.example:6432"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "5432",
            "db.example",
            "127.0.0.1:0",
            "127.0.0.1:99999",
            "::1:5432",
            "[::1]",
            ":5432",
            "[x]:1",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text} was taken");
        }
    }
}
