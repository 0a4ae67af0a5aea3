//! Whether a certificate is for a host, as libpq's `sslmode=verify-full` sees it.

use std::net::IpAddr;

use crate::material::{Certificate, Details};

/// Whether `verify-full` would take the leaf for `host` (libpq 15 and later: `fe-secure-common.c`,
/// `fe-secure-openssl.c`).
///
/// A name is compared with the DNS names, an address with the IP names. The CN counts only where there is no name of
/// the host's own kind.
pub(super) fn matches(leaf: &Certificate, host: &str) -> bool {
    let addresses = Details::of(leaf).ip_addresses;
    if leaf.dns_names().iter().any(|name| is_match(name, host)) {
        return true;
    }
    let names_of_its_kind = match host.parse::<IpAddr>() {
        Ok(address) if addresses.contains(&address) => return true,
        Ok(_) => !addresses.is_empty(),
        Err(_) => !leaf.dns_names().is_empty(),
    };
    !names_of_its_kind && leaf.common_name().is_some_and(|name| is_match(&name, host))
}

fn is_match(name: &str, host: &str) -> bool {
    if name.contains('\0') {
        return false;
    }
    name.eq_ignore_ascii_case(host) || is_wildcard_match(name, host)
}

/// The asterisk is the whole of the left-most label, and stands for exactly one.
fn is_wildcard_match(pattern: &str, host: &str) -> bool {
    let Some(suffix) = pattern.strip_prefix('*') else {
        return false;
    };
    if !suffix.starts_with('.') || suffix.len() < 2 {
        return false;
    }
    let Some(first) = host.len().checked_sub(suffix.len()) else {
        return false;
    };
    host.get(first..).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
        && host.get(..first).is_some_and(|label| !label.is_empty() && !label.contains('.'))
}

#[cfg(test)]
mod tests {
    use dev_agent::{Authority, Entry};

    use super::*;

    #[test]
    fn names_as_libpq_compares_them() {
        for (name, host, expected) in [
            ("db.example", "db.example", true),
            ("db.example", "DB.Example", true),
            ("db.example", "other.example", false),
            ("*.example", "db.example", true),
            ("*.example", "a.db.example", false),
            ("*.example", "example", false),
            ("*.example", ".example", false),
            ("*", "db", false),
            ("*.", "db.", false),
            ("d*.example", "db.example", false),
            ("db.example\0.evil", "db.example", false),
            ("é.example", "é.example", true),
        ] {
            assert_eq!(is_match(name, host), expected, "{name} {host}");
        }
    }

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
