//! B08 to B11: certificates that other libraries accept and OpenSSL does not, and certificates that OpenSSL mistakes for
//! others.

use pgsvid::material::{Certificate, Material, Warning, certificates, in_each_others_way};

use crate::material::hierarchy::{
    Hierarchy, Recipe, SIGNATURE, constraints, flags, issuer_and_serial, key_identifier, name,
};
use crate::material::offers::{assert_reason, check};
use crate::material::openssl::{Question, Questions};

const BASIC_CONSTRAINTS: u8 = 19;
const KEY_USAGE: u8 = 15;
const KEY_IDENTIFIER: u8 = 14;
const AUTHORITY: u8 = 35;
const REASON: &str = "OpenSSL finds no path from the leaf to a root of the bundle";

fn root() -> Recipe {
    Recipe::authority("root", 1, "root", 1)
}

fn intermediate() -> Recipe {
    Recipe::authority("one", 2, "root", 1)
}

fn leaf() -> Recipe {
    Recipe::leaf("one", 2)
}

/// Whether OpenSSL takes the leaf as a server's.
fn openssl_takes<'a>(chain: impl Iterator<Item = &'a [u8]>, trusted: &[&[u8]]) -> bool {
    let chain: Vec<&[u8]> = chain.collect();
    let mut questions = Questions::default();
    questions.ask(&Question::Path {
        purpose: "ssl_server",
        leaf: chain[0],
        sent: &chain[1..],
        trusted,
    });
    questions.answers()[0].is_ok()
}

/// As it is offered, whole.
fn openssl_takes_all(hierarchy: &Hierarchy) -> bool {
    let chain = std::iter::once(&hierarchy.leaf).chain(&hierarchy.sent).map(Vec::as_slice);
    let trusted: Vec<&[u8]> = hierarchy.trusted.iter().map(Vec::as_slice).collect();
    openssl_takes(chain, &trusted)
}

fn openssl_takes_published(material: &Material) -> bool {
    let trusted: Vec<&[u8]> = material.authorities().map(Certificate::der).collect();
    openssl_takes(material.chain().map(Certificate::der), &trusted)
}

#[track_caller]
fn assert_both_refuse(what: &str, leaf: &Recipe, sent: &[Recipe], trusted: &[Recipe]) {
    let hierarchy = Hierarchy::of(leaf, sent, trusted);
    assert!(!openssl_takes_all(&hierarchy), "{what}");
    let checked = check(hierarchy.offer());
    assert!(checked.is_err(), "{what} is taken");
    assert_reason(checked, REASON);
}

#[test]
fn b08_key_identifiers_of_another_authority_are_refused() {
    let good = Hierarchy::of(&leaf(), &[intermediate()], &[root()]);
    assert!(openssl_takes_all(&good));
    assert!(openssl_takes_published(&check(good.offer()).unwrap()));
    let (root_name, other) = (name("root", 12), name("other", 12));
    for (what, identifier) in [
        ("another key", key_identifier(5)),
        ("another issuer", issuer_and_serial(&other, Some(3))),
        ("another serial number", issuer_and_serial(&root_name, Some(77))),
    ] {
        let wrong = leaf().with(AUTHORITY, identifier.clone());
        assert_both_refuse(what, &wrong, &[intermediate()], &[root()]);
        let wrong = intermediate().with(AUTHORITY, identifier);
        assert_both_refuse(what, &leaf(), &[wrong], &[root()]);
    }
    // The right ones are none of these: the intermediate has serial number 3, and its issuer is the root.
    let right = leaf().with(AUTHORITY, issuer_and_serial(&root_name, Some(3)));
    check(Hierarchy::of(&right, &[intermediate()], &[root()]).offer()).unwrap();
}

#[test]
fn b09_authorities_that_may_not_sign_are_refused() {
    type Change = fn(Recipe) -> Recipe;
    let changes: [(&str, Change); 7] = [
        ("no keyCertSign", |found| found.with(KEY_USAGE, flags(SIGNATURE))),
        ("an unknown critical extension", Recipe::with_unknown_critical),
        ("no CA", |found| found.with(BASIC_CONSTRAINTS, constraints(false, None))),
        ("no basicConstraints and no keyUsage", |found| {
            found.without(BASIC_CONSTRAINTS).without(KEY_USAGE)
        }),
        ("expired", Recipe::expired),
        ("for mail", |found| found.with(37, vec![0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 4])),
        ("a critical key identifier", |found| {
            found.with(KEY_IDENTIFIER, [&[4, 20][..], &[0xa2; 20]].concat())
        }),
    ];
    for (what, change) in changes {
        assert_both_refuse(what, &leaf(), &[change(intermediate())], &[root()]);
        if what != "a critical key identifier" {
            let wrong = change(root());
            let hierarchy = Hierarchy::of(&leaf(), &[intermediate()], &[wrong]);
            assert!(!openssl_takes_all(&hierarchy), "{what}");
            assert!(check(hierarchy.offer()).is_err(), "{what}");
        }
    }
    let deep = [Recipe::authority("two", 3, "one", 2), intermediate()];
    let leaf_of_two = Recipe::leaf("two", 3);
    let limited = root().with(BASIC_CONSTRAINTS, constraints(true, Some(0)));
    assert_both_refuse(
        "root of length 0",
        &leaf(),
        &[intermediate()],
        std::slice::from_ref(&limited),
    );
    let limited = intermediate().with(BASIC_CONSTRAINTS, constraints(true, Some(0)));
    let sent = [deep[0].clone(), limited];
    assert_both_refuse("intermediate of length 0", &leaf_of_two, &sent, &[root()]);
    let wrong = intermediate().of_version_1();
    assert_both_refuse("version 1", &leaf(), &[wrong], &[root()]);
    // A root of version 1 is taken, by both.
    let old = Hierarchy::of(&leaf(), &[intermediate()], &[root().of_version_1()]);
    assert!(openssl_takes_all(&old) && check(old.offer()).is_ok());
}

