//! Which clients PgBouncer lets in, and which servers it trusts, by its settings and by a file of its rules (PgBouncer: `client.c`,
//! `hba.c`).

use super::hba::Rules;
use super::settings::{ClientTls, Settings};
use crate::sql::{HbaRule, Line};
use pgsvid_base::finding::{Code, Finding};
use pgsvid_base::text::shown;

/// How many lines, or names, a finding lists.
const MOST_NAMED: usize = 3;
const RELOAD: &str = "then have PgBouncer reload (RELOAD; in its console)";

/// The findings about which clients PgBouncer lets in and as which roles, and about how it verifies PostgreSQL; empty if nothing is
/// wrong.
#[must_use]
pub fn admission(settings: &Settings, rules: Option<&Rules>) -> Vec<Finding> {
    let mut found = match (settings.value("auth_type"), rules) {
        (auth @ ("trust" | "any"), _) => vec![open(settings, auth)],
        (_, Some(rules)) => by_rules(settings, rules),
        // PgBouncer itself refuses it with `client_tls_sslmode` below verify-full.
        ("cert", None) => Vec::new(),
        (auth, None) => in_the_clear(settings, auth).into_iter().collect(),
    };
    found.extend(administrators(settings));
    found.extend(server_unverified(settings));
    found
}

/// Clients do not prove which role they are.
fn open(settings: &Settings, auth: &str) -> Finding {
    let as_what = match auth {
        "any" => "as the roles that its section [databases] names",
        _ => "as any role of its auth_file",
    };
    Finding::failure(
        Code::PgbouncerOpen,
        format!("PgBouncer lets in anyone who can reach it, {as_what}: auth_type is {auth}"),
    )
    .about(auth)
    .cause(without_role(settings))
    .fix(format!(
        "set auth_type = cert and client_tls_sslmode = verify-full in its ini, {RELOAD}; sessions that are open stay"
    ))
}

/// What is enough for a client that does not prove which role it is.
fn without_role(settings: &Settings) -> &'static str {
    match settings.client_tls() {
        ClientTls::WithCertificate => {
            "over TLS a certificate of any workload is enough, whatever its CN"
        }
        ClientTls::Off | ClientTls::On => {
            "it asks for neither a password nor a certificate, and PostgreSQL sees the certificate of PgBouncer"
        }
    }
}

/// The lines of a file of rules. Every line counts, also if one above it decides first.
fn by_rules(settings: &Settings, rules: &Rules) -> Vec<Finding> {
    let skipped = |why: &str| {
        Finding::skipped(
            Code::PgbouncerOpen,
            format!("which clients PgBouncer lets in by auth_type = hba: {why}"),
        )
    };
    let (path, lines) = match rules {
        Rules::Unread(why) => {
            return vec![skipped(why).fix(
                "run `pgsvid check` where the file is, as a user who can read it; auth_hba_file has to be an absolute path",
            )];
        }
        Rules::Read(path, lines) => (shown(&path.display().to_string()), lines),
    };
    let mut found = Vec::new();
    let unclear = lines.iter().find_map(|line| match line {
        Line::Entry(_) => None,
        Line::Include(include) => Some(format!("{path} line {} names another file", include.line)),
        Line::Unclear(line, why) => Some(format!("{path} line {line} is not understood: {why}")),
    });
    found.extend(unclear.map(|why| skipped(&why)));
    let rules: Vec<&HbaRule> = lines
        .iter()
        .filter_map(|line| match line {
            Line::Entry(rule) => Some(rule),
            _ => None,
        })
        .collect();
    let mapped = rules.iter().find(|rule| rule.map().is_some());
    found.extend(mapped.map(|rule| {
        skipped(&format!(
            "{path} line {} has a map of names to roles (auth_ident_file), which is not judged",
            rule.line
        ))
        .fix("look in auth_ident_file at which names of certificates may be which roles")
    }));
    let open: Vec<u32> =
        rules.iter().filter(|rule| rule.method == "trust").map(|rule| rule.line).collect();
    if !open.is_empty() {
        let place = places(&path, &open);
        found.push(
            Finding::failure(
                Code::PgbouncerOpen,
                format!(
                    "{place} asks for no proof of the role, and lets clients in as each role that it names (trust)"
                ),
            )
            .about(place)
            .cause(without_role(settings))
            .fix(format!("write `hostssl … cert` there, or peer in a line `local`, {RELOAD}")),
        );
    }
    let is_clear = |rule: &&&HbaRule| {
        matches!(rule.kind.as_str(), "host" | "hostnossl")
            && rule.address.as_ref().is_some_and(|address| !address.is_local())
            && !matches!(rule.method.as_str(), "trust" | "reject" | "cert" | "peer")
    };
    let clear: Vec<u32> = rules.iter().filter(is_clear).map(|rule| rule.line).collect();
    if !clear.is_empty() && !enforces_tls(settings) {
        let place = places(&path, &clear);
        found.push(clear_text(format!("{place} asks for a password without TLS")).about(place));
    }
    found
}

