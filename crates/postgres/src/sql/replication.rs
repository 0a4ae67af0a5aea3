//! Replication as a server sees it: who receives from it, with which certificate, and whether it receives itself.

use std::time::Duration;

use super::error::Error;
use super::sessions::hexadecimal;
use pgsvid_base::text::shown;

/// How many connections, and how many subscriptions, are listed. The others are only counted.
const MOST: u64 = 20;

/// The replication connections of a server. Only members of `pg_read_all_stats` see all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replication {
    /// The connections that receive from this server, at most 20: those without a certificate first, then the oldest.
    pub senders: Vec<Sender>,
    /// Number of these connections, with those that are not listed.
    pub count: u64,
    /// What a standby receives; `None` if the server is no standby.
    pub receiver: Option<Receiver>,
    /// Each enabled subscription of this server, at most 20, silent ones first, and whether it has received anything from its
    /// publisher over its present connection.
    pub subscriptions: Vec<(String, bool)>,
    /// Number of enabled subscriptions, with those that are not listed.
    pub subscription_count: u64,
}

/// A connection that receives from the server: a standby's, a subscriber's, or that of a program such as `pg_basebackup`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sender {
    /// `application_name`, shortened and escaped.
    pub application: String,
    /// The role, shortened and escaped.
    pub role: String,
    /// `streaming`, `catchup`, `startup`, `backup` or `stopping`.
    pub state: String,
    /// Its transport and encryption.
    pub over: Over,
    /// The certificate that the client has shown; `None` without one.
    pub certificate: Option<Shown>,
    /// How long ago the connection was opened.
    pub age: Duration,
}

/// The transport and encryption of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Over {
    /// Over TCP without TLS.
    #[default]
    Plaintext,
    /// Over TLS.
    Tls,
    /// Over TCP, encrypted by GSSAPI.
    Gss,
    /// Over the Unix socket.
    Socket,
}

/// A client's certificate, as PostgreSQL shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// Its subject, shortened and escaped.
    pub subject: String,
    /// Its issuer, shortened and escaped.
    pub issuer: String,
    /// Its serial number, in hexadecimal.
    pub serial: String,
}

/// What a standby receives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receiver {
    /// The state of the walreceiver; `None` if there is none.
    pub state: Option<String>,
    /// `host:port` of the server that it receives from, shortened and escaped.
    pub from: Option<String>,
}

impl Receiver {
    /// Whether it receives. In `waiting` the primary has ended the stream; in `starting`, `restarting` and `connecting` (19) the
    /// primary may be out of reach.
    #[must_use]
    pub fn receives(&self) -> bool {
        self.state.as_deref() == Some(STREAMING)
    }
}

/// The only state of a walreceiver that receives (PostgreSQL: `walreceiver.c`).
const STREAMING: &str = "streaming";

/// One row for each connection, one with their number, one for a standby, and one for each enabled subscription.
///
/// A subscription's `received_lsn` is NULL until the publisher's first message over the present connection, which an idle one sends,
/// too. `last_msg_receipt_time` is set before the worker connects (PostgreSQL: `worker.c`, `ApplyWorkerMain`).
pub(super) fn query() -> String {
    format!(
        "(SELECT 'sender', pg_catalog.left(r.application_name, 200), r.usename, r.state, \
                 CASE WHEN s.ssl THEN 'tls' WHEN g.encrypted THEN 'gss' WHEN r.client_addr IS NULL THEN 'socket' ELSE 'plaintext' END, s.client_dn, s.issuer_dn, s.client_serial::pg_catalog.text, \
                 GREATEST(pg_catalog.date_part('epoch', pg_catalog.now() - r.backend_start), 0)::pg_catalog.int8::pg_catalog.text \
            FROM pg_catalog.pg_stat_replication r LEFT JOIN pg_catalog.pg_stat_ssl s USING (pid) \
            LEFT JOIN pg_catalog.pg_stat_gssapi g USING (pid) \
           ORDER BY s.client_serial IS NOT NULL, s.ssl, r.backend_start, r.pid LIMIT {MOST}) \
         UNION ALL SELECT 'count', pg_catalog.count(*)::pg_catalog.text, NULL, NULL, NULL, NULL, NULL, NULL, NULL \
            FROM pg_catalog.pg_stat_replication \
         UNION ALL SELECT 'receiver', w.status, pg_catalog.concat(w.sender_host, ':', w.sender_port), NULL, NULL, NULL, NULL, NULL, NULL \
            FROM (VALUES (1)) AS one LEFT JOIN pg_catalog.pg_stat_wal_receiver w ON true \
           WHERE pg_catalog.pg_is_in_recovery() \
         UNION ALL (SELECT 'subscription', pg_catalog.left(s.subname, 200), \
                 (EXISTS (SELECT FROM pg_catalog.pg_stat_subscription w \
                   WHERE w.subid = s.oid AND w.relid IS NULL AND w.received_lsn IS NOT NULL))::pg_catalog.text, \
                 NULL, NULL, NULL, NULL, NULL, NULL \
            FROM pg_catalog.pg_subscription s WHERE s.subenabled ORDER BY 3, s.oid LIMIT {MOST}) \
         UNION ALL SELECT 'subscriptions', pg_catalog.count(*)::pg_catalog.text, NULL, NULL, NULL, NULL, NULL, NULL, NULL \
            FROM pg_catalog.pg_subscription WHERE subenabled"
    )
}

