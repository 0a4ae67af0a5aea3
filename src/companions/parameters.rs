//! Finds values of libpq's parameters that do not work: libpq refuses them, or does not show the client's certificate, or
//! refuses a login by certificate alone (PostgreSQL: `fe-connect.c`, `PQconninfoOptions` and `connectOptions2`;
//! `fe-secure-openssl.c` and `fe-auth.c` for their effects).

use std::collections::BTreeMap;

use super::hosts::integer;

/// The variables that libpq uses for parameters that the service leaves out.
const VARIABLES: [(&str, &str); 27] = [
    ("channel_binding", "PGCHANNELBINDING"),
    ("client_encoding", "PGCLIENTENCODING"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("dbname", "PGDATABASE"),
    ("gssdelegation", "PGGSSDELEGATION"),
    ("gssencmode", "PGGSSENCMODE"),
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("load_balance_hosts", "PGLOADBALANCEHOSTS"),
    ("max_protocol_version", "PGMAXPROTOCOLVERSION"),
    ("min_protocol_version", "PGMINPROTOCOLVERSION"),
    ("options", "PGOPTIONS"),
    ("port", "PGPORT"),
    ("require_auth", "PGREQUIREAUTH"),
    ("requirepeer", "PGREQUIREPEER"),
    ("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION"),
    ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION"),
    ("sslcert", "PGSSLCERT"),
    ("sslcertmode", "PGSSLCERTMODE"),
    ("sslcrl", "PGSSLCRL"),
    ("sslcrldir", "PGSSLCRLDIR"),
    ("sslkey", "PGSSLKEY"),
    ("sslmode", "PGSSLMODE"),
    ("sslnegotiation", "PGSSLNEGOTIATION"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
    ("user", "PGUSER"),
];
/// The variables whose values libpq sends with each login unless they are `default` (PostgreSQL: `fe-protocol3.c`,
/// `EnvironmentOptions`). No service can have such a parameter.
pub const ENVIRONMENT: [(&str, &str); 3] =
    [("datestyle", "PGDATESTYLE"), ("timezone", "PGTZ"), ("geqo", "PGGEQO")];
/// Parameters that a service of pgsvid's always has.
const OF_THE_SERVICE: [&str; 4] = ["sslcert", "sslkey", "sslmode", "sslrootcert"];

/// Parameters with a fixed set of values.
const CHOICES: [(&str, &[&str]); 8] = [
    ("channel_binding", &["disable", "prefer", "require"]),
    ("gssencmode", &["disable", "prefer", "require"]),
    ("load_balance_hosts", &["disable", "random"]),
    ("max_protocol_version", &["3.0", "3.2", "latest"]),
    ("min_protocol_version", &["3.0", "3.2", "latest"]),
    ("sslcertmode", &["disable", "allow", "require"]),
    ("sslnegotiation", &["postgres", "direct"]),
    (
        "target_session_attrs",
        &["any", "read-write", "read-only", "primary", "standby", "prefer-standby"],
    ),
];

const INTEGERS: [&str; 6] = [
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
];

/// The largest values that Linux accepts (`MAX_TCP_KEEPIDLE`, `MAX_TCP_KEEPINTVL`, `MAX_TCP_KEEPCNT`); the smallest is 1.
const KEEPALIVES: [(&str, i32); 3] =
    [("keepalives_idle", 32767), ("keepalives_interval", 32767), ("keepalives_count", 127)];

/// In ascending order. libpq ignores case, and an empty value means no limit.
const TLS: [&str; 4] = ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];
/// libpq's default for `ssl_min_protocol_version`.
const LEAST_TLS: &str = "TLSv1.2";

/// A value in the configuration: `port = 5499` is as natural as `port = "5499"`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "expected text, a whole number, or true or false")]
pub enum Value {
    /// `"…"`
    Text(String),
    /// A whole number.
    Number(i64),
    /// libpq's switches are 1 and 0.
    Truth(bool),
}

impl From<Value> for String {
    fn from(value: Value) -> Self {
        match value {
            Value::Text(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Truth(truth) => u8::from(truth).to_string(),
        }
    }
}

/// The effect of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// libpq refuses it, and does not connect.
    Refused,
    /// The certificate is not shown, or there is no TLS.
    NoCertificate,
    /// A login by certificate alone is not enough.
    NotByCertificate,
}

/// A value that does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The parameter.
    pub keyword: &'static str,
    /// Its effect.
    pub effect: Effect,
    /// The reason, to follow `keyword=value: `.
    pub why: String,
}

/// The variable for a parameter, if there is one.
#[must_use]
pub fn variable(keyword: &str) -> Option<&'static str> {
    VARIABLES.iter().find(|(known, _)| *known == keyword).map(|(_, variable)| *variable)
}

