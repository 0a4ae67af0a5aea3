//! The server's sessions: how they are connected, and which of them are older than a certificate can be. Only members of
//! `pg_read_all_stats` see those of other roles.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::Error;
use pgsvid_base::text::shown;

/// The protocols that `pg_stat_ssl` names, and `none`.
const PROTOCOLS: [&str; 6] = ["none", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3", "other"];
/// How many roles are counted by name. The others are counted together.
const MOST_ROLES: usize = 20;
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// The upper limits of the time by which a session has outlived its certificate: a label, and seconds. The last one has no
/// limit.
const AGES: [(&str, u64); 4] = [("1h", HOUR), ("1d", DAY), ("7d", 7 * DAY), ("more", u64::MAX)];
/// The name of all roles that are not counted by name.
const OTHERS: &str = "other";

/// How many client sessions there are, not counting this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionCounts {
    /// Each of `none`, `TLSv1`, `TLSv1.1`, `TLSv1.2`, `TLSv1.3` and `other`, with its number of sessions, which may be 0.
    pub by_protocol: Vec<(&'static str, u64)>,
    /// TLS sessions that are older than the given time.
    pub older: u64,
    /// Sessions whose client has shown a certificate.
    pub certified: u64,
    /// The sessions among these that have outlived the certificate, by role: the roles with most of them first, at most 20,
    /// then the others together.
    pub outlived: Vec<Outlived>,
}

/// The sessions of one role that have outlived their certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlived {
    /// The role, escaped; `other` for all others together, and for a role of that name.
    pub role: String,
    /// Number of sessions by the time since the certificate must have expired; each label is the upper limit of that time:
    /// `1h`, `1d`, `7d` or `more`.
    pub by_age: [(&'static str, u64); AGES.len()],
    /// The time since the certificate of the oldest session must have expired.
    pub longest: Duration,
}

impl Outlived {
    fn none(role: &str) -> Self {
        let by_age = AGES.map(|(name, _)| (name, 0));
        Self { role: role.to_owned(), by_age, longest: Duration::ZERO }
    }

    /// The number of these sessions.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.by_age.iter().map(|(_, count)| count).sum()
    }

    fn add(&mut self, other: &Self) {
        for ((_, count), (_, more)) in self.by_age.iter_mut().zip(other.by_age) {
            *count = count.saturating_add(more);
        }
        self.longest = self.longest.max(other.longest);
    }
}

/// A session that was ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedSession {
    /// The process that served it.
    pub pid: u32,
    /// Its role, shortened and escaped.
    pub role: String,
    /// How long it had been open.
    pub age: Duration,
    /// The serial number of the client's certificate, in hexadecimal.
    pub serial: String,
}

