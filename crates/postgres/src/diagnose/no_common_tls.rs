//! A server that ends the handshake before it shows a certificate: it runs, but pgsvid cannot see what it serves. Explains
//! this by the server's settings.

use super::settings::with_remedy;
use super::{curves, openssl};
use crate::sql::{self, Setting, TlsSettings, statements};
use crate::verify::{self, Answer, Facts};
use pgsvid_base::finding::{Code, Finding};
use pgsvid_base::text::shown;
use pgsvid_material::Certificate;
use rustls::AlertDescription;

/// From this version on `ssl_ecdh_curve` is `ssl_groups`, a list.
const HAS_GROUPS: u32 = 180_000;
/// OpenSSL's usual security level, in Debian: keys of 112 bits, which every authority issues.
const COMMON_LEVEL: u32 = 2;
/// The ciphers that the probe needs over TLS 1.2, for any kind of certificate key.
const CIPHERS: &str = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
/// The cipher suite that the probe needs over TLS 1.3.
const SUITE: &str = "TLS_AES_256_GCM_SHA384";

/// Why the probe and the server support no common key exchange, cipher suite or protocol version, as far as the server's
/// settings are known. A warning, because clients may support more than the probe.
#[must_use]
pub fn no_common_tls(
    facts: &Facts,
    settings: Option<&TlsSettings>,
    session: &sql::Settings,
) -> Finding {
    let general = no_certificate_shown(facts);
    let alert = match &facts.answer {
        Answer::Refused(alert) => verify::alert_name(*alert),
        _ => return general,
    };
    let warning = |cause: String| {
        Finding::warning(Code::VerdictUnverifiable, general.text.clone())
            .about(alert.clone())
            .cause(cause)
    };
    let Some(settings) = settings else {
        return warning(format!(
            "it answers with the alert {alert}; its settings are not known yet"
        ))
        .fix("see \"could not accept SSL connection\" in the server log");
    };
    if let Some(Mismatch { name, setting, why, value }) = mismatch(settings) {
        let object = format!("{name} = '{}'", shown(&setting.value));
        let found = warning(format!("{object}: {why}")).about(object);
        return with_remedy(found, name, &value, setting, session);
    }
    if !settings.others.complete {
        let grant = statements::grant_settings(&session.user, settings.version_number);
        let command = session.psql(&grant);
        return warning(format!(
            "it answers with the alert {alert}; role {} may not see ssl_ciphers, ssl_ecdh_curve and the protocol versions, one of \
             which is usually the reason",
            shown(&session.user)
        ))
        .fix(format!("let the role see them: {command}"))
        .command(command);
    }
    warning(format!(
        "it answers with the alert {alert}, and its settings do not say why: OpenSSL may have another configuration (openssl.cnf), or \
         another program may answer at that address"
    ))
    .fix("see \"could not accept SSL connection\" in the server log: the line names the reason")
}

/// The finding about a server that ended the handshake before it showed a certificate, without regard to its settings.
pub(super) fn no_certificate_shown(facts: &Facts) -> Finding {
    let Answer::Refused(alert) = &facts.answer else {
        return Finding::failure(Code::VerdictUnreachable, "the server has not answered");
    };
    let alert_name = verify::alert_name(*alert);
    let (code, why) = if verify::is_without_common_tls(*alert) {
        let why = "it has no key exchange, cipher suite or protocol version in common with pgsvid's probe";
        (Code::VerdictUnverifiable, why)
    } else {
        // Another alert, such as internal_error if an authority's key is too small for OpenSSL.
        (
            Code::VerdictUnreachable,
            "that is a fault of the server, which affects its other clients, too",
        )
    };
    let text = format!(
        "PostgreSQL at {} ends the TLS handshake before it shows a certificate: what it serves is not proven",
        facts.address
    );
    Finding::failure(code, text)
        .about(alert_name.clone())
        .cause(format!("it answers with the alert {alert_name}: {why}"))
        .fix("see \"could not accept SSL connection\" in the server log: the line names the reason")
}

