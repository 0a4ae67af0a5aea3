//! Which names OpenSSL accepts in `ssl_ecdh_curve` and `ssl_groups`, and which of them no client offers.
//!
//! OpenSSL: `openssl ecparam -list_curves`, `t1_lib.c` (`nid_list`, `gid_cb`), `capabilities.c`. PostgreSQL:
//! `be-secure-openssl.c` (`initialize_ecdh`).

use std::collections::HashSet;

use super::openssl::Taken;

/// Curves that every build has: Red Hat's builds lack most others.
const COMMON: [&str; 3] = ["prime256v1", "secp384r1", "secp521r1"];
/// Other names of the groups that OpenSSL's clients offer by default (`tls1_default`, and later versions).
const OFFERED: [&str; 7] = ["secp256r1", "P-256", "P-384", "P-521", "X25519", "X448", "DEFAULT"];
/// Names that `SSL_CTX_set1_groups_list` of every build knows.
const COMMON_GROUPS: [&str; 7] =
    ["prime256v1", "secp384r1", "secp521r1", "P-256", "P-384", "P-521", "X25519"];
/// Curves that TLS has, and that no client offers by default.
const UNOFFERED: [&str; 28] = [
    "secp160k1",
    "secp160r1",
    "secp160r2",
    "secp192k1",
    "secp224k1",
    "secp224r1",
    "secp256k1",
    "prime192v1",
    "sect163k1",
    "sect163r1",
    "sect163r2",
    "sect193r1",
    "sect193r2",
    "sect233k1",
    "sect233r1",
    "sect239k1",
    "sect283k1",
    "sect283r1",
    "sect409k1",
    "sect409r1",
    "sect571k1",
    "sect571r1",
    "brainpoolP256r1",
    "brainpoolP384r1",
    "brainpoolP512r1",
    // These are known only as groups.
    "secp192r1",
    "P-192",
    "P-224",
];
/// How the other names of these curves as groups begin: `K-233`, `B-233`, `brainpoolP256r1tls13`.
const UNOFFERED_FAMILIES: [&str; 3] = ["K-", "B-", "brainpoolP"];
/// Curves that OpenSSL has, and that TLS does not have.
const WITHOUT_TLS: [&str; 13] = [
    "secp112r1",
    "secp112r2",
    "secp128r1",
    "secp128r2",
    "sect113r1",
    "sect113r2",
    "sect131r1",
    "sect131r2",
    "prime192v2",
    "prime192v3",
    "Oakley-EC2N-3",
    "Oakley-EC2N-4",
    "SM2",
];
/// How more such names begin; a number follows.
const WITHOUT_TLS_FAMILIES: [&str; 7] = [
    "prime239v",
    "c2pnb",
    "c2tnb",
    "wap-wsg-idm-ecid-wtls",
    "brainpoolP",
    "id-tc26-gost-",
    "id-GostR",
];

/// `ssl_ecdh_curve` before PostgreSQL 18: the short name of one curve. If TLS does not have the curve, PostgreSQL uses OpenSSL's
/// default instead.
pub(super) fn curve(name: &str) -> Taken {
    let is_group_alone = |name: &str| matches!(name, "secp192r1" | "P-192" | "P-224");
    if COMMON.contains(&name) {
        Taken::Yes
    } else if (UNOFFERED.contains(&name) && !is_group_alone(name))
        || WITHOUT_TLS.contains(&name)
        || WITHOUT_TLS_FAMILIES.iter().any(|family| belongs(name, family))
    {
        Taken::Perhaps
    } else {
        Taken::No
    }
}

/// `ssl_groups`, which was `ssl_ecdh_curve` before 18: names of groups. One unknown name makes OpenSSL refuse the list.
/// Blanks around a name do not count. Some versions ignore upper and lower case, and some refuse a name that occurs twice.
pub(super) fn groups(list: &str) -> Taken {
    let names: Vec<&str> = list.split(':').map(str::trim).collect();
    let each: Vec<Taken> = names.iter().map(|name| group(name)).collect();
    let mut seen = HashSet::new();
    if each.contains(&Taken::No) {
        Taken::No
    } else if each.contains(&Taken::Perhaps) || !names.iter().all(|name| seen.insert(*name)) {
        Taken::Perhaps
    } else {
        Taken::Yes
    }
}

