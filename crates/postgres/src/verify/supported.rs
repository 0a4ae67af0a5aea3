//! What the probe supports in TLS, with OpenSSL's names, because PostgreSQL's settings use them.

use std::fmt::Write as _;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::kx_group;
use rustls::{AlertDescription, CipherSuite, NamedGroup};

use super::p521_exchange::P521;

/// The key exchanges, in order of preference. PostgreSQL prefers prime256v1 before 18 (`ssl_ecdh_curve`): offering it first
/// saves a round trip.
const GROUPS: [(NamedGroup, &str); 4] = [
    (NamedGroup::secp256r1, "prime256v1"),
    (NamedGroup::X25519, "X25519"),
    (NamedGroup::secp384r1, "secp384r1"),
    (NamedGroup::secp521r1, "secp521r1"),
];

/// The cipher suites of TLS 1.3, followed by those of TLS 1.2.
const SUITES: [(CipherSuite, &str); 9] = [
    (CipherSuite::TLS13_AES_256_GCM_SHA384, "TLS_AES_256_GCM_SHA384"),
    (CipherSuite::TLS13_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256"),
    (CipherSuite::TLS13_CHACHA20_POLY1305_SHA256, "TLS_CHACHA20_POLY1305_SHA256"),
    (CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "ECDHE-ECDSA-AES256-GCM-SHA384"),
    (CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "ECDHE-ECDSA-AES128-GCM-SHA256"),
    (CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-ECDSA-CHACHA20-POLY1305"),
    (CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "ECDHE-RSA-AES256-GCM-SHA384"),
    (CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "ECDHE-RSA-AES128-GCM-SHA256"),
    (CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-RSA-CHACHA20-POLY1305"),
];

/// The TLS parameters of every handshake between pgsvid and PostgreSQL.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: vec![kx_group::SECP256R1, kx_group::X25519, kx_group::SECP384R1, &P521],
        ..rustls::crypto::ring::default_provider()
    })
}

/// The key exchanges that the probe has.
pub fn groups() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().map(|(_, name)| *name)
}

/// Whether the probe has a key exchange of this name; OpenSSL has two names for some.
#[must_use]
pub fn has_group(name: &str) -> bool {
    const OTHER_NAMES: [&str; 4] = ["P-256", "secp256r1", "P-384", "P-521"];
    groups().chain(OTHER_NAMES).any(|known| known.eq_ignore_ascii_case(name))
}

/// The cipher suites of TLS 1.3 that the probe has.
pub fn suites() -> impl Iterator<Item = &'static str> {
    SUITES.iter().map(|(_, name)| *name).filter(|name| name.starts_with("TLS_"))
}

/// The cipher suites of TLS 1.2 that the probe has.
pub fn ciphers() -> impl Iterator<Item = &'static str> {
    SUITES.iter().map(|(_, name)| *name).filter(|name| !name.starts_with("TLS_"))
}

/// What the probe supports, as the list in `docs/troubleshooting.md`.
#[must_use]
pub fn supported_list() -> String {
    let mut list = String::new();
    let groups: Vec<_> = groups().collect();
    let (suites, ciphers): (Vec<_>, Vec<_>) = (suites().collect(), ciphers().collect());
    for (what, names) in [
        ("Key exchange (`ssl_ecdh_curve`, `ssl_groups`)", groups),
        ("TLS 1.3 (`ssl_tls13_ciphers`)", suites),
        ("TLS 1.2 (`ssl_ciphers`)", ciphers),
    ] {
        let _ = writeln!(list, "* {what}: `{}`", names.join("`, `"));
    }
    list
}

/// Whether this alert, sent before the server's certificate, means that the server supports nothing of what was offered (RFC
/// 8446, section 6.2; OpenSSL: "no shared cipher", "no suitable key share", "unsupported protocol").
#[must_use]
pub fn is_without_common_tls(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::HandshakeFailure
            | AlertDescription::InsufficientSecurity
            | AlertDescription::ProtocolVersion
    )
}

/// The alert's name as in the standards: `handshake_failure`.
#[must_use]
pub fn alert_name(alert: AlertDescription) -> String {
    let Some(name) = alert.as_str() else { return u8::from(alert).to_string() };
    let mut text = String::new();
    let mut before_is_lower = false;
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && before_is_lower {
            text.push('_');
        }
        before_is_lower = letter.is_ascii_lowercase();
        text.push(letter.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use rustls::SupportedCipherSuite;

    use super::*;

    #[test]
    fn the_names_are_those_of_what_is_offered() {
        let provider = provider();
        let offered: Vec<_> = provider.kx_groups.iter().map(|group| group.name()).collect();
        assert_eq!(offered, GROUPS.map(|(group, _)| group));
        let is_named =
            |suite: &SupportedCipherSuite| SUITES.iter().any(|(known, _)| *known == suite.suite());
        assert!(provider.cipher_suites.iter().all(is_named));
        assert_eq!(provider.cipher_suites.len(), SUITES.len());
        assert_eq!((suites().count(), ciphers().count()), (3, 6));
        for name in ["prime256v1", "P-256", "x25519", "secp521r1", "P-521"] {
            assert!(has_group(name), "{name}");
        }
        for name in ["secp256k1", "X448", "brainpoolP256r1", "ffdhe2048", ""] {
            assert!(!has_group(name), "{name}");
        }
    }

    #[test]
    fn alerts_have_the_names_of_the_standard() {
        for (alert, name) in [
            (AlertDescription::HandshakeFailure, "handshake_failure"),
            (AlertDescription::UnknownCA, "unknown_ca"),
            (AlertDescription::ProtocolVersion, "protocol_version"),
            (AlertDescription::Unknown(200), "200"),
        ] {
            assert_eq!(alert_name(alert), name);
        }
    }
}
