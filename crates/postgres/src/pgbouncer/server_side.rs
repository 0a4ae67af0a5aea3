//! What PgBouncer shows to PostgreSQL: a client that logs in through it gets one of its connections, and may ask PostgreSQL which
//! certificate that connection has shown (`pg_stat_ssl`, whose row of one's own session every role may read).

use crate::login::{self, Negotiation, Outcome, Row, Verify, Versions};
use crate::sql::hexadecimal;
use crate::verify::Client;
use pgsvid_base::finding::{Code, Finding};
use pgsvid_base::text::shown;
use pgsvid_material::{Certificate, Material};

/// The name of the session, by which administrators recognise it.
const APPLICATION: &str = "pgsvid pgbouncer";
/// Asks for the certificate that this session's client, PgBouncer, has shown. Its own row is visible to each role.
const SHOWN: &str = "SELECT s.ssl, s.client_serial::pg_catalog.text FROM pg_catalog.pg_stat_ssl s \
                     WHERE s.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()";

/// Who logs in through PgBouncer, to see what it shows to PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The role.
    pub role: String,
    /// The database.
    pub database: String,
}

/// What a login through PgBouncer tells of the certificate that PgBouncer shows to PostgreSQL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ServerSide {
    /// No login was made for the published set.
    #[default]
    Unproven,
    /// PostgreSQL saw the published certificate.
    Current,
    /// PostgreSQL saw another certificate, with this serial number in hexadecimal.
    Other(String),
    /// PostgreSQL saw TLS, and no certificate.
    NoCertificate,
    /// The connection has no TLS.
    Plaintext,
    /// PgBouncer or PostgreSQL refused the login, with these words.
    Refused(String),
    /// The login or the query was not answered, for this reason.
    Unanswered(String),
}

impl ServerSide {
    /// Its name in logs, JSON and metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unproven => "unproven",
            Self::Current => "current",
            Self::Other(_) => "other",
            Self::NoCertificate => "no-certificate",
            Self::Plaintext => "plaintext",
            Self::Refused(_) => "refused",
            Self::Unanswered(_) => "unanswered",
        }
    }

    /// Judges the answer to [`SHOWN`]; `serial` is that of the published leaf, in hexadecimal.
    fn of(answer: Result<Option<Row>, Outcome>, serial: &str) -> Self {
        match answer {
            Ok(Some(row)) => Self::of_row(&row, serial),
            Ok(None) => Self::Unanswered("PostgreSQL does not list this session".to_owned()),
            Err(Outcome::LoginRefused(refusal)) => Self::Refused(refusal.text),
            Err(Outcome::Password) => Self::Refused("PgBouncer asks for a password".to_owned()),
            Err(Outcome::OtherMethod) => {
                Self::Refused("PgBouncer asks for something else than a certificate".to_owned())
            }
            Err(
                Outcome::Unreachable(why)
                | Outcome::ConnectionLost(why)
                | Outcome::Tls(why)
                | Outcome::NoCertificate(_, why),
            ) => Self::Unanswered(why),
            Err(Outcome::Plaintext) => Self::Unanswered("PgBouncer has TLS turned off".to_owned()),
            Err(_) => Self::Unanswered("the TLS handshake with PgBouncer failed".to_owned()),
        }
    }

    fn of_row(row: &[Option<String>], serial: &str) -> Self {
        let is_tls = row.first().and_then(Option::as_deref) == Some("t");
        let theirs = row.get(1).and_then(Option::as_deref);
        match theirs.map(hexadecimal) {
            _ if !is_tls => Self::Plaintext,
            None => Self::NoCertificate,
            // DER has a first byte 00 where the number would be negative otherwise.
            Some(Some(theirs)) if theirs == serial.strip_prefix("00:").unwrap_or(serial) => {
                Self::Current
            }
            Some(Some(theirs)) => Self::Other(theirs),
            Some(None) => Self::Other(shown(theirs.unwrap_or_default())),
        }
    }

    /// The finding about it: a success, a failure, or something that was not examined.
    #[must_use]
    pub fn finding(&self, login: &Login) -> Finding {
        let who = format!("{} in database {}", shown(&login.role), shown(&login.database));
        let other = |text| Finding::failure(Code::PgbouncerShowsOther, text);
        let failed = |text| {
            Finding::failure(Code::PgbouncerLogin, text).fix(
                "read PgBouncer's log, then PostgreSQL's: pgbouncer.login_role has to be the CN of pgsvid's certificate and a name in auth_file, and \
                 PostgreSQL has to let PgBouncer's certificate be that role (docs/pgbouncer.md, \"Prove what PostgreSQL sees\")",
            )
        };
        match self {
            Self::Unproven => Finding::skipped(
                Code::PgbouncerLogin,
                "what PgBouncer shows to PostgreSQL: no login through it was made with the published set",
            ),
            Self::Current => Finding::ok(
                Code::PgbouncerLogin,
                format!("logged in through PgBouncer as {who}: PostgreSQL saw the published certificate"),
            ),
            Self::Other(serial) => other(format!(
                "PgBouncer shows PostgreSQL another certificate than the published one: serial {serial}"
            ))
            .fix("look at server_tls_cert_file of PgBouncer's ini; RECONNECT on its console ends connections with an earlier certificate"),
            Self::NoCertificate => other("PgBouncer shows PostgreSQL no certificate".to_owned())
                .cause("server_tls_cert_file and server_tls_key_file of PgBouncer's ini are not set, or PostgreSQL's ssl_ca_file is not")
                .fix("set these files (`pgsvid setup pgbouncer-ini`), reload PgBouncer, then RECONNECT on its console"),
            Self::Plaintext => other("PgBouncer's connection to PostgreSQL has no TLS".to_owned())
                .cause("server_tls_sslmode of PgBouncer's ini does not demand TLS, or it connects by a Unix socket")
                .fix("set server_tls_sslmode = verify-full, and `host` in its section [databases]; reload PgBouncer, then RECONNECT on its console"),
            Self::Refused(why) => {
                failed(format!("the login through PgBouncer as {who} is refused")).cause(why.as_str())
            }
            Self::Unanswered(why) => {
                failed(format!("the login through PgBouncer as {who} is not answered")).cause(why.as_str())
            }
        }
    }
}