/// The finding about a server that has completed a handshake before, with the settings that it has now.
pub(super) fn no_longer_completes(facts: &Facts, alert: AlertDescription) -> Finding {
    let (address, alert) = (&facts.address, verify::alert_name(alert));
    let text = format!("cannot see what PostgreSQL at {address} serves");
    Finding::failure(Code::VerdictUnreachable, text)
        .about(alert.clone())
        .cause(format!(
            "it answers with the alert {alert}; before, it has completed a handshake, and its settings have not changed. Possible causes: \
             another program listens there, or OpenSSL's configuration has changed (openssl.cnf)"
        ))
        .fix(format!(
            "check what listens at {address} (ss -ltnp), and look for \"could not accept SSL connection\" in the server log; if that is PostgreSQL \
             itself, restart pgsvid"
        ))
}

/// The setting that keeps out all clients with OpenSSL's defaults, such as psql; `None` if no setting certainly does so.
#[must_use]
pub fn without_clients(settings: &TlsSettings, session: &sql::Settings) -> Option<Finding> {
    // TLS 1.2 can do without a key exchange over a curve.
    if highest(settings) != "TLSv1.3" {
        return None;
    }
    if let Some(found) = without_suites(settings, session) {
        return Some(found);
    }
    let (name, setting) = groups(settings)?;
    let names = list(name, &setting.value, settings.version_number);
    if names.is_empty() || !names.iter().all(|name| curves::is_offered_by_nobody(name)) {
        return None;
    }
    let finding = Finding::failure(
        Code::SslGroupsUncommon,
        format!(
            "{name} = '{}': clients do not offer it unless OpenSSL is configured to, so psql and others cannot connect over TLS 1.3",
            shown(&setting.value)
        ),
    )
    .about(format!("{name} = '{}'", shown(&setting.value)));
    Some(with_remedy(finding, name, group(settings), setting, session))
}

/// The finding about a list without any suite of TLS 1.3 that OpenSSL's clients offer by default. They do not fall back to
/// TLS 1.2.
fn without_suites(settings: &TlsSettings, session: &sql::Settings) -> Option<Finding> {
    let name = "ssl_tls13_ciphers";
    let (_, setting) = settings.others.values.iter().find(|(known, _)| known == name)?;
    let value = setting.value.as_str();
    if value.is_empty() || value.split(':').any(|suite| openssl::is_common_suite(suite.trim())) {
        return None;
    }
    let object = format!("{name} = '{}'", shown(value));
    let finding = Finding::failure(
        Code::SslSuitesUncommon,
        format!(
            "{object}: clients do not offer any of these unless OpenSSL is configured to, so psql and others cannot connect over TLS 1.3"
        ),
    )
    .about(object);
    Some(with_remedy(finding, name, SUITE, setting, session))
}

/// The finding that PostgreSQL refuses the leaf from a client: over TLS 1.2 it refuses every client whose key is on none of
/// its curves ("wrong curve").
#[must_use]
pub fn wrong_curve(server: Option<(&TlsSettings, &sql::Settings)>, leaf: &Certificate) -> Finding {
    let curve = curve(leaf);
    let finding = |cause: String| {
        Finding::failure(
            Code::ClientCertificatesRefused,
            "PostgreSQL refuses the published certificate from a client, and so those of other clients: its key is on another curve",
        )
        .cause(cause)
    };
    let cause = |set: &str| {
        format!("over TLS 1.2 it only accepts client keys on the curves of ssl_ecdh_curve{set}")
    };
    match server.and_then(|(settings, session)| Some((settings, session, groups(settings)?))) {
        Some((settings, session, (name, setting))) => {
            let found = finding(cause(&format!(" ('{}')", shown(&setting.value))));
            let value = if settings.version_number < HAS_GROUPS {
                curve.to_owned()
            } else {
                format!("X25519:{curve}")
            };
            with_remedy(found, name, &value, setting, session)
        }
        None => finding(cause("")).fix(format!(
            "set ssl_ecdh_curve to the curve of the clients' keys (this one is on {curve}), or allow TLS 1.3 \
             (ssl_max_protocol_version), then reload"
        )),
    }
}

