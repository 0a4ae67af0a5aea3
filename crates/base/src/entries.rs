//! Commands for SPIRE's server about the registration entry of a workload, ready to paste where `spire-server` runs.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::text::argument;

/// What `spire-server entry update` must be given again, because it drops every value that the command line does not repeat:
/// the label in `entry show`, and the flag that sets it.
const KEPT: [(&str, &str); 7] = [
    ("Entry ID", "entryID"),
    ("SPIFFE ID", "spiffeID"),
    ("Parent ID", "parentID"),
    ("Selector", "selector"),
    ("DNS name", "dns"),
    ("FederatesWith", "federatesWith"),
    ("Hint", "hint"),
];
/// The same for numbers; `default` means that none is set.
const NUMBERS: [(&str, &str); 2] =
    [("X509-SVID TTL", "x509SVIDTTL"), ("JWT-SVID TTL", "jwtSVIDTTL")];
/// The same for flags without a value.
const MARKS: [(&str, &str); 3] =
    [("Admin", "admin"), ("Downstream", "downstream"), ("StoreSvid", "storeSVID")];

/// Adds a DNS name to the entry of this SPIFFE ID. See [`add_dns_names`].
#[must_use]
pub fn add_dns_name(spiffe_id: &str, name: &str) -> String {
    add_dns_names(spiffe_id, [name])
}

/// Adds those of these names that an entry can hold, which excludes IP addresses. `None` if none is left.
#[must_use]
pub fn add_hosts(spiffe_id: &str, hosts: &[String]) -> Option<String> {
    let is_name = |host: &&str| host.parse::<IpAddr>().is_err();
    let names: Vec<&str> = hosts.iter().map(String::as_str).filter(is_name).collect();
    (!names.is_empty()).then(|| add_dns_names(spiffe_id, names))
}

/// The shell command that adds DNS names to the entry of this SPIFFE ID, and keeps everything else that the entry has. The
/// command changes nothing where several entries have the ID, or where the entry expires, because the update would drop the
/// expiry.
#[must_use]
pub fn add_dns_names<'a>(spiffe_id: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    // An update would drop the expiry: `entry show` prints it in a form that `entry update` does not take.
    // A new name comes last: the first one is the CN.
    let mut script = String::from("/^Found/{/^Found 1 /!q};/^Expiration time/q;");
    for (field, flag) in KEPT {
        let _ = write!(script, r"s/^{field} *: /-{flag}\n/p;");
    }
    for (field, flag) in NUMBERS {
        let _ = write!(script, r"s/^{field} *: ([0-9])/-{flag}\n\1/p;");
    }
    for (field, flag) in MARKS {
        let _ = write!(script, "s/^{field} *: true/-{flag}/p;");
    }
    let names: Vec<String> =
        names.into_iter().map(|name| format!(" -dns {}", argument(name))).collect();
    let names = names.concat();
    format!(
        "{{ spire-server entry show -spiffeID {} | sed -nE {}; printf '%s\\n'{names}; }} | xargs -d '\\n' spire-server entry update",
        argument(spiffe_id),
        argument(script.trim_end_matches(';')),
    )
}

/// The command that creates the entry of a workload that runs as this user, with these DNS names.
///
/// The parent is the agent. With several agents, print [`SEVERAL_AGENTS`] as well.
#[must_use]
pub fn create<'a>(
    spiffe_id: &str,
    uid: u32,
    dns_names: impl IntoIterator<Item = &'a str>,
) -> String {
    let names: Vec<String> =
        dns_names.into_iter().map(|name| format!(" -dns {}", argument(name))).collect();
    format!(
        "spire-server entry create -parentID \"$(spire-server agent list | sed -n 's/^SPIFFE ID *: //p' | head -n 1)\" \
         -spiffeID {} -selector unix:uid:{uid}{}",
        argument(spiffe_id),
        names.concat()
    )
}

/// Longest command that fits into a line of the log, in bytes: an ID alone may have 2,048.
const LONGEST: usize = 1000;

/// How to create the entry of a workload again: the advice, and the command. `None` instead of a command that is longer than
/// 1000 bytes, because of its names.
#[must_use]
pub fn recreate_command<'a>(
    spiffe_id: &str,
    uid: u32,
    dns_names: impl IntoIterator<Item = &'a str>,
) -> (&'static str, Option<String>) {
    let command = create(spiffe_id, uid, dns_names);
    if command.len() > LONGEST {
        let words = "create its entry again, with its SPIFFE ID and its DNS names (spire-server entry create)";
        return (words, None);
    }
    (SEVERAL_AGENTS, Some(command))
}

/// The advice to print with the command of [`create`].
pub const SEVERAL_AGENTS: &str = "create its entry again (with several agents, -parentID is the one of this machine: spire-server agent list)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_stand_once_each() {
        let command = create("spiffe://example.org/db", 26, ["a.example", "b's"]);
        assert!(command.ends_with(
            "-spiffeID spiffe://example.org/db -selector unix:uid:26 -dns a.example -dns \"b's\""
        ), "{command}");
        let id = "spiffe://example.org/".to_owned() + &"x".repeat(2000);
        assert_eq!(recreate_command(&id, 26, ["a"]).1, None);
        let (_, command) = recreate_command("spiffe://example.org/db", 26, ["a"]);
        assert!(command.unwrap().ends_with("unix:uid:26 -dns a"));
        let command = add_dns_name("spiffe://example.org/db", "$(rm)");
        assert!(command.contains("-dns '$(rm)'; }"), "{command}");
        let hosts = ["a", "10.0.0.5", "b"].map(str::to_owned);
        let command = add_hosts("spiffe://example.org/db", &hosts).unwrap();
        assert!(command.contains("'%s\\n' -dns a -dns b; }"), "{command}");
        assert_eq!(add_hosts("spiffe://example.org/db", &hosts[1..2]), None);
    }
}
