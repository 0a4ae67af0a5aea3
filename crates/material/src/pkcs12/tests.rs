//! What is written is read back; what is damaged is refused, and never breaks the reader.

use dev_agent::{Authority, Entry, KeyType};
use zeroize::Zeroizing;

use super::read::open_within;
use super::*;
use crate::reading::{Item, Unreadable, read, read_stores};
use crate::{Certificate, PrivateKey};

struct Set {
    chain: Vec<Certificate>,
    key: PrivateKey,
    roots: Vec<Certificate>,
}

fn set(kind: KeyType) -> Set {
    let authority = Authority::new("example.org", true).unwrap();
    let entry = Entry::new("spiffe://example.org/app").dns("app").key_type(kind);
    let svid = authority.issue(&entry).unwrap();
    let parsed = |list: &[Vec<u8>]| {
        list.iter().map(|der| Certificate::parse(der).unwrap()).collect::<Vec<_>>()
    };
    let key = PrivateKey::new(Zeroizing::new(svid.key.clone()));
    Set { chain: parsed(&svid.chain), key, roots: parsed(&svid.bundle) }
}

fn password(text: &str) -> Password {
    Password::parse(text.as_bytes()).unwrap()
}

fn store(set: &Set, alias: &str, password: &Password) -> Zeroizing<Vec<u8>> {
    key_store(&set.chain, &set.key, alias, password).unwrap()
}

#[test]
fn a_key_store_is_read_back_with_its_password_and_no_other() {
    for kind in [KeyType::EcP256, KeyType::Rsa2048] {
        let set = set(kind);
        let own = password("secret and 'quoted'\n");
        let written = store(&set, "user", &own);
        let found = open(&written, Some(&own)).unwrap();
        let expected = Facts {
            certificates: 2,
            aliases: vec!["user".to_owned()],
            integrity: Integrity::Proven,
            ..Facts::default()
        };
        assert_eq!(found.facts, expected);
        assert_eq!(found.keys.len(), 1);
        assert_eq!(found.keys[0].as_slice(), set.key.expose());
        let chain = found.certificates.iter().map(|der| der.as_slice());
        assert!(chain.eq(set.chain.iter().map(Certificate::der)));
        for other in ["secret", "Secret and 'quoted'", "x"] {
            assert_eq!(open(&written, Some(&password(other))).err(), Some(Damage::Password));
        }
        // Certificates are in clear, the key is not.
        let locked = open(&written, None).unwrap();
        assert_eq!((locked.certificates.len(), locked.keys.len()), (2, 0));
        assert!(locked.facts.locked && locked.facts.integrity == Integrity::Unchecked);
        let is_in = |bytes: &[u8], part: &[u8]| bytes.windows(16).any(|window| window == part);
        let is_public = |part: &[u8]| set.chain.iter().any(|it| is_in(it.der(), part));
        let secret: Vec<&[u8]> =
            set.key.expose().windows(16).filter(|part| !is_public(part)).collect();
        assert!(secret.len() > 16 && !secret.into_iter().any(|part| is_in(&written, part)));
    }
}

#[test]
fn a_trust_store_is_read_without_a_password_and_each_certificate_is_one_that_java_trusts() {
    let set = set(KeyType::EcP256);
    let own = password("changeit");
    for (given, integrity) in [(None, Integrity::Unprotected), (Some(&own), Integrity::Unchecked)] {
        let written = trust_store(&set.roots, given).unwrap();
        let found = open(&written, None).unwrap();
        let expected = Facts { certificates: 1, trusted: 1, integrity, ..Facts::default() };
        assert_eq!(found.facts, expected);
        assert_eq!(found.certificates[0].as_slice(), set.roots[0].der());
    }
    let written = trust_store(&set.roots, Some(&own)).unwrap();
    assert_eq!(open(&written, Some(&own)).unwrap().facts.integrity, Integrity::Proven);
    assert_eq!(open(&written, Some(&password("other"))).err(), Some(Damage::Password));
}