/// The curve of a leaf's key, by OpenSSL's name. A key of another kind has no curve that could be refused.
fn curve(leaf: &Certificate) -> &'static str {
    const P384: &[u8] = &[6, 5, 0x2b, 0x81, 4, 0, 34];
    let names = |identifier: &[u8]| {
        // The curve's identifier stands in the algorithm, before the point.
        leaf.public_key()
            .iter()
            .take(32)
            .copied()
            .collect::<Vec<u8>>()
            .windows(identifier.len())
            .any(|at| at == identifier)
    };
    if names(P384) { "secp384r1" } else { "prime256v1" }
}

/// A setting that has nothing in common with the probe.
struct Mismatch<'a> {
    name: &'a str,
    setting: &'a Setting,
    why: String,
    /// A value with which the probe works.
    value: String,
}

fn mismatch(settings: &TlsSettings) -> Option<Mismatch<'_>> {
    let set = |name: &'static str| {
        let known = settings.others.values.iter().find(|(known, _)| known == name)?;
        Some((name, &known.1))
    };
    if let Some((name, setting)) = set("ssl_max_protocol_version")
        && matches!(setting.value.as_str(), "TLSv1" | "TLSv1.1")
    {
        let why = "pgsvid's probe speaks TLS 1.2 and TLS 1.3".to_owned();
        return Some(Mismatch { name, setting, why, value: "TLSv1.3".to_owned() });
    }
    // A level counts for every protocol version, and for the server's own key (OpenSSL: `SSL_CTX_set_security_level`).
    if let Some((name, setting)) = set("ssl_ciphers")
        && let Some(level) = openssl::security_level(&setting.value)
        && level > COMMON_LEVEL
    {
        let why = format!(
            "its @SECLEVEL={level} asks for stronger keys than those that PostgreSQL or its clients have: level 3 for 128 bits (P-256, RSA with \
             3072), level 4 for 192 (P-384), level 5 for 256"
        );
        let value = openssl::without_security_level(&setting.value);
        return Some(Mismatch { name, setting, why, value });
    }
    let only = |what: &str, names: Vec<&str>| {
        format!("pgsvid's probe has none of these; it has {} ({what})", names.join(", "))
    };
    if let Some((name, setting)) = groups(settings) {
        let names = list(name, &setting.value, settings.version_number);
        if !names.iter().any(|name| verify::has_group(name)) {
            let why = only("key exchange", verify::groups().collect());
            return Some(Mismatch { name, setting, why, value: group(settings).to_owned() });
        }
    }
    let more = |setting: &Setting, more: &str| format!("{}:{more}", setting.value);
    if highest(settings) == "TLSv1.3" {
        let (name, setting) = set("ssl_tls13_ciphers")?;
        let has = |suite: &str| verify::suites().any(|known| known == suite.trim());
        if setting.value.is_empty() || setting.value.split(':').any(has) {
            return None;
        }
        let why = only("TLS 1.3", verify::suites().collect());
        return Some(Mismatch { name, setting, why, value: more(setting, SUITE) });
    }
    // The meaning of an OpenSSL cipher list depends on the build; the handshake has shown that it has none of the probe's.
    let (name, setting) = set("ssl_ciphers")?;
    let why = format!(
        "TLS 1.2 is the highest protocol version, and of its cipher suites pgsvid's probe only has {}",
        verify::ciphers().collect::<Vec<_>>().join(", ")
    );
    Some(Mismatch { name, setting, why, value: more(setting, CIPHERS) })
}