/// Adds what libpq takes from the environment, because the service leaves it out.
pub fn add_variables(
    options: &mut BTreeMap<String, String>,
    environment: impl Fn(&str) -> Option<String>,
) {
    for (keyword, variable) in VARIABLES {
        if !OF_THE_SERVICE.contains(&keyword)
            && !options.contains_key(keyword)
            && let Some(value) = environment(variable).filter(|value| !value.is_empty())
        {
            options.insert(keyword.to_owned(), value);
        }
    }
    for (parameter, variable) in ENVIRONMENT {
        let value = environment(variable).filter(|value| !value.eq_ignore_ascii_case("default"));
        if let Some(value) = value {
            options.insert(parameter.to_owned(), value);
        }
    }
}

/// The TLS versions between two values, as (1.2, 1.3): pgsvid has no others. The values are valid.
#[must_use]
pub fn tls_versions(least: Option<&str>, most: &str) -> (bool, bool) {
    let rank = |version: &str| TLS.iter().position(|known| known.eq_ignore_ascii_case(version));
    let least = rank(least.unwrap_or(LEAST_TLS)).unwrap_or(0);
    let most = rank(most).unwrap_or(TLS.len());
    let allows = |version| rank(version).is_some_and(|rank| least <= rank && rank <= most);
    (allows("TLSv1.2"), allows("TLSv1.3"))
}

/// Checks every value. `value` returns the value in force for a keyword.
#[must_use]
pub fn flaws(value: impl Fn(&str) -> Option<String>) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    let mut add = |keyword, effect, why: String| flaws.push(Flaw { keyword, effect, why });
    for (keyword, choices) in CHOICES {
        if let Some(given) = value(keyword).filter(|given| !choices.contains(&given.as_str())) {
            // These two may be empty.
            if !(given.is_empty() && keyword.ends_with("_protocol_version")) {
                add(keyword, Effect::Refused, format!("libpq accepts {}", choices.join(", ")));
            }
        }
    }
    for keyword in INTEGERS {
        if value(keyword).is_some_and(|given| integer(&given).is_none()) {
            add(keyword, Effect::Refused, "libpq accepts an integer".to_owned());
        }
    }
    let given = |keyword| value(keyword).unwrap_or_default();
    if given("sslkey").contains(':') {
        let why = "libpq takes what stands before the colon as the name of an OpenSSL engine, and loads the library of that name";
        add("sslkey", Effect::Refused, why.to_owned());
    }
    // The kernel refuses other values, and libpq gives up the connection (Linux: `do_tcp_setsockopt`).
    if integer(&given("keepalives")) != Some(0) {
        for (keyword, most) in KEEPALIVES {
            if let Some(number) = value(keyword).and_then(|given| integer(&given))
                && !(1..=most).contains(&number)
            {
                let why = format!(
                    "Linux accepts 1 to {most}, and libpq gives up each connection over TCP"
                );
                add(keyword, Effect::Refused, why);
            }
        }
    }
    if !is_replication(&given("replication")) {
        let why = "PostgreSQL accepts true, false, or database";
        add("replication", Effect::Refused, why.to_owned());
    }
    if let Some((keyword, why)) =
        versions(value("ssl_min_protocol_version"), &given("ssl_max_protocol_version"))
    {
        add(keyword, Effect::Refused, why);
    }
    let weak = ["disable", "allow", "prefer"].contains(&given("sslmode").as_str());
    if given("sslnegotiation") == "direct" && weak {
        add(
            "sslnegotiation",
            Effect::Refused,
            "libpq requires at least sslmode=require for it".to_owned(),
        );
    }
    if given("sslcertmode") == "disable" {
        add("sslcertmode", Effect::NoCertificate, "libpq shows no certificate".to_owned());
    }
    if given("gssencmode") == "require" {
        let why = "libpq encrypts with GSSAPI instead of TLS, so it shows no certificate";
        add("gssencmode", Effect::NoCertificate, why.to_owned());
    }
    if given("channel_binding") == "require" {
        let why = "libpq refuses a login without SCRAM, and a login by certificate (cert) has none";
        add("channel_binding", Effect::NotByCertificate, why.to_owned());
    }
    if excludes_none(&given("require_auth")) {
        let why = "libpq refuses a login without one of these methods, and counts a login by certificate (cert) as `none`";
        add("require_auth", Effect::NotByCertificate, why.to_owned());
    }
    flaws
}

/// As the server reads it: `database`, or a boolean (PostgreSQL: `parse_bool_with_len`, which accepts prefixes of the words).
fn is_replication(given: &str) -> bool {
    let given = given.to_ascii_lowercase();
    let begins = |word: &str| word.starts_with(&given);
    given.is_empty()
        || given == "database"
        || ["true", "false", "yes", "no"].into_iter().any(begins)
        || (given.len() > 1 && ["on", "off"].into_iter().any(begins))
        || ["0", "1"].contains(&given.as_str())
}

