//! B44 to B50: pgsvid refuses what OpenSSL refuses, and does not trust what it cannot verify. OpenSSL itself judges each
//! case, too.

use pgsvid::material::{Certificate, certificates};
use test_support::openssl;

use crate::material::hierarchy::{Hierarchy, Recipe, Signing};
use crate::material::mutation::element;
use crate::material::offers::check;
use crate::material::openssl::{Question, Questions};

const ED25519: &[u8] = &[6, 3, 0x2b, 0x65, 0x70];
const NULL: &[u8] = &[5, 0];
const EC: &[u8] = &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const P521: &[u8] = &[6, 5, 0x2b, 0x81, 4, 0, 35];
const BRAINPOOL: &[u8] = &[6, 9, 0x2b, 0x24, 3, 3, 2, 8, 1, 1, 7];
const SHA224_WITH_RSA: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 14, 5, 0];
const ECDSA_WITH_SHA512: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4];

fn root() -> Recipe {
    Recipe::authority("root", 1, "root", 1)
}

fn intermediate() -> Recipe {
    Recipe::authority("one", 2, "root", 1)
}

fn information(algorithm: &[&[u8]], bits: &[u8]) -> Vec<u8> {
    let bits = element(3, &[&[0], bits].concat());
    element(0x30, &[element(0x30, &algorithm.concat()), bits].concat())
}

fn with_key(mut recipe: Recipe, information: Vec<u8>) -> Recipe {
    recipe.public_key = Some(information);
    recipe
}

fn signed(mut recipe: Recipe, algorithm: &[u8], signing: Signing) -> Recipe {
    recipe.algorithm = Some(element(0x30, algorithm));
    recipe.signing = signing;
    recipe
}

fn forged(recipe: Recipe, algorithm: &[u8], size: usize) -> Recipe {
    signed(recipe, algorithm, Signing::Forged(vec![0x42; size]))
}

/// For servers alone: then no server shows whether OpenSSL takes it.
fn for_servers(leaf: Recipe) -> Recipe {
    leaf.with(37, element(0x30, &[6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 1]))
}

fn openssl_takes(hierarchy: &Hierarchy) -> bool {
    let sent: Vec<&[u8]> = hierarchy.sent.iter().map(Vec::as_slice).collect();
    let trusted: Vec<&[u8]> = hierarchy.trusted.iter().map(Vec::as_slice).collect();
    let mut questions = Questions::default();
    questions.ask(&Question::Path {
        purpose: "ssl_server",
        leaf: &hierarchy.leaf,
        sent: &sent,
        trusted: &trusted,
    });
    questions.answers()[0].is_ok()
}

#[track_caller]
fn assert_both_refuse(what: &str, leaf: Recipe, sent: &[Recipe], trusted: &[Recipe]) {
    for leaf in [for_servers(leaf.clone()), leaf] {
        let hierarchy = Hierarchy::of(&leaf, sent, trusted);
        assert!(!openssl_takes(&hierarchy), "{what}: OpenSSL takes it");
        assert!(check(hierarchy.offer()).is_err(), "{what} is taken");
    }
}

/// A root of an RSA key.
fn rsa_root() -> Recipe {
    let key = openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], b"");
    let information = openssl(&["pkey", "-pubout", "-outform", "DER"], key);
    let sha256 = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11, 5, 0];
    forged(with_key(root(), information), &sha256, 256)
}

#[test]
fn b44_a_signature_that_cannot_be_verified_is_never_taken() {
    let leaf = Recipe::leaf("root", 1);
    let ed25519 = |parameters: &[u8]| {
        let root = with_key(root(), information(&[ED25519, parameters], &[7; 32]));
        forged(root, &[ED25519, parameters].concat(), 64)
    };
    let null = [ED25519, NULL].concat();
    let forged_rsa = forged(leaf.clone(), SHA224_WITH_RSA, 256);
    assert_both_refuse("RSA with SHA-224", forged_rsa, &[], &[rsa_root()]);
    assert_both_refuse(
        "NULL in the signature",
        forged(leaf.clone(), &null, 64),
        &[],
        &[ed25519(&[])],
    );
    assert_both_refuse("NULL in both", forged(leaf.clone(), &null, 64), &[], &[ed25519(NULL)]);
    let brainpool = with_key(root(), information(&[EC, BRAINPOOL], &[&[4], &[1; 64][..]].concat()));
    assert_both_refuse("brainpool", leaf, &[], &[brainpool]);
}

