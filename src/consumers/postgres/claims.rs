//! Which addresses belong to which server of one configuration. If several may have the same address, another server may answer
//! there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Hosts and their port.
type Addresses = (Vec<String>, u16);

/// The addresses of the servers that were reached by their sockets at the last attempt, by name.
#[derive(Debug, Clone, Default)]
pub struct Claims(Arc<Mutex<BTreeMap<String, Addresses>>>);

impl Claims {
    /// Records the address of a server; `None` if it was not reached by its socket, so that nothing proves where it is, or
    /// that it runs.
    pub(super) fn note(&self, name: &str, addresses: Option<Addresses>) {
        let mut known = self.lock();
        match addresses {
            Some(addresses) => known.insert(name.to_owned(), addresses),
            None => known.remove(name),
        };
    }

    /// Whether a server was reached by its socket at the last attempt.
    pub(super) fn is_reached(&self, name: &str) -> bool {
        self.lock().contains_key(name)
    }

    /// The hosts that belong only to this server, without those of other servers that were reached; `None` if this server was
    /// not reached, or no host is left.
    pub(super) fn own(&self, name: &str, (hosts, port): Addresses) -> Option<Addresses> {
        let known = self.lock();
        if !known.contains_key(name) {
            return None;
        }
        let is_others = |host: &String| {
            known.iter().any(|(other, (hosts, other_port))| {
                other != name && *other_port == port && hosts.contains(host)
            })
        };
        let hosts: Vec<String> = hosts.into_iter().filter(|host| !is_others(host)).collect();
        (!hosts.is_empty()).then_some((hosts, port))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Addresses>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b36_only_a_server_that_was_reached_has_a_place_and_shares_it_with_no_other() {
        let addresses = |hosts: &[&str], port| {
            Some((hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>(), port))
        };
        let claims = Claims::default();
        let own =
            |name: &str, hosts: &[&str], port| claims.own(name, addresses(hosts, port).unwrap());
        assert_eq!(own("b", &["127.0.0.1"], 1), None);
        claims.note("a", addresses(&["127.0.0.1", "::1"], 1));
        assert_eq!(own("b", &["127.0.0.1"], 1), None);
        claims.note("b", addresses(&["127.0.0.1", "127.0.0.2"], 1));
        assert_eq!(own("b", &["127.0.0.1", "127.0.0.2"], 1), addresses(&["127.0.0.2"], 1));
        assert_eq!(own("a", &["127.0.0.1", "::1"], 1), addresses(&["::1"], 1));
        assert_eq!(own("a", &["127.0.0.1"], 1), None, "both were reached");
        assert_eq!(own("a", &["127.0.0.1"], 2), addresses(&["127.0.0.1"], 2));
        claims.note("b", None);
        assert_eq!(own("a", &["127.0.0.1"], 1), addresses(&["127.0.0.1"], 1));
    }
}
