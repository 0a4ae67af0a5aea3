//! Whether a certificate is for a host, by the rules of libpq's `sslmode=verify-full`.

use std::net::IpAddr;

use pgsvid_base::text::shown;
use pgsvid_material::{Certificate, Details, names_host};

/// Most names of a certificate that are listed.
const MOST_NAMED: usize = 8;

/// Whether `verify-full` accepts the leaf for `host` (libpq 15 and later: `fe-secure-common.c`, `fe-secure-openssl.c`).
///
/// A name is compared with the DNS names, an address with the IP names. The CN only counts if the certificate has no name of
/// the same kind as the host.
#[must_use]
pub fn matches(leaf: &Certificate, host: &str) -> bool {
    let addresses = Details::of(leaf).ip_addresses;
    if leaf.dns_names().iter().any(|name| names_host(name, host)) {
        return true;
    }
    let names_of_its_kind = match host.parse::<IpAddr>() {
        Ok(address) if addresses.contains(&address) => return true,
        Ok(_) => !addresses.is_empty(),
        Err(_) => !leaf.dns_names().is_empty(),
    };
    !names_of_its_kind && leaf.common_name().is_some_and(|name| names_host(&name, host))
}

/// The DNS names of the leaf for people: the first eight, or that there are none.
#[must_use]
pub fn names(leaf: &Certificate) -> String {
    let names: Vec<&str> = leaf.dns_names().iter().take(MOST_NAMED).map(String::as_str).collect();
    if names.is_empty() { "no DNS name".to_owned() } else { shown(&names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use dev_agent::{Authority, Entry};

    use super::*;

    #[test]
    fn the_cn_counts_only_without_names_of_the_kind() {
        let authority = Authority::new("example.org", false).unwrap();
        let issue =
            |entry: Entry| Certificate::parse(authority.issue(&entry).unwrap().leaf()).unwrap();
        let named = issue(Entry::new("spiffe://example.org/a").dns("127.0.0.1").dns("db"));
        assert!(matches(&named, "db"));
        assert!(matches(&named, "127.0.0.1"));
        assert!(!matches(&named, "::1"));
        let bare = issue(Entry::new("spiffe://example.org/a"));
        assert!(!matches(&bare, "db"));
    }
}
