//! Lines for this machine's own addresses by which every user of the machine logs in without any proof: `trust`, and no
//! certificate that is compared with the role or required at all.

use super::naming::names;
use super::order::{MOST_DECIDERS, MOST_RULES, is_decided};
use crate::sql::{Address, HbaRule, Superuser};

/// The roles that nobody may be without proof.
#[derive(Debug, Clone, Copy)]
pub struct Guarded<'a> {
    /// Those of `[[roles]]`.
    pub roles: &'a [&'a str],
    /// The superusers, and the roles that can become one.
    pub superusers: &'a [Superuser],
    /// The role that pgsvid logs in as, if there is one.
    pub own: Option<&'a str>,
    /// Whether PostgreSQL may listen on an address. One that listens on none has only its socket.
    pub listens: bool,
}

impl Guarded<'_> {
    /// Who every user of the machine can be by the line with that index, in words. `None` if nobody of these.
    pub(super) fn open_by(&self, lines: &[HbaRule], index: usize) -> Option<String> {
        let line = lines.get(index)?;
        let is_for_this_machine = line.address.as_ref().is_some_and(Address::is_local);
        let is_open = line.method == "trust"
            && line.kind != "hostgssenc"
            && is_for_this_machine
            && !line.wants_certificate();
        if !self.listens || !is_open {
            return None;
        }
        let above = lines.get(..index)?;
        let is_reached = |role: &&str| is_reached(line, above, role);
        let superusers = self.superusers.iter().map(|superuser| superuser.role.as_str());
        let superusers: Vec<&str> = superusers.filter(is_reached).collect();
        if !superusers.is_empty() {
            let names = names(superusers);
            return Some(format!("superuser {names}, and so has all rights in PostgreSQL"));
        }
        let roles: Vec<&str> = self.roles.iter().copied().filter(is_reached).collect();
        if !roles.is_empty() {
            return Some(format!("role {} of [[roles]]", names(roles)));
        }
        self.own.filter(is_reached).map(|own| format!("pgsvid's own role, {}", names([own])))
    }
}

/// Whether a client of this machine that asks for the role can reach the line. It may use TLS or not, as it likes.
fn is_reached(line: &HbaRule, above: &[HbaRule], role: &str) -> bool {
    if line.is_about(role) != Some(true) {
        return false;
    }
    // Among that many lines pgsvid does not look for one that keeps the role out.
    if above.len() >= MOST_RULES {
        return true;
    }
    let decides = |earlier: &&HbaRule| earlier.kind != "local" && earlier.decides_about(role);
    let earlier: Vec<&HbaRule> = above.iter().filter(decides).take(MOST_DECIDERS).collect();
    let kinds: &[&str] = match line.kind.as_str() {
        "hostssl" => &["hostssl"],
        "hostnossl" => &["hostnossl"],
        _ => &["hostssl", "hostnossl"],
    };
    kinds
        .iter()
        .any(|kind| !is_decided(&HbaRule { kind: (*kind).to_owned(), ..line.clone() }, &earlier))
}

#[cfg(test)]
mod tests {
    use super::super::parsed::parsed;
    use super::*;
    use crate::sql::SuperuserReason;

    #[test]
    fn b129_users_of_the_machine_that_are_a_guarded_role_by_its_addresses_are_a_failure() {
        let superusers =
            [Superuser { role: "postgres".to_owned(), by: SuperuserReason::Attribute }];
        let known = Guarded {
            roles: &["app"],
            superusers: &superusers,
            own: Some("pgsvid"),
            listens: true,
        };
        for (hba, fails) in [
            ("host all all 127.0.0.1/32 trust", true),
            ("host all all ::1/128 trust", true),
            ("host all all localhost trust", true),
            ("host all all samehost trust", true),
            ("hostssl all all 127.0.0.1/32 trust", true),
            ("hostnossl all postgres 127.0.0.1/32 trust", true),
            ("host all app 127.0.0.1/32 trust", true),
            ("host all pgsvid 127.0.0.1/32 trust", true),
            ("host replication all 127.0.0.1/32 trust", true),
            // Somebody else, or a proof.
            ("host all other 127.0.0.1/32 trust", false),
            ("host all +admins 127.0.0.1/32 trust", false),
            ("host all all 127.0.0.1/32 ident", false),
            ("host all all 127.0.0.1/32 scram-sha-256", false),
            ("hostgssenc all all 127.0.0.1/32 trust", false),
            ("hostssl all all 127.0.0.1/32 trust clientcert=verify-full", false),
            // Lines above that keep all of them out.
            ("host all all 127.0.0.1/32 reject\nhost all all 127.0.0.1/32 trust", false),
            ("host all all 127.0.0.0/8 scram-sha-256\nhost all all 127.0.0.1/32 trust", false),
            (
                "host all postgres,app,pgsvid all scram-sha-256\nhost all all 127.0.0.1/32 trust",
                false,
            ),
            (
                "hostssl all all all cert\nhostnossl all all all reject\nhost all all ::1/128 trust",
                false,
            ),
            // Lines above that do not.
            ("hostssl all all all cert\nhost all all ::1/128 trust", true),
            ("hostnossl all all all reject\nhost all all ::1/128 trust", true),
            ("host all postgres,pgsvid all reject\nhost all all 127.0.0.1/32 trust", true),
            ("host db all all reject\nhost all all 127.0.0.1/32 trust", true),
            ("host all all ::1/128 reject\nhost all all 127.0.0.1/32 trust", true),
            ("host all +all all reject\nhost all all 127.0.0.1/32 trust", true),
            ("local all all reject\nhost all all 127.0.0.1/32 trust", true),
        ] {
            let rules = parsed(hba, "").rules;
            let last = rules.len() - 1;
            assert_eq!(known.open_by(&rules, last).is_some(), fails, "{hba}");
            assert_eq!(Guarded { listens: false, ..known }.open_by(&rules, last), None, "{hba}");
        }
    }
}