fn groups(settings: &TlsSettings) -> Option<(&'static str, &Setting)> {
    ["ssl_groups", "ssl_ecdh_curve"].into_iter().find_map(|name| {
        let known = settings.others.values.iter().find(|(known, _)| known == name)?;
        Some((name, &known.1))
    })
}

/// The names in the value. The signs of OpenSSL 3.5 for "if available" and "send a share" are removed.
fn list<'a>(name: &str, value: &'a str, version: u32) -> Vec<&'a str> {
    if name == "ssl_ecdh_curve" && version < HAS_GROUPS {
        return vec![value];
    }
    value.split([':', '/']).map(|name| name.trim_matches(['?', '*', ' '])).collect()
}

/// A value with which clients and the probe can connect.
fn group(settings: &TlsSettings) -> &'static str {
    if settings.version_number < HAS_GROUPS { "prime256v1" } else { "X25519:prime256v1" }
}

/// The maximum protocol version of the settings.
fn highest(settings: &TlsSettings) -> &str {
    match settings.other("ssl_max_protocol_version") {
        "" => "TLSv1.3",
        version => version,
    }
}

#[cfg(test)]
mod tests {
    use rustls::AlertDescription;

    use super::*;

    fn session() -> sql::Settings {
        sql::Settings {
            host: "/run/postgresql".into(),
            port: 5432,
            user: "pgsvid".to_owned(),
            database: "postgres".to_owned(),
            require_peer: None,
            password_file: None,
            purpose: sql::Purpose::Reload,
        }
    }

    #[test]
    fn b147_a_security_level_is_named_and_taken_out_of_the_list() {
        for (list, level, value) in [
            ("HIGH:@SECLEVEL=4", Some("4"), "HIGH"),
            ("@SECLEVEL=5", Some("5"), "HIGH:MEDIUM:+3DES:!aNULL"),
            ("ALL:@SECLEVEL=1:@SECLEVEL=3:!aNULL", Some("3"), "ALL:!aNULL"),
            ("HIGH:@SECLEVEL=2", None, ""),
            ("HIGH", None, ""),
        ] {
            for most in ["", "TLSv1.2"] {
                let settings =
                    with(150_000, &[("ssl_ciphers", list), ("ssl_max_protocol_version", most)]);
                let found = mismatch(&settings).filter(|found| found.why.contains("@SECLEVEL"));
                let level = level.map(|level| format!("@SECLEVEL={level} "));
                assert_eq!(found.is_some(), level.is_some(), "{list}");
                let Some((found, level)) = found.zip(level) else { continue };
                assert!(found.why.contains(&level), "{}", found.why);
                assert_eq!(found.value, value, "{list}");
            }
        }
    }

    fn with(version: u32, values: &[(&str, &str)]) -> TlsSettings {
        let setting = |value: &str| Setting { value: value.to_owned(), ..Setting::default() };
        let values =
            values.iter().map(|(name, value)| ((*name).to_owned(), setting(value))).collect();
        let others = sql::OtherSettings { values, complete: true };
        TlsSettings { version_number: version, others, ..TlsSettings::default() }
    }

    fn finding(settings: Option<&TlsSettings>) -> Finding {
        let answer = Answer::Refused(AlertDescription::HandshakeFailure);
        no_common_tls(&Facts { address: "127.0.0.1:5432".to_owned(), answer }, settings, &session())
    }