impl Login {
    /// Logs in at the first of these hosts that accepts a connection, with this set, and asks PostgreSQL what PgBouncer has shown it.
    /// `extra` are the authorities that are published in addition to the set's own.
    pub async fn try_through(
        &self,
        (hosts, port): (&[String], u16),
        material: &Material,
        extra: &[Certificate],
    ) -> ServerSide {
        let Some(client) = Client::unchecked(material) else {
            let why = "pgsvid cannot sign with the published key, for example on the curve P-521";
            return ServerSide::Unanswered(why.to_owned());
        };
        let authorities: Vec<Certificate> = material.authorities().chain(extra).cloned().collect();
        let login = login::Login {
            // The handshake before has shown that the leaf is the published one.
            name: "",
            verify: Verify::Chain,
            negotiation: Negotiation::Request,
            versions: Versions::Both,
            role: &self.role,
            database: &self.database,
            replication: false,
            application_name: APPLICATION,
            parameters: &[],
            authorities: &authorities,
            client: Some(&client),
        };
        let answer = login::first_row((hosts, port), &login, SHOWN).await;
        ServerSide::of(answer, &material.leaf().serial().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::login::Refusal;
    use pgsvid_base::finding::Severity;

    #[test]
    fn only_the_published_serial_is_current() {
        let row = |ssl: &str, serial: Option<&str>| {
            Ok(Some(vec![Some(ssl.to_owned()), serial.map(str::to_owned)]))
        };
        let other = |text: &str| ServerSide::Other(text.to_owned());
        for (answer, wanted) in [
            (row("t", Some("43981")), ServerSide::Current),
            (row("t", Some("43982")), other("ab:ce")),
            (row("t", Some("many")), other("many")),
            (row("t", None), ServerSide::NoCertificate),
            (row("f", None), ServerSide::Plaintext),
            (row("f", Some("43981")), ServerSide::Plaintext),
            (Ok(Some(Vec::new())), ServerSide::Plaintext),
        ] {
            assert_eq!(ServerSide::of(answer, "00:ab:cd"), wanted);
        }
        let refusal = Refusal { text: "no such user".to_owned(), ..Refusal::default() };
        for (outcome, name) in [
            (Outcome::LoginRefused(refusal), "refused"),
            (Outcome::Password, "refused"),
            (Outcome::OtherMethod, "refused"),
            (Outcome::Unreachable("no answer".to_owned()), "unanswered"),
            (Outcome::Plaintext, "unanswered"),
            (Outcome::TooMuch, "unanswered"),
        ] {
            assert_eq!(ServerSide::of(Err(outcome), "01").name(), name);
        }
        assert_eq!(ServerSide::of(Ok(None), "01").name(), "unanswered");
    }

    #[test]
    fn each_state_except_the_proof_is_a_failure_with_a_remedy() {
        let login = Login { role: "app".to_owned(), database: "db".to_owned() };
        let why = || "why".to_owned();
        for bad in [
            ServerSide::Other(why()),
            ServerSide::NoCertificate,
            ServerSide::Plaintext,
            ServerSide::Refused(why()),
            ServerSide::Unanswered(why()),
        ] {
            let found = bad.finding(&login);
            assert!(found.severity == Severity::Failure && found.fix.is_some(), "{found:?}");
        }
        assert_eq!(ServerSide::Current.finding(&login).severity, Severity::Ok);
        assert_eq!(ServerSide::Unproven.finding(&login).severity, Severity::Skipped);
    }
}