/// Groups of other kinds than curves, and of other providers; and the signs of OpenSSL 3.5 for optional groups, shares and
/// removals. All in lower case.
const OTHER_PARTS: [&str; 14] = [
    "ffdhe", "mlkem", "kyber", "frodo", "bike", "hqc", "gost", "gc256", "gc512", "sm2", "x25519",
    "?", "*", "/",
];

fn group(name: &str) -> Taken {
    if COMMON_GROUPS.contains(&name) {
        return Taken::Yes;
    }
    let lower = name.to_ascii_lowercase();
    let mut known = COMMON.iter().chain(&OFFERED).chain(&UNOFFERED);
    let is_perhaps = lower.starts_with('-')
        || OTHER_PARTS.iter().any(|part| lower.contains(part))
        || known.any(|known| known.eq_ignore_ascii_case(name))
        || UNOFFERED_FAMILIES.iter().any(|family| belongs(&lower, &family.to_ascii_lowercase()));
    if is_perhaps { Taken::Perhaps } else { Taken::No }
}

/// Whether this is a group of TLS that OpenSSL's clients do not offer by default. False for an unknown name, and for a curve
/// that TLS does not have.
pub(super) fn is_offered_by_nobody(group: &str) -> bool {
    UNOFFERED.iter().any(|known| known.eq_ignore_ascii_case(group))
        || (group.ends_with("tls13") && belongs(group, "brainpoolP"))
        || ["K-", "B-"].iter().any(|family| belongs(group, family))
}

fn belongs(name: &str, family: &str) -> bool {
    let rest = name.strip_prefix(family);
    rest.is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_ascii_alphanumeric()) && !rest.contains([' ', ','])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b15_names_of_curves_and_groups_that_no_openssl_knows_are_distinguished_from_those_of_each() {
        use Taken::{No, Perhaps, Yes};
        for (name, taken) in [
            ("prime256v1", Yes),
            ("secp256k1", Perhaps),
            ("brainpoolP256r1", Perhaps),
            ("brainpoolP320t1", Perhaps),
            ("prime239v1", Perhaps),
            ("SM2", Perhaps),
            ("", No),
            ("nosuch", No),
            ("P-256", No),
            ("X25519", No),
            ("X25519:prime256v1", No),
            ("prime256v1 ", No),
            ("secp256r1", No),
            ("secp192r1", No),
            ("secp384", No),
            ("P-224", No),
            ("sm2", No),
        ] {
            assert_eq!(curve(name), taken, "{name}");
        }
        for (list, taken) in [
            ("X25519:prime256v1", Yes),
            ("P-256", Yes),
            (" prime256v1 : X25519 ", Yes),
            ("X448", Perhaps),
            ("x25519", Perhaps),
            ("secp256r1", Perhaps),
            ("SECP384R1", Perhaps),
            ("prime256v1:prime256v1", Perhaps),
            ("X25519MLKEM768:?prime256v1", Perhaps),
            ("SecP256r1MLKEM768", Perhaps),
            ("brainpoolP384r1tls13", Perhaps),
            ("DEFAULT:-P-521", Perhaps),
            ("p521_kyber1024", Perhaps),
            ("FFDHE2048", Perhaps),
            ("P-224:B-283", Perhaps),
            ("", No),
            ("nosuch", No),
            ("X25519:nosuch", No),
            ("X25519:", No),
            ("prime256v1, secp384r1", No),
            ("secp256", No),
            ("P-255", No),
            ("P256", No),
            ("auto", No),
        ] {
            assert_eq!(groups(list), taken, "{list}");
        }
    }

    #[test]
    fn f58_a_curve_is_offered_by_nobody_only_if_tls_has_it_and_clients_do_not() {
        for name in
            ["secp256k1", "brainpoolP256r1", "K-233", "P-224", "sect571r1", "brainpoolP256r1tls13"]
        {
            assert!(is_offered_by_nobody(name), "{name}");
        }
        for name in [
            "secp256r1",
            "P-256",
            "x25519",
            "X448",
            "prime239v1",
            "brainpoolP256t1",
            "SM2",
            "secp112r1",
            "nosuch",
        ] {
            assert!(!is_offered_by_nobody(name), "{name}");
        }
    }
}