/// P-521 is a curve whose library reads compact points, which OpenSSL does not know; it reads them of P-256 as well.
fn compact(curve: &[u8], name: &str) -> (Vec<u8>, Vec<u8>) {
    loop {
        let key = openssl(&["ecparam", "-genkey", "-noout", "-name", name], b"");
        let whole = openssl(&["pkey", "-pubout", "-outform", "DER"], &key);
        let size = if curve == P521 { 66 } else { 32 };
        let (x, y) = whole[whole.len() - 2 * size..].split_at(size);
        // The compact form stands for the point with the smaller y.
        let is_smaller = if curve == P521 { y[0] == 0 } else { y[0] < 0x80 };
        if is_smaller {
            return (key, information(&[EC, curve], &[&[5], x].concat()));
        }
    }
}

#[test]
fn b45_an_intermediate_whose_key_openssl_does_not_load_is_refused() {
    let (_, compact) = compact(P521, "secp521r1");
    let point = [&[4], &[1; 64][..]].concat();
    for (what, key) in [
        ("a compact point", compact),
        ("a key on brainpool that is no point", information(&[EC, BRAINPOOL], &point)),
        ("Ed25519 with NULL", information(&[ED25519, NULL], &[7; 32])),
        ("Ed25519 of 33 bytes", information(&[ED25519], &[7; 33])),
        ("a hybrid point that is none", information(&[EC, P256], &[&[6], &[1; 64][..]].concat())),
    ] {
        let odd = with_key(intermediate(), key);
        // One that signs the leaf, and one that nobody needs.
        let needed = if what.contains("Ed25519") {
            forged(Recipe::leaf("one", 2), ED25519, 64)
        } else {
            Recipe::leaf("one", 2)
        };
        assert_both_refuse(what, needed, std::slice::from_ref(&odd), &[root()]);
        let beside = Hierarchy::of(&Recipe::leaf("root", 1), &[odd], &[root()]);
        assert!(check(beside.offer()).is_err(), "{what} is taken beside the path");
    }
}

#[test]
fn b46_a_signature_with_unused_bits_is_refused() {
    let (mut odd, mut leaf) = (intermediate(), Recipe::leaf("root", 1));
    odd.signing = Signing::UnusedBit;
    assert_both_refuse("the intermediate's", Recipe::leaf("one", 2), &[odd], &[root()]);
    leaf.signing = Signing::UnusedBit;
    assert_both_refuse("the leaf's", leaf, &[], &[root()]);
}

#[test]
fn b47_a_root_with_a_compact_point_is_refused() {
    for (curve, name) in [(P521, "secp521r1"), (P256, "prime256v1")] {
        let (key, compact) = compact(curve, name);
        let by_root = |recipe| {
            let signing = Signing::Program { key: key.clone(), digest: "-sha512" };
            signed(recipe, ECDSA_WITH_SHA512, signing)
        };
        let root = by_root(with_key(root(), compact));
        let leaf = Recipe::leaf("root", 1);
        for leaf in [by_root(for_servers(leaf.clone())), by_root(leaf)] {
            assert_both_refuse(name, leaf, &[], std::slice::from_ref(&root));
        }
    }
}

#[test]
fn b48_names_differ_where_openssl_tells_them_apart() {
    let name = |tag: u8, content: &[u8]| {
        let attribute = [element(6, &[0x55, 4, 3]), element(tag, content)].concat();
        element(0x30, &element(0x31, &element(0x30, &attribute)))
    };
    for (what, issuer, subject) in [
        ("NumericString", name(18, b"123"), name(19, b"123")),
        ("BIT STRING and SEQUENCE", name(3, b"\0AB"), name(0x30, b"\0AB")),
        ("BIT STRING and UTF8String", name(3, b"\0ab"), name(12, b"\0ab")),
    ] {
        let (mut root, mut leaf) = (root(), Recipe::leaf("root", 1));
        (root.subject, root.issuer) = (subject.clone(), subject);
        leaf.issuer = issuer;
        assert_both_refuse(what, leaf, &[], &[root]);
    }
    // The same type is the same name; an unused bit of a bit string counts for nothing.
    for (issuer, subject) in [
        (name(18, b"123"), name(18, b"123")),
        (name(3, &[1, 0x7f]), name(3, &[1, 0x7e])),
        (name(12, b"One  Name"), name(19, b"one name")),
    ] {
        let (mut root, mut leaf) = (root(), Recipe::leaf("root", 1));
        (root.subject, root.issuer) = (subject.clone(), subject);
        leaf.issuer = issuer;
        let hierarchy = Hierarchy::of(&leaf, &[], &[root]);
        assert!(openssl_takes(&hierarchy));
        check(hierarchy.offer()).unwrap();
    }
}

