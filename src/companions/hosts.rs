//! Where libpq connects: `host`, `hostaddr` and `port` as lists (PostgreSQL: `fe-connect.c`, `connectOptions2`).

use std::net::Ipv6Addr;

/// The default port.
const PORT: u16 = 5432;

/// One entry of the lists. libpq tries one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostEntry {
    /// The name that is looked up, and that the server's certificate must have; or the directory of a Unix socket. If empty,
    /// libpq uses the Unix socket, unless there is an address.
    pub host: String,
    /// The address that is dialled instead of a look-up; empty if there is none.
    pub address: String,
    /// The port.
    pub port: u16,
}

/// Why libpq refuses the lists.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// `could not match … host names to … hostaddr values`
    #[error(
        "host has {hosts} entries and hostaddr {addresses}: libpq requires the same number of both"
    )]
    Hosts {
        /// Entries of `host`.
        hosts: usize,
        /// Entries of `hostaddr`.
        addresses: usize,
    },
    /// `could not match … port numbers to … hosts`
    #[error(
        "port has {ports} entries, and there are {hosts} hosts: libpq requires one port, or as many as hosts"
    )]
    Ports {
        /// Entries of `port`.
        ports: usize,
        /// Entries of `hostaddr`, otherwise of `host`.
        hosts: usize,
    },
    /// `invalid port number`, or `invalid integer value`
    #[error("port={0:?}: libpq requires a number from 1 to 65535")]
    Port(String),
    /// `could not parse network address`: in a list, libpq continues with the next entry.
    #[error("hostaddr={0:?}: libpq requires an address there, and names in host")]
    Address(String),
}

impl HostEntry {
    /// Whether libpq connects to a Unix socket, which has no TLS. `@` begins an abstract one.
    #[must_use]
    pub fn is_socket(&self) -> bool {
        self.address.is_empty() && (self.host.is_empty() || self.host.starts_with(['/', '@']))
    }

    /// Fails if there is an address that libpq cannot use (`getaddrinfo(3)` with `AI_NUMERICHOST`).
    pub fn check_address(&self) -> Result<(), Invalid> {
        // A link-local address has its interface.
        let address = self.address.split('%').next().unwrap_or_default();
        let is_address = address.is_empty()
            || address.parse::<Ipv6Addr>().is_ok()
            || (address == self.address && is_ipv4(address));
        if is_address { Ok(()) } else { Err(Invalid::Address(self.address.clone())) }
    }

    /// What is dialled, or looked up.
    #[must_use]
    pub fn target(&self) -> &str {
        if self.address.is_empty() { &self.host } else { &self.address }
    }
}

/// Pairs the lists as libpq does. An empty text counts as not given.
pub fn listed(host: &str, address: &str, port: &str) -> Result<Vec<HostEntry>, Invalid> {
    let (hosts, addresses, ports) = (list(host), list(address), list(port));
    let count = if address.is_empty() { hosts.len() } else { addresses.len() };
    if !host.is_empty() && hosts.len() != count {
        return Err(Invalid::Hosts { hosts: hosts.len(), addresses: addresses.len() });
    }
    if ports.len() != 1 && ports.len() != count {
        return Err(Invalid::Ports { ports: ports.len(), hosts: count });
    }
    let entry = |list: &[&str], at: usize| list.get(at).copied().unwrap_or_default().to_owned();
    (0..count)
        .map(|at| {
            // One port applies to all hosts.
            let port = entry(&ports, if ports.len() == 1 { 0 } else { at });
            Ok(HostEntry {
                host: entry(&hosts, at),
                address: entry(&addresses, at),
                port: number(&port)?,
            })
        })
        .collect()
}

/// Whether it is dialled without a look-up: one to four numbers, possibly octal or hexadecimal (`inet_aton(3)`). Their ranges
/// are not checked.
#[must_use]
pub fn is_ipv4(text: &str) -> bool {
    let is_number = |part: &str| match part.strip_prefix("0x").or_else(|| part.strip_prefix("0X")) {
        Some(digits) => !digits.is_empty() && digits.chars().all(|c| c.is_ascii_hexdigit()),
        None => !part.is_empty() && part.chars().all(|c| c.is_ascii_digit()),
    };
    text.split('.').count() <= 4 && text.split('.').all(is_number)
}