/// OpenSSL finds it first, and looks for no other.
#[test]
fn b10_an_authority_of_our_own_bundle_that_hides_ours_is_left_out() {
    let expired = intermediate().expired();
    let twin =
        intermediate().with_key(4).with(KEY_IDENTIFIER, [&[4, 20][..], &[0xa2; 20]].concat());
    let twin_of_root =
        root().with_key(4).without(KEY_IDENTIFIER).with(AUTHORITY, key_identifier(4));
    let length = intermediate().with(BASIC_CONSTRAINTS, constraints(true, Some(0)));
    let length_of_root = root().with(BASIC_CONSTRAINTS, constraints(true, Some(0)));
    let mail = intermediate().with(KEY_USAGE, flags(SIGNATURE));
    for (what, trusted, left_out) in [
        ("an expired copy", vec![root(), expired.clone()], 1),
        ("an expired copy first", vec![expired.clone(), root()], 1),
        ("an expired copy and a good one", vec![expired, intermediate(), root()], 0),
        ("a twin", vec![twin.clone(), root()], 1),
        ("a twin of the root", vec![twin_of_root, root()], 1),
        ("one that may not sign", vec![mail, root()], 1),
        ("a root of length 0", vec![length_of_root, root()], 1),
        ("a copy with another length", vec![length, root()], 0),
        ("an expired root", vec![root().expired(), root()], 0),
    ] {
        let hierarchy = Hierarchy::of(&leaf(), &[intermediate()], &trusted);
        assert_eq!(openssl_takes_all(&hierarchy), left_out == 0, "{what}");
        let material = check(hierarchy.offer()).unwrap();
        assert_eq!(material.left_out().count(), left_out, "{what}");
        assert!(openssl_takes_published(&material), "{what}");
        let warned = material.warnings().contains(&Warning::AuthorityLeftOut);
        assert_eq!(warned, left_out > 0, "{what}");
    }
}

/// Of a set that is read back the first so many are the trust domain's, and the next another one's; one of the first may have
/// expired since.
#[test]
fn b10_an_authority_left_out_of_a_set_read_from_disk_does_not_shift_own_and_federated_counts() {
    let (other, third) =
        (Recipe::authority("other", 4, "other", 4), Recipe::authority("third", 5, "third", 5));
    let trusted = [intermediate().expired(), root(), other.clone(), third];
    let hierarchy = Hierarchy::of(&leaf(), &[intermediate()], &trusted);
    let mut material = check(hierarchy.offer()).unwrap();
    assert_eq!(material.left_out().count(), 1);
    material.keep_authorities(2, 1);
    let ders: Vec<&[u8]> = material.authorities().map(Certificate::der).collect();
    assert_eq!(ders, [&hierarchy.trusted[1], &hierarchy.trusted[2]]);
    assert_eq!(material.own_authorities().len(), 1);
}

/// Of two that nothing tells apart the one stays that proves its key.
#[test]
fn b11_authorities_that_could_be_taken_for_each_other_are_not_both_published() {
    use dev_agent::{Authority, KeyIdentifier};
    let parse = |der: &[u8]| certificates(der, 1).unwrap().remove(0);
    let one = Authority::new("one.org", false).unwrap();
    let (genuine, other) =
        (parse(one.root()), parse(Authority::new("two.org", false).unwrap().root()));
    let copied = parse(one.twin(KeyIdentifier::Copied).unwrap().root());
    let told_apart = parse(one.twin(KeyIdentifier::OfItsKey).unwrap().root());
    for order in [[&copied, &genuine, &other], [&genuine, &copied, &other]] {
        let losers = in_each_others_way(order);
        assert_eq!(losers.into_iter().collect::<Vec<_>>(), [copied.fingerprint()]);
    }
    assert!(in_each_others_way([&genuine, &told_apart, &other, &genuine]).is_empty());
    // Without key identifiers the first one stays.
    let [first, second] = [4, 5].map(|key| {
        parse(
            &Recipe::authority("root", key, "root", key)
                .without(KEY_IDENTIFIER)
                .without(AUTHORITY)
                .der(),
        )
    });
    let losers = in_each_others_way([&first, &second]);
    assert_eq!(losers.into_iter().collect::<Vec<_>>(), [second.fingerprint()]);
}