/// Its name is that of our root, and it stands before it; no key identifiers tell them apart.
#[test]
fn b49_a_namesake_whose_signature_cannot_be_verified_is_left_out() {
    let bare = |recipe: Recipe| recipe.without(14).without(35);
    let key = openssl(&["ecparam", "-genkey", "-noout", "-name", "brainpoolP256r1"], b"");
    let information = openssl(&["pkey", "-pubout", "-outform", "DER"], key);
    let rival = with_key(bare(root()), information);
    let leaf = bare(Recipe::leaf("root", 1));
    let hierarchy = Hierarchy::of(&leaf, &[], &[rival, bare(root())]);
    assert!(!openssl_takes(&hierarchy));
    let material = check(hierarchy.offer()).unwrap();
    let published: Vec<&[u8]> = material.authorities().map(Certificate::der).collect();
    assert_eq!(published, [&hierarchy.trusted[1][..]]);
    let left_out: Vec<&Certificate> = material.left_out().collect();
    assert_eq!(left_out, [&certificates(&hierarchy.trusted[0], 1).unwrap()[0]]);
}

/// I is signed by R, and once more, with the same key, by R1, whose name R2 has with another key. Where I' and R2 come first,
/// nobody is let in.
#[test]
fn b50_openssl_accepts_the_leaf_with_every_order_of_the_published_authorities() {
    let bare = |recipe: Recipe| recipe.without(14).without(35);
    let (other, namesake) = (
        bare(Recipe::authority("other", 3, "other", 3)),
        bare(Recipe::authority("other", 4, "other", 4)),
    );
    let again = Recipe::authority("one", 2, "other", 3).without(35);
    let offered = [intermediate(), root(), again, other, namesake];
    let hierarchy = Hierarchy::of(&Recipe::leaf("one", 2), &[], &offered);
    let material = check(hierarchy.offer()).unwrap();
    let mut published: Vec<Vec<u8>> =
        material.authorities().map(|found| found.der().to_vec()).collect();
    let count = published.len();
    assert!((2..5).contains(&count), "{count} are published");
    for first in 0..count {
        published.rotate_left(1);
        for other in 0..count {
            let mut order = published.clone();
            order.swap(first, other);
            for order in [order.clone(), order.into_iter().rev().collect()] {
                let found =
                    Hierarchy { leaf: hierarchy.leaf.clone(), sent: Vec::new(), trusted: order };
                assert!(openssl_takes(&found), "{first}, {other}");
            }
        }
    }
}

/// OpenSSL sends with a leaf that is alone in its file what leads from it to a root of the bundle.
#[test]
fn b51_the_chain_that_openssl_sends_has_to_fit_into_a_handshake() {
    let large = |recipe: Recipe| {
        let mut recipe = recipe;
        recipe.extensions.push((vec![0x2a, 3, 4], false, element(4, &vec![0x7a; 30_000])));
        recipe
    };
    let two = Recipe::authority("two", 3, "one", 2);
    let trusted = [root(), large(intermediate()), large(two.clone())];
    let leaf = Recipe::leaf("two", 3);
    assert!(check(Hierarchy::of(&leaf, &[], &trusted).offer()).is_err());
    // Half as much has room, and what is in the bundle alone is not sent behind a chain of the agent's.
    check(Hierarchy::of(&leaf, &[], &[root(), large(intermediate()), two.clone()]).offer())
        .unwrap();
    check(Hierarchy::of(&leaf, &[two], &[root(), large(intermediate())]).offer()).unwrap();
}
