//! Which words OpenSSL accepts in the settings that PostgreSQL passes to it, as far as that holds for every build. Without
//! OpenSSL itself pgsvid is certain only of words that no build accepts, and of words that every build accepts.
//!
//! OpenSSL: `ssl_ciph.c` (`ssl_cipher_process_rulestr`, `ciphersuite_cb`). PostgreSQL: `be-secure-openssl.c` (`be_tls_init`).
//! The words for key exchanges are in `curves`.

/// Whether OpenSSL accepts a setting's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// Every build accepts it.
    Yes,
    /// No build accepts it.
    No,
    /// Some builds may accept it.
    Perhaps,
}

/// The last security level that a cipher list sets (`ssl_cipher_process_rulestr`: the command `@SECLEVEL`).
pub(super) fn security_level(list: &str) -> Option<u32> {
    words(list).filter_map(|word| word.strip_prefix(LEVEL)?.parse().ok()).last()
}

/// The list without security levels; PostgreSQL's default if nothing else is in it.
pub(super) fn without_security_level(list: &str) -> String {
    let rest: Vec<&str> = words(list).filter(|word| !word.starts_with(LEVEL)).collect();
    if rest.is_empty() { "HIGH:MEDIUM:+3DES:!aNULL".to_owned() } else { rest.join(":") }
}

/// The words of a list: OpenSSL separates them by colons, commas, semicolons or blanks.
fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split([':', ',', ';', ' ']).filter(|word| !word.is_empty())
}

const LEVEL: &str = "@SECLEVEL=";
/// Groups that have ciphers in every build.
const GROUPS: [&str; 22] = [
    "ALL", "DEFAULT", "HIGH", "ECDHE", "EECDH", "kECDHE", "kEECDH", "ECDH", "DHE", "EDH", "kDHE",
    "kEDH", "AES", "AES128", "AES256", "AESGCM", "aRSA", "aECDSA", "ECDSA", "TLSv1.2", "SHA256",
    "SHA384",
];
/// Groups that contain none of the above completely: removing them leaves ciphers of each group above.
const HARMLESS: [&str; 50] = [
    "aNULL",
    "eNULL",
    "NULL",
    "MD5",
    "RC4",
    "RC2",
    "3DES",
    "DES",
    "EXP",
    "EXPORT",
    "EXPORT40",
    "EXPORT56",
    "LOW",
    "MEDIUM",
    "PSK",
    "aPSK",
    "kPSK",
    "kRSAPSK",
    "kECDHEPSK",
    "kDHEPSK",
    "SRP",
    "aSRP",
    "kSRP",
    "DSS",
    "aDSS",
    "CAMELLIA",
    "CAMELLIA128",
    "CAMELLIA256",
    "SEED",
    "IDEA",
    "ARIA",
    "ARIA128",
    "ARIA256",
    "ARIAGCM",
    "ADH",
    "AECDH",
    "AESCCM",
    "AESCCM8",
    "KRB5",
    "kKRB5",
    "aKRB5",
    "GOST",
    "kGOST",
    "aGOST",
    "SSLv2",
    "SSLv3",
    "TLSv1",
    "SHA1",
    "SHA",
    "COMPLEMENTOFALL",
];
/// Groups that have no cipher in some builds, or that a build may lack.
const OTHER_GROUPS: [&str; 24] = [
    "COMPLEMENTOFDEFAULT",
    "kRSA",
    "RSA",
    "kDHr",
    "kDHd",
    "kDH",
    "kECDHr",
    "kECDHe",
    "kECDH",
    "aDH",
    "aECDH",
    "DH",
    "CHACHA20",
    "CBC",
    "FIPS",
    "TLSv1.0",
    "TLSv1.1",
    "TLSv1.3",
    "aGOST01",
    "aGOST12",
    "kGOST18",
    "GOST12",
    "GOST94",
    "GOST89MAC",
];
/// The parts of cipher names, joined by hyphens.
const PARTS: [&str; 41] = [
    "ECDHE",
    "ECDSA",
    "RSA",
    "DHE",
    "DSS",
    "ADH",
    "AECDH",
    "DH",
    "ECDH",
    "EDH",
    "PSK",
    "SRP",
    "KRB5",
    "AES128",
    "AES256",
    "AES",
    "128",
    "256",
    "CBC",
    "CBC3",
    "GCM",
    "CCM",
    "CCM8",
    "CHACHA20",
    "POLY1305",
    "ARIA128",
    "ARIA256",
    "CAMELLIA128",
    "CAMELLIA256",
    "SEED",
    "IDEA",
    "RC4",
    "RC2",
    "DES",
    "MD5",
    "SHA",
    "SHA256",
    "SHA384",
    "NULL",
    "EXP",
    "EXP1024",
];
const SUITES: [&str; 5] = [
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_128_CCM_SHA256",
    "TLS_AES_128_CCM_8_SHA256",
];
/// `ssl_ciphers`. OpenSSL skips unknown words; it refuses a list without any cipher, and a wrong form.
pub(super) fn ciphers(list: &str) -> Taken {
    let (mut any_known, mut any_perhaps, mut taken_out) = (false, false, false);
    for rule in list.split([':', ' ', ';', ',']).filter(|rule| !rule.is_empty()) {
        if let Some(command) = rule.strip_prefix('@') {
            let level = command.strip_prefix("SECLEVEL=");
            if command != "STRENGTH" && !matches!(level, Some("0" | "1" | "2" | "3" | "4" | "5")) {
                return Taken::No;
            }
            continue;
        }
        let (takes, word) = match rule.strip_prefix(['!', '-']) {
            Some(word) => (true, word),
            None => (false, rule),
        };
        let moves = rule.starts_with('+');
        let word = word.strip_prefix('+').unwrap_or(word);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._=+".contains(c);
        if word.is_empty() || word.starts_with('+') || !word.chars().all(is_plain) {
            // `HIGH!!aNULL`; versions differ in the other meanings of such a text.
            return if word.is_empty() || word.contains(['!', '@']) {
                refused_form(rule)
            } else {
                Taken::Perhaps
            };
        }
        if moves {
            continue;
        }
        if takes {
            taken_out |= !HARMLESS.contains(&word);
        } else if is_in_each_build(word) {
            any_known = true;
        } else if may_be_known(word) {
            any_perhaps = true;
        }
    }
    match (any_known, any_perhaps) {
        (false, false) => Taken::No,
        (true, _) if !taken_out => Taken::Yes,
        _ => Taken::Perhaps,
    }
}