pub(super) fn parse(rows: &[Vec<Option<String>>]) -> Result<Replication, Error> {
    let mut found = Replication::default();
    for row in rows {
        let [Some(kind), first, second, state, over, subject, issuer, serial, age] = row.as_slice()
        else {
            return Err(Error::Unexpected);
        };
        let text = |value: &Option<String>| value.as_deref().map(shown).unwrap_or_default();
        match kind.as_str() {
            "sender" => {
                let serial = serial.as_deref().map(hexadecimal);
                let certificate = match serial {
                    Some(Some(serial)) => {
                        Some(Shown { subject: text(subject), issuer: text(issuer), serial })
                    }
                    Some(None) => return Err(Error::Unexpected),
                    None => None,
                };
                let age = age.as_deref().and_then(|age| age.parse().ok());
                found.senders.push(Sender {
                    application: text(first),
                    role: text(second),
                    state: text(state),
                    over: match over.as_deref() {
                        Some("tls") => Over::Tls,
                        Some("gss") => Over::Gss,
                        Some("socket") => Over::Socket,
                        _ => Over::Plaintext,
                    },
                    certificate,
                    age: Duration::from_secs(age.ok_or(Error::Unexpected)?),
                });
            }
            "count" => {
                let count = first.as_deref().and_then(|count| count.parse().ok());
                found.count = count.ok_or(Error::Unexpected)?;
            }
            "receiver" => {
                let state = first.as_deref().map(shown);
                let from = state.is_some().then(|| text(second));
                found.receiver = Some(Receiver { state, from });
            }
            "subscription" => {
                found.subscriptions.push((text(first), second.as_deref() == Some("true")));
            }
            "subscriptions" => {
                let count = first.as_deref().and_then(|count| count.parse().ok());
                found.subscription_count = count.ok_or(Error::Unexpected)?;
            }
            _ => return Err(Error::Unexpected),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(texts: [&str; 9]) -> Vec<Option<String>> {
        texts.map(|text| (!text.is_empty()).then(|| text.to_owned())).into()
    }

    #[test]
    fn l01_connections_are_read_and_what_clients_choose_is_escaped() {
        let rows = [
            row(["sender", "a\nb", "repl", "streaming", "tls", "/CN=s", "/CN=ca", "255", "7"]),
            row(["sender", "b", "repl", "backup", "plaintext", "", "", "", "0"]),
            row(["sender", "c", "repl", "backup", "gss", "", "", "", "0"]),
            row(["count", "31", "", "", "", "", "", "", ""]),
            row(["receiver", "", ":", "", "", "", "", "", ""]),
            row(["subscription", "sub", "false", "", "", "", "", "", ""]),
            row(["subscriptions", "21", "", "", "", "", "", "", ""]),
        ];
        let found = parse(&rows).unwrap();
        assert_eq!(found.senders[0].application, "a\\nb");
        assert_eq!(found.senders[0].certificate.as_ref().unwrap().serial, "ff");
        assert_eq!(
            (found.senders[1].certificate.as_ref(), found.senders[1].over),
            (None, Over::Plaintext)
        );
        assert_eq!((found.count, found.senders.len(), found.senders[2].over), (31, 3, Over::Gss));
        assert_eq!(found.receiver, Some(Receiver::default()));
        assert_eq!(found.subscriptions, [("sub".to_owned(), false)]);
        assert_eq!(found.subscription_count, 21);
        for wrong in [
            row(["sender", "a", "r", "s", "tls", "/CN=s", "/CN=ca", "x", "7"]),
            row(["sender", "a", "r", "s", "tls", "", "", "", "x"]),
            row(["count", "x", "", "", "", "", "", "", ""]),
            row(["other", "", "", "", "", "", "", "", ""]),
        ] {
            assert!(parse(&[wrong]).is_err());
        }
        assert!(parse(&[vec![Some("count".to_owned())]]).is_err());
    }
}