/// Not trimmed: libpq looks up " b" of "a, b".
fn list(text: &str) -> Vec<&str> {
    text.split(',').collect()
}

fn number(text: &str) -> Result<u16, Invalid> {
    if text.is_empty() {
        return Ok(PORT);
    }
    let port = integer(text).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    port.ok_or_else(|| Invalid::Port(text.to_owned()))
}

/// An integer as libpq parses it (`parse_int_param`): with blanks around it, and a sign.
#[must_use]
pub fn integer(text: &str) -> Option<i32> {
    text.trim_matches(|c: char| matches!(c, ' ' | '\t'..='\r')).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paired(host: &str, address: &str, port: &str) -> Vec<(String, String, u16)> {
        let places = listed(host, address, port).unwrap();
        places.into_iter().map(|it| (it.host, it.address, it.port)).collect()
    }

    #[test]
    fn f20_lists_are_paired_as_libpq_pairs_them() {
        let place = |host: &str, address: &str, port| (host.to_owned(), address.to_owned(), port);
        for (given, expected) in [
            (("", "", ""), vec![place("", "", 5432)]),
            (("a,b", "", ""), vec![place("a", "", 5432), place("b", "", 5432)]),
            (("a,b", "", "1"), vec![place("a", "", 1), place("b", "", 1)]),
            (("a,b", "", "1, 2"), vec![place("a", "", 1), place("b", "", 2)]),
            (("a,b", "", ",2"), vec![place("a", "", 5432), place("b", "", 2)]),
            (("a,", "", ""), vec![place("a", "", 5432), place("", "", 5432)]),
            (("a, b", "", ""), vec![place("a", "", 5432), place(" b", "", 5432)]),
            (("", "::1,127.0.0.1", "7"), vec![place("", "::1", 7), place("", "127.0.0.1", 7)]),
            (("a,b", ",::1", ""), vec![place("a", "", 5432), place("b", "::1", 5432)]),
            (("localhost,localhost:5432", "", ""), {
                vec![place("localhost", "", 5432), place("localhost:5432", "", 5432)]
            }),
        ] {
            assert_eq!(paired(given.0, given.1, given.2), expected, "{given:?}");
        }
    }

    #[test]
    fn f20_unequal_lists_and_ports_that_are_none_are_refused() {
        for (host, address, port, error) in [
            ("a,b", "::1", "", Invalid::Hosts { hosts: 2, addresses: 1 }),
            ("a", "::1,::1", "", Invalid::Hosts { hosts: 1, addresses: 2 }),
            ("a,b,c", "", "1,2", Invalid::Ports { ports: 2, hosts: 3 }),
            ("a", "", "1,2", Invalid::Ports { ports: 2, hosts: 1 }),
            ("", "", "1,2", Invalid::Ports { ports: 2, hosts: 1 }),
            ("a", "", "0", Invalid::Port("0".to_owned())),
            ("a", "", "65536", Invalid::Port("65536".to_owned())),
            ("a,b", "", "1,x", Invalid::Port("x".to_owned())),
        ] {
            assert_eq!(listed(host, address, port), Err(error));
        }
    }

    #[test]
    fn f51_what_is_given_as_an_address_has_to_be_one() {
        let is_taken = |address: &str| listed("a", address, "").unwrap()[0].check_address().is_ok();
        for address in [
            "",
            "127.0.0.1",
            "127.1",
            "0x7f.1",
            "2130706433",
            "::1",
            "fe80::1%eth0",
            "::ffff:127.0.0.1",
        ] {
            assert!(is_taken(address), "{address}");
        }
        for address in [
            "localhost",
            "127.0.0.1.1",
            "127.0.0.1:5432",
            " 127.0.0.1",
            "[::1]",
            "::1::",
            "127.0.0.1%lo",
        ] {
            assert!(!is_taken(address), "{address}");
        }
    }
}