/// The result for a sign where a word should begin.
fn refused_form(rule: &str) -> Taken {
    let signs = ["!!", "!-", "!@", "-!", "--", "+!"];
    if signs.iter().any(|signs| rule.contains(signs)) || rule.len() == 1 {
        Taken::No
    } else {
        Taken::Perhaps
    }
}

fn is_in_each_build(word: &str) -> bool {
    if let Some((one, other)) = word.split_once('+') {
        let exchanges =
            ["ECDHE", "EECDH", "kECDHE", "kEECDH", "DHE", "EDH", "aRSA", "ECDSA", "aECDSA"];
        let ciphers = ["AES", "AES128", "AES256", "AESGCM"];
        return exchanges.contains(&one) && ciphers.contains(&other);
    }
    let strong = ["AES128-GCM-SHA256", "AES256-GCM-SHA384"];
    let ways = ["ECDHE-ECDSA-", "ECDHE-RSA-", "DHE-RSA-"];
    GROUPS.contains(&word)
        || ways.iter().any(|way| word.strip_prefix(way).is_some_and(|rest| strong.contains(&rest)))
}

fn may_be_known(word: &str) -> bool {
    let is_group = |word: &str| {
        GROUPS.contains(&word)
            || HARMLESS.contains(&word)
            || OTHER_GROUPS.contains(&word)
            || word.starts_with("SUITEB")
    };
    let is_cipher = |word: &str| {
        word.contains('-')
            && (word.contains("GOST") || word.split('-').all(|part| PARTS.contains(&part)))
    };
    // From 3.2 on OpenSSL knows IANA's names, too; names of TLS 1.3 suites have no effect here.
    let is_standard = |word: &str| word.starts_with("TLS_") && !SUITES.contains(&word);
    word.split('+').all(|word| is_group(word) || is_cipher(word) || is_standard(word))
}

/// Whether OpenSSL accepts this value of `ssl_tls13_ciphers`. OpenSSL 1.1.1 refuses an unknown or an empty name; version 3
/// refuses a list without a known name. Both also accept the standard names of suites of TLS 1.2, although no client of TLS
/// 1.3 offers them. An empty value stands for OpenSSL's default.
pub(super) fn suites(list: &str) -> Taken {
    let known = |name: &&str| SUITES.contains(name);
    let names: Vec<&str> = list.split(':').map(str::trim).collect();
    if list.is_empty() || names.iter().all(known) {
        return Taken::Yes;
    }
    let foreign = |name: &&str| {
        name.starts_with("TLS_SM4_")
            || name.starts_with("TLS_SHA")
            || (name.starts_with("TLS_") && name.contains("_WITH_"))
    };
    if names.iter().any(|name| known(name) || foreign(name)) { Taken::Perhaps } else { Taken::No }
}

/// Whether every OpenSSL offers this suite of TLS 1.3 by default (`TLS_DEFAULT_CIPHERSUITES`).
pub(super) fn is_common_suite(name: &str) -> bool {
    SUITES[..3].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b15_tls_values_are_classed_as_refused_accepted_or_dependent_on_the_openssl_build() {
        use Taken::{No, Perhaps, Yes};
        for (list, taken) in [
            ("", No),
            ("HIHG", No),
            ("NOSUCH:!aNULL", No),
            ("TLS_AES_256_GCM_SHA384", No),
            ("!ALL", No),
            ("HIGH!!aNULL", No),
            ("@SECLEVEL=9", No),
            ("HIGH:@NOSUCH", No),
            ("AES128-SHAA", No),
            ("HIGH:NOSUCH", Yes),
            ("HIGH:MEDIUM:+3DES:!aNULL", Yes),
            ("DEFAULT:@SECLEVEL=1", Yes),
            ("EECDH+AESGCM:EDH+AESGCM", Yes),
            ("ECDHE-ECDSA-AES256-GCM-SHA384, ", Yes),
            ("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305", Yes),
            ("RC4", Perhaps),
            ("HIGH:!TLSv1.2:!AES", Perhaps),
            ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", Perhaps),
            ("GOST2012-GOST8912-GOST8912", Perhaps),
        ] {
            assert_eq!(ciphers(list), taken, "{list}");
        }
        for (list, taken) in [
            ("", Yes),
            ("TLS_AES_128_GCM_SHA256", Yes),
            ("TLS_AES_128_GCM_SHA256:NOSUCH", Perhaps),
            ("TLS_AES_128_GCM_SHA256:", Perhaps),
            (" TLS_AES_128_GCM_SHA256 ", Yes),
            ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", Perhaps),
            ("NOSUCH", No),
            ("HIGH", No),
            (":", No),
            ("TLS_AES_128_GCM_SHA256,TLS_AES_256_GCM_SHA384", No),
            ("tls_aes_128_gcm_sha256", No),
        ] {
            assert_eq!(suites(list), taken, "{list}");
        }
    }
}