fn places(path: &str, lines: &[u32]) -> String {
    let named: Vec<String> = lines.iter().take(MOST_NAMED).map(u32::to_string).collect();
    let more = if lines.len() > MOST_NAMED { ", …" } else { "" };
    format!("{path} line {}{more}", named.join(", "))
}

/// Passwords that are sent over a network without TLS, or could be.
fn in_the_clear(settings: &Settings, auth: &str) -> Option<Finding> {
    let (addresses, _) = settings.listens_on();
    let is_local = |address: &str| {
        address.is_empty()
            || address == "localhost"
            || address.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
    };
    let reaches_the_network = !addresses.split(',').map(str::trim).all(is_local);
    (reaches_the_network && !enforces_tls(settings)).then(|| {
        clear_text(format!(
            "PgBouncer lets clients in by password, and without TLS: auth_type is {}, client_tls_sslmode is {}",
            shown(auth),
            shown(settings.value("client_tls_sslmode"))
        ))
        .about(auth)
    })
}

fn enforces_tls(settings: &Settings) -> bool {
    matches!(settings.value("client_tls_sslmode"), "require" | "verify-ca" | "verify-full")
}

fn clear_text(text: String) -> Finding {
    Finding::warning(Code::PgbouncerClearText, text)
        .cause("anyone on the network path can read the password, or a proof of it from which it can be guessed")
        .fix(format!(
            "set client_tls_sslmode = verify-full and auth_type = cert in its ini, or at least client_tls_sslmode = require, {RELOAD}"
        ))
}

/// A client is an administrator of PgBouncer by a name that a certificate can have.
fn administrators(settings: &Settings) -> Vec<Finding> {
    if !matches!(settings.value("auth_type"), "cert" | "hba" | "trust" | "any") {
        return Vec::new();
    }
    let might = [
        (
            "admin_users",
            "can change its whole configuration, and so write files and run code as PgBouncer's user",
        ),
        ("stats_users", "can see its configuration, and every client and server"),
    ];
    let found = might.iter().filter_map(|(setting, can)| {
        let names: Vec<String> = settings
            .value(setting)
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(shown)
            .collect();
        let first = names.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join(", ");
        let fix = format!(
            "remove {setting} from PgBouncer's ini, {RELOAD}: its own user needs no name there to use the console over the Unix socket"
        );
        (!names.is_empty()).then(|| {
            Finding::warning(
                Code::PgbouncerAdministrators,
                format!("a client that logs in to PgBouncer as one of {first} ({setting}) {can}"),
            )
            .about(*setting)
            .cause("with auth_type = cert that is any workload whose certificate has such a CN or DNS name")
            .fix(fix)
        })
    });
    found.collect()
}