#[test]
fn no_two_stores_of_the_same_set_have_a_salt_in_common() {
    let set = set(KeyType::EcP256);
    let own = password("secret");
    let [one, other] = [(); 2].map(|()| store(&set, "user", &own));
    assert_eq!(one.len(), other.len());
    let same = one.iter().zip(other.iter()).filter(|(one, other)| one == other).count();
    // Two salts, an IV, a MAC, and the key.
    assert!(one.len() - same > 100, "{same} of {}", one.len());
}

#[test]
fn e10_a_store_that_was_changed_or_cut_off_is_refused_and_breaks_nothing() {
    let set = set(KeyType::EcP256);
    let own = password("secret");
    let written = store(&set, "user", &own);
    for length in 0..written.len() {
        assert!(open(&written[..length], Some(&own)).is_err(), "{length} bytes");
        let _ = read_stores(&written[..length], None);
    }
    let mut changed = written.to_vec();
    for at in 0..changed.len() {
        for bits in [0x01, 0x80, 0xff] {
            changed[at] ^= bits;
            // Without the password only the structure is checked.
            let _ = read_stores(&changed, None);
            let opened = open(&changed, Some(&own));
            // What the MAC does not cover: the version, and how the MAC itself is described.
            if let Ok(opened) = opened {
                assert_eq!(opened.facts.integrity, Integrity::Proven, "at {at}");
                assert_eq!(opened.keys[0].as_slice(), set.key.expose(), "at {at}");
            }
            changed[at] ^= bits;
        }
    }
}

/// The sender of a store and its password chooses for each entry how often the password is hashed.
#[test]
fn e10_the_rounds_of_everything_in_a_store_count_together() {
    let set = set(KeyType::EcP256);
    let own = password("secret");
    let written = store(&set, "user", &own);
    // The MAC, and the key.
    let all = 2 * ITERATIONS;
    assert_eq!(open_within(&written, Some(&own), all).err(), None);
    for less in [all - 1, ITERATIONS, ITERATIONS - 1, 0] {
        assert_eq!(open_within(&written, Some(&own), less).err(), Some(Damage::Rounds), "{less}");
    }
    assert_eq!(open_within(&written, None, 0).err(), None);
}

#[test]
fn only_one_line_of_printable_ascii_is_a_password() {
    for (text, expected) in [
        ("", Err(BadPassword::Empty)),
        ("\n", Err(BadPassword::Empty)),
        ("a\nb\n", Err(BadPassword::Lines)),
        ("a\n\n", Err(BadPassword::Lines)),
        ("pässword", Err(BadPassword::Characters)),
        ("a\tb", Err(BadPassword::Characters)),
        ("a\0b", Err(BadPassword::Characters)),
        ("secret", Ok("secret")),
        ("secret\n", Ok("secret")),
        ("secret\r\n", Ok("secret")),
        (" se cret ", Ok(" se cret ")),
    ] {
        let found = Password::parse(text.as_bytes());
        let found = found.as_ref().map(Password::bytes).map_err(|error| *error);
        assert_eq!(found, expected.map(str::as_bytes), "{text:?}");
    }
    let longest = "x".repeat(LONGEST_PASSWORD);
    assert!(Password::parse(longest.as_bytes()).is_ok());
    assert_eq!(Password::parse((longest + "x").as_bytes()).err(), Some(BadPassword::Long));
    assert_eq!(format!("{:?}", password("secret")), "Password");
}

#[test]
fn a_reader_of_pem_and_der_refuses_a_store_and_a_reader_of_stores_takes_all_of_it() {
    let set = set(KeyType::EcP256);
    let own = password("secret");
    let written = store(&set, "user", &own);
    let foreign = Unreadable::Foreign(crate::reading::Foreign::Pkcs12);
    assert_eq!(read(&written), [Err(foreign)]);
    let items = read_stores(&written, Some(&own));
    let [
        Ok(Item::Store(_)),
        Ok(Item::Certificate(leaf)),
        Ok(Item::Certificate(_)),
        Ok(Item::Key { public_key, .. }),
    ] = &items[..]
    else {
        panic!("{items:?}");
    };
    assert_eq!(public_key, leaf.public_key());
}
