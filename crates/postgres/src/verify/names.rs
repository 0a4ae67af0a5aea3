//! Resolves names to addresses with the C library: /etc/hosts, DNS, and whatever else the machine has.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs as _};

/// The sources that the C library has without a plug-in (`nss(5)`).
const BUILT_IN: [&str; 2] = ["files", "dns"];

/// The addresses of a host, at least one. Blocks.
///
/// A static program cannot use the plug-ins that nsswitch.conf(5) may name: if they were built for another version of the C
/// library, they crash the program (SIGFPE; seen on Debian 13). If there are any, this function reads /etc/hosts, and fails
/// for other names.
pub(super) fn look_up(host: &str) -> io::Result<Vec<IpAddr>> {
    if cfg!(all(target_feature = "crt-static", target_env = "gnu")) {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        if let Some(plugin) = plugin(&read("/etc/nsswitch.conf")) {
            return known_in(&read("/etc/hosts"), host).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::Unsupported,
                    format!(
                        "{host} is not in /etc/hosts, and a static program cannot use \"{plugin}\", which \
                         /etc/nsswitch.conf names for hosts; write an address"
                    ),
                )
            });
        }
    }
    Ok((host, 0).to_socket_addrs()?.map(|found| found.ip()).collect())
}

/// The first service for hosts that needs a plug-in.
fn plugin(nsswitch: &str) -> Option<&str> {
    nsswitch
        .lines()
        .filter_map(|line| line.split('#').next()?.trim().strip_prefix("hosts:"))
        .flat_map(str::split_whitespace)
        // `[NOTFOUND=return]` and similar. They may contain blanks, so a part of one is not a service either.
        .filter(|word| !word.contains(['[', ']', '=']))
        .find(|service| !BUILT_IN.contains(service))
}

/// The addresses of a host in the text of /etc/hosts (`hosts(5)`), or the address itself.
#[must_use]
pub fn known_in(hosts: &str, host: &str) -> Option<Vec<IpAddr>> {
    if let Ok(address) = host.parse() {
        return Some(vec![address]);
    }
    let found: Vec<IpAddr> = hosts
        .lines()
        .filter_map(|line| {
            let mut words = line.split('#').next()?.split_whitespace();
            let address = words.next()?.parse().ok()?;
            words.any(|name| name.eq_ignore_ascii_case(host)).then_some(address)
        })
        .collect();
    // RFC 6761: independent of the file.
    if found.is_empty() && host.eq_ignore_ascii_case("localhost") {
        return Some(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    (!found.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_that_need_a_plug_in_are_found() {
        for (text, found) in [
            ("", None),
            ("passwd: files systemd\nhosts: files dns\n", None),
            ("hosts:          files myhostname dns", Some("myhostname")),
            ("hosts: files mdns4_minimal [NOTFOUND=return] dns", Some("mdns4_minimal")),
            ("hosts: files [ NOTFOUND=return ] dns # resolve", None),
            ("#hosts: resolve\nhosts:dns", None),
        ] {
            assert_eq!(plugin(text), found, "{text}");
        }
    }

    #[test]
    fn hosts_are_read_as_the_c_library_reads_them() {
        let hosts =
            "127.0.0.1 localhost\n10.0.0.5\tdb.example DB  # 10.0.0.6 other\n::1 db\nnonsense db\n";
        let of = |host| {
            known_in(hosts, host)
                .map(|found| found.iter().map(IpAddr::to_string).collect::<Vec<_>>())
        };
        assert_eq!(of("db"), Some(vec!["10.0.0.5".to_owned(), "::1".to_owned()]));
        assert_eq!(of("DB.Example"), Some(vec!["10.0.0.5".to_owned()]));
        assert_eq!(of("192.0.2.1"), Some(vec!["192.0.2.1".to_owned()]));
        assert_eq!(of("other"), None);
        assert_eq!(known_in("", "localhost").map(|found| found.len()), Some(2));
    }

    #[test]
    fn this_machine_has_a_localhost() {
        assert!(look_up("localhost").unwrap().iter().all(IpAddr::is_loopback));
    }
}