/// The finding if PgBouncer does not verify PostgreSQL: anyone who answers in its place gets the sessions of the clients.
fn server_unverified(settings: &Settings) -> Option<Finding> {
    let mode = settings.value("server_tls_sslmode");
    let what = match mode {
        "verify-full" => return None,
        "verify-ca" => "any server with a certificate of these authorities",
        _ => "any server",
    };
    settings.shows_a_certificate().then(|| {
        Finding::warning(
            Code::PgbouncerServerUnverified,
            format!(
                "PgBouncer accepts {what} in PostgreSQL's place: server_tls_sslmode is {}",
                shown(mode)
            ),
        )
        .about(mode)
        .cause("such a server sees what clients send, and answers them")
        .fix(format!(
            "set server_tls_sslmode = verify-full in its ini, and let host in [databases] be a name of PostgreSQL's certificate, {RELOAD}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use pgsvid_base::finding::Severity;

    use super::super::hba::{parse, rules};
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        let text = |text: &str| Some(text.to_owned());
        let usual = [
            ("listen_port", "6432"),
            ("client_tls_sslmode", "verify-full"),
            ("server_tls_sslmode", "verify-full"),
            ("server_tls_cert_file", "/a"),
            ("auth_type", "cert"),
        ];
        let rows: Vec<_> =
            usual.iter().chain(pairs).map(|(name, value)| vec![text(name), text(value)]).collect();
        Settings::parse("1.18.0".to_owned(), &rows).unwrap()
    }

    fn told(pairs: &[(&str, &str)], rules: Option<&Rules>) -> Vec<(Code, Severity)> {
        let found = admission(&settings(pairs), rules);
        found.into_iter().map(|it| (it.code, it.severity)).collect()
    }

    #[test]
    fn b96_which_clients_pgbouncer_lets_in_is_judged_by_its_settings() {
        let open = (Code::PgbouncerOpen, Severity::Failure);
        let clear = (Code::PgbouncerClearText, Severity::Warning);
        let server = (Code::PgbouncerServerUnverified, Severity::Warning);
        let admin = (Code::PgbouncerAdministrators, Severity::Warning);
        for (pairs, wanted) in [
            (&[][..], &[][..]),
            (&[("auth_type", "trust")], &[open]),
            (&[("auth_type", "any"), ("client_tls_sslmode", "prefer")], &[open]),
            (
                &[("auth_type", "plain"), ("client_tls_sslmode", "prefer"), ("listen_addr", "*")],
                &[clear],
            ),
            (
                &[
                    ("auth_type", "md5"),
                    ("client_tls_sslmode", "disable"),
                    ("listen_addr", "127.0.0.1, 10.0.0.1"),
                ],
                &[clear],
            ),
            (
                &[
                    ("auth_type", "scram-sha-256"),
                    ("client_tls_sslmode", "allow"),
                    ("listen_addr", "::"),
                ],
                &[clear],
            ),
            (&[("auth_type", "md5"), ("client_tls_sslmode", "require"), ("listen_addr", "*")], &[]),
            (
                &[
                    ("auth_type", "md5"),
                    ("client_tls_sslmode", "disable"),
                    ("listen_addr", "localhost,::1"),
                ],
                &[],
            ),
            (&[("server_tls_sslmode", "prefer")], &[server]),
            (&[("server_tls_sslmode", "verify-ca")], &[server]),
            (&[("server_tls_sslmode", "prefer"), ("server_tls_cert_file", "")], &[]),
            (&[("server_tls_sslmode", "disable")], &[]),
            (&[("admin_users", "one, two")], &[admin]),
            (&[("admin_users", "one"), ("stats_users", "two")], &[admin, admin]),
            (
                &[("admin_users", "one"), ("auth_type", "md5"), ("client_tls_sslmode", "require")],
                &[],
            ),
        ] {
            assert_eq!(told(pairs, None), wanted, "{pairs:?}");
        }
    }

    #[test]
    fn b96_a_file_of_rules_is_judged_line_by_line() {
        let open = (Code::PgbouncerOpen, Severity::Failure);
        let unknown = (Code::PgbouncerOpen, Severity::Skipped);
        let clear = (Code::PgbouncerClearText, Severity::Warning);
        for (text, mode, wanted) in [
            ("hostssl all all all cert\nlocal all all peer\n", "verify-full", &[][..]),
            ("hostssl all all all cert\nhost all app 10.0.0.0/8 trust\n", "verify-full", &[open]),
            ("local all all trust\n", "verify-full", &[open]),
            ("host all all all md5\n", "prefer", &[clear]),
            ("host all all 127.0.0.1/32 md5\nhost all all all reject\n", "prefer", &[]),
            ("host all all all md5\n", "require", &[]),
            ("hostssl all all all certificate\n", "verify-full", &[unknown]),
            // PostgreSQL would join each two lines.
            ("# the old network \\\nhost all all 0.0.0.0/0 trust\n", "verify-full", &[open]),
            ("# the old network \\\r\nhost all all all trust\r\n", "verify-full", &[open]),
            (
                "host all all 10.0.0.0/8 cert \\\nhost all all all trust\n",
                "verify-full",
                &[unknown, open],
            ),
            ("hostssl all all all cert map=m\n", "verify-full", &[unknown]),
        ] {
            let rules = Rules::Read(PathBuf::from("/etc/hba"), parse(text));
            let pairs = [("auth_type", "hba"), ("client_tls_sslmode", mode)];
            assert_eq!(told(&pairs, Some(&rules)), wanted, "{text}");
        }
        let hba = settings(&[("auth_type", "hba"), ("auth_hba_file", "relative")]);
        assert!(matches!(rules(&hba, true), Some(Rules::Unread(_))));
        let hba = settings(&[("auth_type", "hba"), ("auth_hba_file", "/nowhere/hba")]);
        let rules = rules(&hba, true);
        assert_eq!(admission(&hba, rules.as_ref())[0].severity, Severity::Skipped);
    }
    /// Root's `check` asks a PgBouncer of another user, who names a file that root alone can read.
    #[test]
    fn b102_no_file_that_another_user_names_is_read() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("secret");
        std::io::Write::write_all(&mut std::fs::File::create(&file).unwrap(), b"secret word\n")
            .unwrap();
        let name = file.display().to_string();
        let hba = settings(&[("auth_type", "hba"), ("auth_hba_file", &name)]);
        assert!(matches!(rules(&hba, true), Some(Rules::Read(..))));
        let unread = rules(&hba, false);
        assert!(matches!(unread, Some(Rules::Unread(_))));
        assert_eq!(admission(&hba, unread.as_ref())[0].severity, Severity::Skipped);
    }
}
