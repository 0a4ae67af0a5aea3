//! The name servers, the search list and `ndots` of resolv.conf(5).

use std::net::{IpAddr, Ipv4Addr};

/// Most name servers, as in the C library.
const MOST_SERVERS: usize = 3;
/// Most domains of the search list: each costs two questions.
const MOST_DOMAINS: usize = 16;
/// The largest `ndots` of the C library.
const LARGEST_NDOTS: usize = 15;

/// What /etc/resolv.conf says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Configuration {
    /// At least one.
    pub(super) servers: Vec<IpAddr>,
    pub(super) domains: Vec<String>,
    /// With this many dots a name is first asked for as it is.
    pub(super) ndots: usize,
}

impl Configuration {
    /// Reads the file as the C library does: of `domain` and `search` the last counts, and without a name server it is
    /// this machine.
    pub(super) fn parse(text: &str) -> Self {
        let (mut servers, mut domains, mut ndots) = (Vec::new(), Vec::new(), 1);
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    servers.extend(words.next().and_then(|it| it.parse::<IpAddr>().ok()));
                }
                Some("domain" | "search") => {
                    domains = words.take(MOST_DOMAINS).map(str::to_owned).collect();
                }
                Some("options") => {
                    let given = words.filter_map(|word| word.strip_prefix("ndots:")?.parse().ok());
                    ndots = given.max().unwrap_or(ndots).min(LARGEST_NDOTS);
                }
                _ => {}
            }
        }
        servers.truncate(MOST_SERVERS);
        if servers.is_empty() {
            servers.push(Ipv4Addr::LOCALHOST.into());
        }
        Self { servers, domains, ndots }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_pod() {
        let text = "search db.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n";
        let read = Configuration::parse(text);
        assert_eq!(read.servers, ["10.96.0.10".parse::<IpAddr>().unwrap()]);
        assert_eq!(read.domains, ["db.svc.cluster.local", "svc.cluster.local"]);
        assert_eq!(read.ndots, 5);
    }

    #[test]
    fn what_is_missing_or_wrong_has_the_defaults_of_the_c_library() {
        let text = "# a comment\nnameserver\nnameserver nonsense\noptions ndots:x\nsearch\n";
        for text in ["", text] {
            let read = Configuration::parse(text);
            assert_eq!(read.servers, [IpAddr::from(Ipv4Addr::LOCALHOST)]);
            assert_eq!((read.domains.len(), read.ndots), (0, 1));
        }
        let many = "nameserver ::1\n".repeat(10) + "options ndots:99";
        let read = Configuration::parse(&many);
        assert_eq!((read.servers.len(), read.ndots), (MOST_SERVERS, LARGEST_NDOTS));
    }
}