/// One row for each protocol: its name, the number of sessions, how many of them are older than `age`, and how many of their
/// clients have shown a certificate. And one row for each role with sessions that have outlived a certificate of at most
/// `life`: its number of sessions by age, and the age of the oldest.
pub(super) fn query(age: Duration, life: Duration) -> String {
    let (age, life) = (age.as_secs(), life.as_secs());
    let [hour, day, week] =
        [HOUR, DAY, 7 * DAY].map(|more| format!("age <= {}", seconds(life.saturating_add(more))));
    format!(
        "WITH own AS MATERIALIZED ( \
             SELECT CASE WHEN s.ssl THEN s.version ELSE 'none' END AS protocol, s.ssl AS encrypted, \
                    s.client_serial IS NOT NULL AS certified, a.usename AS role, \
                    pg_catalog.now() - a.backend_start AS age \
               FROM pg_catalog.pg_stat_activity a JOIN pg_catalog.pg_stat_ssl s USING (pid) \
              WHERE a.backend_type = 'client backend' AND a.pid <> pg_catalog.pg_backend_pid()), \
         role AS ( \
             SELECT role, pg_catalog.count(*) FILTER (WHERE {hour}) AS hour, \
                    pg_catalog.count(*) FILTER (WHERE NOT {hour} AND {day}) AS day, \
                    pg_catalog.count(*) FILTER (WHERE NOT {day} AND {week}) AS week, \
                    pg_catalog.count(*) FILTER (WHERE NOT {week}) AS more, pg_catalog.max(age) AS oldest, \
                    pg_catalog.row_number() OVER (ORDER BY pg_catalog.count(*) DESC, role) AS place \
               FROM own WHERE certified AND age > {outlived} GROUP BY role) \
         SELECT 'protocol', protocol, pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE encrypted AND age > {older}), \
                pg_catalog.count(*) FILTER (WHERE certified), 0, 0 FROM own GROUP BY protocol \
         UNION ALL \
         SELECT 'role', CASE WHEN place <= {MOST_ROLES} THEN role END, pg_catalog.sum(hour)::pg_catalog.int8, \
                pg_catalog.sum(day)::pg_catalog.int8, pg_catalog.sum(week)::pg_catalog.int8, pg_catalog.sum(more)::pg_catalog.int8, \
                pg_catalog.date_part('epoch', pg_catalog.max(oldest) - {outlived})::pg_catalog.int8 FROM role GROUP BY 2",
        older = seconds(age),
        outlived = seconds(life),
    )
}

fn seconds(seconds: u64) -> String {
    format!("pg_catalog.make_interval(secs => {seconds})")
}

pub(super) fn parse(rows: &[Vec<Option<String>>]) -> Result<SessionCounts, Error> {
    let mut by_protocol: Vec<_> = PROTOCOLS.map(|protocol| (protocol, 0)).into();
    let (mut older, mut certified) = (0u64, 0u64);
    let mut by_role = BTreeMap::new();
    for row in rows {
        let [Some(kind), name, numbers @ ..] = row.as_slice() else {
            return Err(Error::Unexpected);
        };
        let numbers: Vec<u64> = numbers
            .iter()
            .map(|number| number.as_ref().and_then(|text| text.parse().ok()))
            .collect::<Option<_>>()
            .ok_or(Error::Unexpected)?;
        match (kind.as_str(), &numbers[..]) {
            ("protocol", [count, old, with, _, _]) => {
                let protocol = name.as_deref().unwrap_or_default();
                let at = PROTOCOLS.iter().position(|known| *known == protocol);
                let counted: &mut (&str, u64) = &mut by_protocol[at.unwrap_or(PROTOCOLS.len() - 1)];
                counted.1 = counted.1.saturating_add(*count);
                older = older.saturating_add(*old);
                certified = certified.saturating_add(*with);
            }
            ("role", [by_age @ .., longest]) if by_age.len() == AGES.len() => {
                let role = name.as_deref().map_or_else(|| OTHERS.to_owned(), shown);
                let mut found = Outlived::none(&role);
                for ((_, count), counted) in found.by_age.iter_mut().zip(by_age) {
                    *count = *counted;
                }
                found.longest = Duration::from_secs(*longest);
                by_role.entry(role.clone()).or_insert_with(|| Outlived::none(&role)).add(&found);
            }
            _ => return Err(Error::Unexpected),
        }
    }
    Ok(SessionCounts { by_protocol, older, certified, outlived: in_order(by_role) })
}

/// The roles with most sessions first, and all that are not counted by name together at the end. A role may be called
/// `other`, and a server may name more roles than it was asked for.
fn in_order(mut by_role: BTreeMap<String, Outlived>) -> Vec<Outlived> {
    let mut others = by_role.remove(OTHERS);
    let mut named: Vec<Outlived> = by_role.into_values().collect();
    named.sort_by_key(|one| std::cmp::Reverse(one.count()));
    for one in named.drain(MOST_ROLES.min(named.len())..) {
        others.get_or_insert_with(|| Outlived::none(OTHERS)).add(&one);
    }
    named.extend(others);
    named
}