/// Whether the list makes libpq refuse a login at which the server asks for nothing. `!` excludes a method.
fn excludes_none(methods: &str) -> bool {
    let mut methods =
        methods.split(',').map(str::trim).filter(|method| !method.is_empty()).peekable();
    match methods.peek() {
        None => false,
        Some(first) if first.starts_with('!') => methods.any(|method| method == "!none"),
        Some(_) => !methods.any(|method| method == "none"),
    }
}

fn versions(least: Option<String>, most: &str) -> Option<(&'static str, String)> {
    let rank = |version: &str| TLS.iter().position(|known| known.eq_ignore_ascii_case(version));
    let least = least.unwrap_or_else(|| LEAST_TLS.to_owned());
    let wrong = |keyword| Some((keyword, format!("libpq accepts {}", TLS.join(", "))));
    if !least.is_empty() && rank(&least).is_none() {
        return wrong("ssl_min_protocol_version");
    }
    if !most.is_empty() && rank(most).is_none() {
        return wrong("ssl_max_protocol_version");
    }
    (!least.is_empty() && !most.is_empty() && rank(&least) > rank(most)).then(|| {
        (
            "ssl_max_protocol_version",
            format!("it is below ssl_min_protocol_version, which is {least}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(given: &[(&str, &str)]) -> Vec<(&'static str, Effect)> {
        let value = |keyword: &str| {
            given.iter().find(|(known, _)| *known == keyword).map(|(_, value)| (*value).to_owned())
        };
        flaws(value).into_iter().map(|flaw| (flaw.keyword, flaw.effect)).collect()
    }

    #[test]
    fn b144_values_that_the_kernel_refuses_are_flaws() {
        for (keyword, most) in KEEPALIVES {
            for wrong in ["0", "-1", &(most + 1).to_string()] {
                assert_eq!(found(&[(keyword, wrong)]), [(keyword, Effect::Refused)], "{wrong}");
                assert_eq!(found(&[(keyword, wrong), ("keepalives", "0")]), []);
            }
            assert_eq!(found(&[(keyword, "1")]), []);
            assert_eq!(found(&[(keyword, &most.to_string())]), []);
        }
        let engine = [("sslkey", Effect::Refused)];
        assert_eq!(found(&[("sslkey", "/tmp/pg:x/key.pem")]), engine);
    }

    #[test]
    fn f19_values_that_libpq_takes_are_no_flaws() {
        for given in [
            &[][..],
            &[("connect_timeout", " +5 "), ("keepalives", "1"), ("tcp_user_timeout", "-1")],
            &[("ssl_min_protocol_version", "tlsv1.3"), ("ssl_max_protocol_version", "")],
            &[("ssl_min_protocol_version", ""), ("ssl_max_protocol_version", "TLSv1")],
            &[("target_session_attrs", "prefer-standby"), ("load_balance_hosts", "random")],
            &[("require_auth", "!password,!md5"), ("gssencmode", "disable")],
            &[("require_auth", "none,scram-sha-256"), ("channel_binding", "prefer")],
            &[("replication", "database")],
            &[("replication", "ON")],
            &[("replication", "t")],
            &[("replication", "0")],
        ] {
            assert_eq!(found(given), [], "{given:?}");
        }
    }

    #[test]
    fn f19_values_that_libpq_refuses_or_that_no_certificate_goes_with_are_found() {
        use Effect::{NoCertificate, NotByCertificate, Refused};
        for (keyword, value, effect) in [
            ("connect_timeout", "abc", Refused),
            ("connect_timeout", "", Refused),
            ("connect_timeout", "5s", Refused),
            ("connect_timeout", "4294967296", Refused),
            ("keepalives_idle", "1.5", Refused),
            ("channel_binding", "on", Refused),
            ("gssencmode", "Disable", Refused),
            ("target_session_attrs", "master", Refused),
            ("ssl_min_protocol_version", "1.2", Refused),
            ("ssl_max_protocol_version", "TLSv1.4", Refused),
            ("ssl_max_protocol_version", "TLSv1.1", Refused),
            ("replication", "foo", Refused),
            ("replication", "o", Refused),
            ("sslcertmode", "disable", NoCertificate),
            ("gssencmode", "require", NoCertificate),
            ("channel_binding", "require", NotByCertificate),
            ("require_auth", "scram-sha-256", NotByCertificate),
            ("require_auth", "!none", NotByCertificate),
        ] {
            assert_eq!(found(&[(keyword, value)]), [(keyword, effect)], "{keyword}={value}");
        }
    }
}
