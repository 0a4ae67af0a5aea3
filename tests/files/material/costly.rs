//! B42, B43: messages made to cost much. The limits count what the work costs.

#![allow(clippy::print_stdout, reason = "the figures are what documents tell")]

use std::time::Duration;

use pgsvid::material::{Certificate, Material, Rejection, certificates, in_each_others_way};
use pgsvid::timing;
use rcgen::{KeyPair, PublicKeyData as _};
use test_support::openssl;

use crate::material::hierarchy::{Hierarchy, Recipe, Signing, name, name_constraints};
use crate::material::mutation::element;
use crate::material::offers::{ID, check};

/// Processor time that one message may take, also here, where nothing is optimized.
const MOST: Duration = Duration::from_secs(1);

#[track_caller]
fn within_the_limit<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let before = timing::spent();
    let result = work();
    let spent = timing::spent().saturating_sub(before);
    println!("{what}: {spent:?}");
    assert!(spent < MOST, "{what}: {spent:?}");
    result
}

/// A chain of authorities of one name, each of which excludes a base as often as there is room for in a certificate.
fn constrained(leaf: impl Fn(Recipe) -> Recipe, base: (u8, &[u8])) -> Result<Material, Rejection> {
    let excluded = name_constraints(&[], &vec![base; 55_000 / (base.1.len() + 6)]);
    let authority =
        |key, signer| Recipe::authority("root", key, "root", signer).with(30, excluded.clone());
    let trusted = [authority(1, 1), authority(2, 1), authority(3, 2), authority(4, 3)];
    // With an intermediate of the agent's OpenSSL sends none of the others, which are too large for that.
    let sent = [Recipe::authority("root", 5, "root", 4)];
    let hierarchy = Hierarchy::of(&leaf(Recipe::leaf("root", 5)), &sent, &trusted);
    within_the_limit("b60", || check(hierarchy.offer()))
}

#[test]
fn b42_a_long_name_that_meets_many_constraints_takes_a_moment() {
    let long = "a ".repeat(22_000);
    // An RDN of the type 1.2 with an empty text.
    let attribute = element(0x30, &[6, 1, 0x2a, 12, 0]);
    let empty = element(0x30, &element(0x31, &attribute));
    let subject = |mut leaf: Recipe| {
        leaf.subject = name(&long, 12);
        leaf
    };
    // As many are compared as OpenSSL compares.
    constrained(subject, (0xa4, &empty)).unwrap();
    let address = format!("{}@example.org", "a".repeat(44_000));
    for (tag, text) in [(0x81, &address), (0x82, &address)] {
        let names = [element(0x86, ID.as_bytes()), element(tag, text.as_bytes())].concat();
        let names = element(0x30, &names);
        let with_name = |leaf: Recipe| leaf.with(17, names.clone());
        let base: &[u8] = b"other.example.com";
        // In an address of mail the @ is looked for each time.
        let checked = constrained(with_name, (tag, base));
        assert_eq!(checked.is_ok(), tag == 0x82, "{checked:?}");
    }
}

fn parse(der: &[u8]) -> Certificate {
    certificates(der, 1).unwrap().remove(0)
}

/// A root of the name, with the key of a new pair and the key identifier of that key.
fn twins(kind: &str, count: usize) -> Vec<Certificate> {
    let key = openssl(&["ecparam", "-genkey", "-noout", "-name", kind], b"");
    let information = openssl(&["pkey", "-pubout", "-outform", "DER"], &key);
    let identifier = openssl(&["dgst", "-sha1", "-binary"], point(&information));
    let algorithm = element(0x30, &element(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3]));
    (0..count)
        .map(|at| {
            let mut root = Recipe::authority("twin", 1, "twin", 1)
                .with(14, element(4, &identifier))
                .without(35);
            root.public_key = Some(information.clone());
            root.algorithm = Some(algorithm.clone());
            root.validity.1 += i64::try_from(at).unwrap();
            root.signing = Signing::Program { key: key.clone(), digest: "-sha384" };
            parse(&root.der())
        })
        .collect()
}

/// The point in a SubjectPublicKeyInfo of EC.
fn point(information: &[u8]) -> &[u8] {
    let uncompressed = information.windows(3).position(|part| part[0] == 0 && part[1] == 4);
    &information[uncompressed.unwrap() + 1..]
}

#[test]
fn b43_roots_of_one_name_and_key_take_a_moment() {
    let twins = twins("secp384r1", 100);
    within_the_limit("b61: twins", || in_each_others_way(&twins));
}

#[test]
fn b43_authorities_of_one_name_of_many_trust_domains_take_a_moment() {
    let ours =
        Hierarchy::of(&Recipe::leaf("root", 1), &[], &[Recipe::authority("root", 1, "root", 1)]);
    let mut material = check(ours.offer()).unwrap();
    let key = KeyPair::generate().unwrap();
    let of_number = |number: usize| {
        let mut root = Recipe::authority("x", 2, "x", 2)
            .with(14, element(4, &number.to_be_bytes()))
            .without(35);
        root.public_key = Some(key.subject_public_key_info());
        root.signing = Signing::Forged(vec![0x42; 70]);
        parse(&root.der())
    };
    let all: Vec<Certificate> = (0..4000).map(of_number).collect();
    within_the_limit("b61: names", || {
        let _ = in_each_others_way(&all);
        for domain in all.chunks(10) {
            let _ = material.federate(domain.to_vec());
        }
    });
    assert_eq!(material.authorities().count(), 1021);
}