    #[test]
    fn f22_the_setting_that_leaves_no_cipher_group_or_version_in_common_is_named() {
        let low = "ssl_max_protocol_version";
        for (version, values, name) in [
            (150_018, &[(low, "TLSv1.1")][..], low),
            (150_018, &[("ssl_ecdh_curve", "secp256k1")], "ssl_ecdh_curve"),
            (150_018, &[(low, "TLSv1.2"), ("ssl_ciphers", "AES256-SHA256")], "ssl_ciphers"),
            (180_004, &[("ssl_groups", "X448:ffdhe3072")], "ssl_groups"),
            (180_004, &[("ssl_tls13_ciphers", "TLS_AES_128_CCM_SHA256")], "ssl_tls13_ciphers"),
        ] {
            let finding = finding(Some(&with(version, values)));
            let cause = finding.cause.as_deref().unwrap_or_default();
            assert!(cause.starts_with(&format!("{name} = ")), "{values:?}: {cause}");
            assert!(finding.fix.as_deref().unwrap_or_default().contains(name), "{finding:?}");
        }
        for (version, values) in [
            (150_018, &[][..]),
            // TLS 1.3 does not use them.
            (150_018, &[("ssl_ciphers", "AES256-SHA256")]),
            (150_018, &[("ssl_ecdh_curve", "secp521r1")]),
            (180_004, &[("ssl_groups", "X448:?X25519")]),
            (180_004, &[("ssl_tls13_ciphers", "TLS_AES_128_CCM_SHA256:TLS_AES_256_GCM_SHA384")]),
        ] {
            let finding = finding(Some(&with(version, values)));
            let cause = finding.cause.as_deref().unwrap_or_default();
            assert!(cause.contains("do not say why"), "{values:?}: {cause}");
        }
        let mut hidden = with(160_014, &[]);
        hidden.others.complete = false;
        let fix = finding(Some(&hidden)).fix.unwrap_or_default();
        assert!(fix.contains("GRANT pg_read_all_settings TO pgsvid WITH INHERIT TRUE"), "{fix}");
        assert!(finding(None).fix.is_some());
    }

    #[test]
    fn f26_the_curve_that_is_suggested_is_that_of_the_clients_keys() {
        use dev_agent::{Authority, Entry, KeyType};
        let authority = Authority::new("example.org", false).unwrap();
        let settings = with(150_018, &[("ssl_ecdh_curve", "secp521r1")]);
        for (kind, line) in [
            (KeyType::EcP256, "ssl_ecdh_curve = 'prime256v1'"),
            (KeyType::EcP384, "ssl_ecdh_curve = 'secp384r1'"),
        ] {
            let svid =
                authority.issue(&Entry::new("spiffe://example.org/db").key_type(kind)).unwrap();
            let leaf = Certificate::parse(svid.leaf()).unwrap();
            let fix = wrong_curve(Some((&settings, &session())), &leaf).fix.unwrap_or_default();
            assert!(fix.contains(line), "{fix}");
        }
    }

    #[test]
    fn f23_groups_that_clients_do_not_offer_are_distinguished_from_those_that_they_may() {
        let uncommon = |version, values: &[(&str, &str)]| {
            without_clients(&with(version, values), &session()).is_some()
        };
        for curve in ["secp256k1", "secp224r1", "brainpoolP256r1", "sect571r1"] {
            assert!(uncommon(150_018, &[("ssl_ecdh_curve", curve)]), "{curve}");
        }
        for curve in ["prime256v1", "secp384r1", "secp521r1", "X448", "X25519", "SM2"] {
            assert!(!uncommon(150_018, &[("ssl_ecdh_curve", curve)]), "{curve}");
        }
        assert!(!uncommon(150_018, &[]));
        assert!(uncommon(180_004, &[("ssl_groups", "brainpoolP256r1:secp256k1")]));
        assert!(!uncommon(180_004, &[("ssl_groups", "brainpoolP256r1:X25519MLKEM768")]));
        assert!(!uncommon(180_004, &[("ssl_groups", "secp256r1")]));
        for (suites, is) in [
            ("", false),
            ("TLS_AES_128_CCM_SHA256", true),
            ("TLS_AES_128_CCM_SHA256: TLS_AES_128_GCM_SHA256", false),
        ] {
            assert_eq!(uncommon(180_004, &[("ssl_tls13_ciphers", suites)]), is, "{suites}");
        }
        // TLS 1.2 can do without a curve.
        let values = [("ssl_ecdh_curve", "secp256k1"), ("ssl_max_protocol_version", "TLSv1.2")];
        assert!(!uncommon(150_018, &values));
    }
}
