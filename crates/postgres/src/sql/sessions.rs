//! The server's sessions: how they are connected, and how many are old. Only members of `pg_read_all_stats` see those of
//! other roles.

use std::time::Duration;

use super::error::Error;

/// The protocols that `pg_stat_ssl` names, and `none`.
const PROTOCOLS: [&str; 6] = ["none", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3", "other"];

/// How many client sessions there are, not counting this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionCounts {
    /// Each of `none`, `TLSv1`, `TLSv1.1`, `TLSv1.2`, `TLSv1.3` and `other`, with its number of sessions, which may be 0.
    pub by_protocol: Vec<(&'static str, u64)>,
    /// TLS sessions that are older than the given time.
    pub older: u64,
}

/// One row for each protocol: its name, the number of sessions, and how many of them are older than `age`.
pub(super) fn query(age: Duration) -> String {
    format!(
        "SELECT CASE WHEN s.ssl THEN s.version ELSE 'none' END, pg_catalog.count(*), \
                pg_catalog.count(*) FILTER (WHERE s.ssl AND a.backend_start \
                    < pg_catalog.now() - pg_catalog.make_interval(secs => {})) \
           FROM pg_catalog.pg_stat_activity a JOIN pg_catalog.pg_stat_ssl s USING (pid) \
          WHERE a.backend_type = 'client backend' AND a.pid <> pg_catalog.pg_backend_pid() GROUP BY 1",
        age.as_secs()
    )
}

pub(super) fn parse(rows: &[Vec<Option<String>>]) -> Result<SessionCounts, Error> {
    let mut counts =
        SessionCounts { by_protocol: PROTOCOLS.map(|protocol| (protocol, 0)).into(), older: 0 };
    for row in rows {
        let [protocol, Some(count), Some(older)] = row.as_slice() else {
            return Err(Error::Unexpected);
        };
        let number = |text: &String| text.parse::<u64>().map_err(|_| Error::Unexpected);
        let protocol = protocol.as_deref().unwrap_or_default();
        let at = PROTOCOLS.iter().position(|known| *known == protocol);
        counts.by_protocol[at.unwrap_or(PROTOCOLS.len() - 1)].1 += number(count)?;
        counts.older += number(older)?;
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_protocol_has_a_count_and_an_unknown_one_makes_no_label() {
        let row = |protocol: &str, count: &str, older: &str| {
            vec![Some(protocol.to_owned()), Some(count.to_owned()), Some(older.to_owned())]
        };
        let rows = [row("TLSv1.3", "7", "2"), row("TLSv1.9", "1", "1"), row("none", "3", "0")];
        let counts = parse(&rows).unwrap();
        let wanted = [3, 0, 0, 0, 7, 1];
        assert_eq!(counts.by_protocol, PROTOCOLS.into_iter().zip(wanted).collect::<Vec<_>>());
        assert_eq!(counts.older, 3);
        assert!(parse(&[row("none", "many", "0")]).is_err());
    }
}