/// Ends the oldest sessions, at most `most` of them, whose client has shown a certificate, and that are older than `age`. Never
/// those of a superuser, of the role that executes this, or of replication. The session of a role that was dropped goes on in
/// PostgreSQL, and is ended like the others.
///
/// The statement ends a session only if the process that it sees has served it for that long: a process ID that is used
/// again belongs to a younger session. It ends nothing, and raises no error, if the role lacks one of the two memberships.
pub(super) fn end(age: Duration, most: u32) -> String {
    format!(
        "SELECT pid, role, age, serial, pg_catalog.pg_terminate_backend(pid, '0'::pg_catalog.int8) FROM ( \
             SELECT a.pid, COALESCE(r.rolname, 'a role that was dropped') AS role, s.client_serial::pg_catalog.text AS serial, \
                    pg_catalog.date_part('epoch', pg_catalog.now() - a.backend_start)::pg_catalog.int8 AS age \
               FROM pg_catalog.pg_stat_activity a JOIN pg_catalog.pg_stat_ssl s USING (pid) \
               LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid \
              WHERE a.backend_type = 'client backend' AND a.pid <> pg_catalog.pg_backend_pid() \
                AND s.client_serial IS NOT NULL AND r.rolsuper IS NOT TRUE AND r.rolname IS DISTINCT FROM current_user \
                AND a.backend_start < pg_catalog.now() - {age} \
                AND pg_catalog.pg_has_role('pg_read_all_stats'::pg_catalog.name, 'USAGE'::pg_catalog.text) \
                AND pg_catalog.pg_has_role('pg_signal_backend'::pg_catalog.name, 'USAGE'::pg_catalog.text) \
              ORDER BY a.backend_start LIMIT {most}) AS old",
        age = seconds(age.as_secs()),
    )
}

/// The sessions that were ended, at most `most` of them, whatever the server sends; one that ended by itself in the meantime is left out.
pub(super) fn ended(rows: &[Vec<Option<String>>], most: u32) -> Result<Vec<EndedSession>, Error> {
    let mut ended = Vec::new();
    for row in rows.iter().take(usize::try_from(most).unwrap_or(usize::MAX)) {
        let [Some(pid), Some(role), Some(age), Some(serial), Some(done)] = row.as_slice() else {
            return Err(Error::Unexpected);
        };
        let (Ok(pid), Ok(age), Some(serial)) = (pid.parse(), age.parse(), hexadecimal(serial))
        else {
            return Err(Error::Unexpected);
        };
        if done == "t" {
            ended.push(EndedSession {
                pid,
                role: shown(role),
                age: Duration::from_secs(age),
                serial,
            });
        }
    }
    Ok(ended)
}

