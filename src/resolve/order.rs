//! The order in which addresses are tried (RFC 6724, as `getaddrinfo(3)` applies it without a `gai.conf(5)`).

use std::net::IpAddr;

/// Each address once, those of IPv6 first; otherwise in the order of the file or the answer.
///
/// The C library puts last what this machine has no route to. Its way of asking the kernel is closed in the sandbox, so that is up to
/// the caller.
pub(super) fn preferred(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let mut ordered: Vec<IpAddr> = Vec::with_capacity(addresses.len());
    for address in addresses {
        if !ordered.contains(&address) {
            ordered.push(address);
        }
    }
    ordered.sort_by_key(IpAddr::is_ipv4);
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_ipv6_are_first_and_those_of_a_family_stay_in_their_order() {
        let of = |list: &[&str]| list.iter().map(|it| it.parse().unwrap()).collect::<Vec<IpAddr>>();
        let given = of(&["10.0.0.2", "::1", "10.0.0.1", "10.0.0.2", "fd00::1"]);
        assert_eq!(preferred(given), of(&["::1", "fd00::1", "10.0.0.2", "10.0.0.1"]));
        assert!(preferred(Vec::new()).is_empty());
    }
}
