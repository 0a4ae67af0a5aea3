//! Which words OpenSSL knows in the settings that PostgreSQL hands to it, as far as that holds for every build of it: without
//! OpenSSL itself only what no build takes, and what every build takes, is certain.
//!
//! OpenSSL: `ssl_ciph.c` (`ssl_cipher_process_rulestr`, `ciphersuite_cb`), `openssl ecparam -list_curves`. PostgreSQL:
//! `be-secure-openssl.c` (`be_tls_init`, `initialize_ecdh`).

/// What OpenSSL makes of a setting's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// Every build takes it.
    Yes,
    /// No build takes it.
    No,
    /// Some builds may take it.
    Perhaps,
}

/// Ciphers that are in each build, and in each of these groups.
const GROUPS: [&str; 22] = [
    "ALL", "DEFAULT", "HIGH", "ECDHE", "EECDH", "kECDHE", "kEECDH", "ECDH", "DHE", "EDH", "kDHE",
    "kEDH", "AES", "AES128", "AES256", "AESGCM", "aRSA", "aECDSA", "ECDSA", "TLSv1.2", "SHA256",
    "SHA384",
];
/// Groups whose ciphers are in none of the above alone: taking these out leaves something of each.
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
/// Groups that some builds have no cipher for, or that a build may lack.
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
/// What the names of ciphers are made of, with a hyphen between.
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
/// Curves of each build: Red Hat's lack most others.
const COMMON_CURVES: [&str; 3] = ["prime256v1", "secp384r1", "secp521r1"];
/// Names of `openssl ecparam -list_curves` (3.0) beside these, up to what numbers may follow.
const CURVE_FAMILIES: [&str; 12] = [
    "secp",
    "prime",
    "sect",
    "c2pnb",
    "c2tnb",
    "wap-wsg-idm-ecid-wtls",
    "Oakley-EC2N-",
    "brainpoolP",
    "SM2",
    "sm2",
    "id-tc26-gost-",
    "id-GostR",
];

/// `ssl_ciphers`. Words that OpenSSL does not know are passed over: it refuses a list without any cipher, and a bad form.
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
            // `HIGH!!aNULL`; what else such a text may mean differs between versions.
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

/// A sign where a word should begin.
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
    // From 3.2 on OpenSSL knows IANA's names, too; those of TLS 1.3 count for nothing here.
    let is_standard = |word: &str| word.starts_with("TLS_") && !SUITES.contains(&word);
    word.split('+').all(|word| is_group(word) || is_cipher(word) || is_standard(word))
}

/// `ssl_tls13_ciphers`. OpenSSL 1.1.1 refuses an unknown name, and 3 a list without a known one. Empty is the default.
pub(super) fn suites(list: &str) -> Taken {
    let known = |name: &&str| SUITES.contains(name);
    let names: Vec<&str> = list.split(':').map(str::trim).filter(|name| !name.is_empty()).collect();
    if list.is_empty() || (!names.is_empty() && names.iter().all(known)) {
        return Taken::Yes;
    }
    let foreign = |name: &&str| name.starts_with("TLS_SM4_") || name.starts_with("TLS_SHA");
    if names.iter().any(|name| known(name) || foreign(name)) { Taken::Perhaps } else { Taken::No }
}

/// `ssl_ecdh_curve` before PostgreSQL 18: the short name of one curve.
pub(super) fn curve(name: &str) -> Taken {
    if COMMON_CURVES.contains(&name) {
        return Taken::Yes;
    }
    if CURVE_FAMILIES.iter().any(|family| belongs(name, family)) {
        Taken::Perhaps
    } else {
        Taken::No
    }
}

/// `ssl_groups`, which was `ssl_ecdh_curve` before 18: names of groups. An unknown one spoils all.
pub(super) fn groups(list: &str) -> Taken {
    const COMMON: [&str; 7] =
        ["prime256v1", "secp384r1", "secp521r1", "P-256", "P-384", "P-521", "X25519"];
    if list.is_empty() {
        return Taken::No;
    }
    let each = list.split(':').map(|name| {
        let families =
            ["ffdhe", "X448", "DEFAULT", "MLKEM", "X25519", "SecP", "curveSM2", "K-", "B-"];
        // OpenSSL 3.5 has signs for what may be missing; other providers bring groups of their own.
        let other = |name: &str| {
            let lower = name.to_ascii_lowercase();
            name.contains(['?', '*', '/', '-'])
                || ["kyber", "mlkem", "frodo", "bike", "hqc", "gost", "gc256", "gc512"]
                    .iter()
                    .any(|word| lower.contains(word))
        };
        if COMMON.contains(&name) {
            Taken::Yes
        } else if families.iter().any(|family| name.starts_with(family))
            || CURVE_FAMILIES.iter().any(|family| belongs(name, family))
            || other(name)
        {
            Taken::Perhaps
        } else {
            Taken::No
        }
    });
    let each: Vec<Taken> = each.collect();
    if each.contains(&Taken::No) {
        Taken::No
    } else if each.contains(&Taken::Perhaps) {
        Taken::Perhaps
    } else {
        Taken::Yes
    }
}

fn belongs(name: &str, family: &str) -> bool {
    let rest = name.strip_prefix(family);
    rest.is_some_and(|rest| {
        family.eq_ignore_ascii_case("sm2") || rest.starts_with(|c: char| c.is_ascii_alphanumeric())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b15_words_that_no_openssl_knows_are_told_from_those_of_each() {
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
        for (name, taken) in [
            ("prime256v1", Yes),
            ("secp256k1", Perhaps),
            ("brainpoolP256r1", Perhaps),
            ("SM2", Perhaps),
            ("", No),
            ("nosuch", No),
            ("P-256", No),
            ("X25519", No),
            ("X25519:prime256v1", No),
        ] {
            assert_eq!(curve(name), taken, "{name}");
        }
        for (list, taken) in [
            ("X25519:prime256v1", Yes),
            ("P-256", Yes),
            ("X448", Perhaps),
            ("X25519MLKEM768:?prime256v1", Perhaps),
            ("p521_kyber1024", Perhaps),
            ("", No),
            ("nosuch", No),
            ("X25519:nosuch", No),
        ] {
            assert_eq!(groups(list), taken, "{list}");
        }
        for (list, taken) in [
            ("", Yes),
            ("TLS_AES_128_GCM_SHA256", Yes),
            ("TLS_AES_128_GCM_SHA256:NOSUCH", Perhaps),
            ("NOSUCH", No),
            ("HIGH", No),
        ] {
            assert_eq!(suites(list), taken, "{list}");
        }
    }
}