/// A whole number in hexadecimal, in pairs of digits with colons between them, as for other serial numbers. PostgreSQL shows
/// serial numbers in decimal (`be-secure-openssl.c`, `be_tls_get_peer_serial`).
#[must_use]
pub fn hexadecimal(decimal: &str) -> Option<String> {
    /// Most digits that PostgreSQL keeps (`NAMEDATALEN`).
    const LONGEST: usize = 64;
    let (sign, digits) = decimal.strip_prefix('-').map_or(("", decimal), |rest| ("-", rest));
    if digits.is_empty() || digits.len() > LONGEST {
        return None;
    }
    // The least significant byte first.
    let mut bytes = vec![0u8];
    for digit in digits.chars() {
        let mut carry = digit.to_digit(10)?;
        for byte in &mut bytes {
            carry += u32::from(*byte) * 10;
            *byte = carry.to_le_bytes()[0];
            carry >>= 8;
        }
        if carry > 0 {
            bytes.push(carry.to_le_bytes()[0]);
        }
    }
    let pairs: Vec<String> = bytes.iter().rev().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("{sign}{}", pairs.join(":")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(texts: &[&str]) -> Vec<Option<String>> {
        texts.iter().map(|text| Some((*text).to_owned())).collect()
    }

    #[test]
    fn every_protocol_has_a_count_and_an_unknown_one_makes_no_label() {
        let rows = [
            row(&["protocol", "TLSv1.3", "7", "2", "3", "0", "0"]),
            row(&["protocol", "TLSv1.9", "1", "1", "1", "0", "0"]),
            row(&["protocol", "none", "3", "0", "0", "0", "0"]),
        ];
        let counts = parse(&rows).unwrap();
        let wanted = [3, 0, 0, 0, 7, 1];
        assert_eq!(counts.by_protocol, PROTOCOLS.into_iter().zip(wanted).collect::<Vec<_>>());
        assert_eq!((counts.older, counts.certified), (3, 4));
        assert!(parse(&[row(&["protocol", "none", "many", "0", "0", "0", "0"])]).is_err());
        assert!(parse(&[row(&["protocol", "none", "1"])]).is_err());
    }

    /// Twenty roles at most have a label of their own, whatever they are called and however many a server names.
    #[test]
    fn s06_roles_are_counted_by_name_up_to_twenty_and_a_role_called_other_among_the_others() {
        let mut rows: Vec<_> = (1..=30)
            .map(|n| row(&["role", &format!("app{n}"), &n.to_string(), "0", "0", "0", "60"]))
            .collect();
        rows.push(row(&["role", "other", "50", "0", "0", "2", "900000"]));
        rows.push(vec![Some("role".to_owned()), None]);
        rows.last_mut().unwrap().extend(["1", "1", "0", "0", "5000"].map(|it| Some(it.to_owned())));
        let counts = parse(&rows).unwrap();
        assert_eq!(counts.outlived.len(), MOST_ROLES + 1);
        assert_eq!((counts.outlived[0].role.as_str(), counts.outlived[0].count()), ("app30", 30));
        let others = counts.outlived.last().unwrap();
        // app1 to app10, the role with that name, and those that the server has put together.
        assert_eq!((others.role.as_str(), others.count()), ("other", 55 + 52 + 2));
        assert_eq!(others.by_age, [("1h", 55 + 50 + 1), ("1d", 1), ("7d", 0), ("more", 2)]);
        assert_eq!(others.longest, Duration::from_secs(900_000));
        let all: u64 = counts.outlived.iter().map(Outlived::count).sum();
        assert_eq!(all, (1..=30).sum::<u64>() + 52 + 2);
        let planted = parse(&[row(&["role", "a\n\u{1b}[31mb", "1", "0", "0", "0", "1"])]).unwrap();
        assert_eq!(planted.outlived[0].role, "a\\n\\u{1b}[31mb");
    }

    #[test]
    fn a_serial_number_is_shown_in_hexadecimal() {
        for (decimal, hex) in [
            ("0", "00"),
            ("255", "ff"),
            ("256", "01:00"),
            ("-255", "-ff"),
            ("18446744073709551616", "01:00:00:00:00:00:00:00:00"),
            // 2^159 - 1, which has 20 bytes.
            (
                "730750818665451459101842416358141509827966271487",
                "7f:ff:ff:ff:ff:ff:ff:ff:ff:ff:ff:ff:ff:ff:ff:ff:ff:ff:ff:ff",
            ),
        ] {
            assert_eq!(hexadecimal(decimal).as_deref(), Some(hex));
        }
        for wrong in ["", "-", "1.5", "NaN", "0x1", &"9".repeat(65)] {
            assert_eq!(hexadecimal(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_session_that_ended_by_itself_was_not_ended() {
        let rows = [row(&["7", "app", "100", "255", "t"]), row(&["8", "app", "90", "1", "f"])];
        let ended = ended(&rows, 2).unwrap();
        let age = Duration::from_secs(100);
        let (role, serial) = ("app".to_owned(), "ff".to_owned());
        assert_eq!(ended, [EndedSession { pid: 7, role, age, serial }]);
    }
}
