//! I02, I06, I07: chain, bundle, and warnings.

use dev_agent::{Authority, DevAgent, Entry, Flaw, KeyIdentifier, KeyType, Svid};
use pgsvid::material::{
    Certificate, LARGEST_BUNDLE, MOST_NAMES, Warning, certificates, size_of_names,
};

use crate::material::offers::{
    ID, assert_reason, assert_refused, authority, check, offer, workload,
};

#[test]
fn svids_of_all_kinds_are_taken() {
    let directory = tempfile::tempdir().unwrap();
    let kinds = [KeyType::EcP256, KeyType::EcP384, KeyType::Rsa2048, KeyType::Ed25519];
    for (number, leaf) in kinds.into_iter().enumerate() {
        for (ca, intermediate) in [(KeyType::EcP256, false), (leaf, true)] {
            let socket = directory.path().join(format!("{number}{intermediate}"));
            let agent = DevAgent::builder(socket)
                .entry(workload().key_type(leaf).unique_id(true).hint("postgres"))
                .ca_key_type(ca)
                .intermediate(intermediate)
                .start()
                .unwrap();
            let svid = agent.svid();
            let material = check(offer(&svid)).unwrap();
            assert_eq!(material.name().to_string(), ID);
            assert_eq!(material.hint(), Some("postgres"));
            assert_eq!(material.not_after(), svid.not_after);
            assert_eq!(material.leaf().serial().to_string().replace(':', ""), svid.serial_hex());
            assert_eq!(material.leaf().dns_names(), ["db.example.org"]);
            assert_eq!(ders(material.chain()), svid.chain);
            assert_eq!(ders(material.authorities()), svid.bundle);
            assert_eq!(material.key().expose(), svid.key);
        }
    }
}

#[test]
fn i02_a_leaf_of_a_foreign_authority_is_refused() {
    // Trust domain, names and dates are the same; only the keys differ.
    assert_refused(
        &Flaw::ForeignAuthority,
        "OpenSSL finds no path from the leaf to a root of the bundle",
    );
}

#[test]
fn i02_a_chain_without_its_intermediate_is_refused_unless_the_bundle_has_it() {
    let authority = authority(true);
    let svid = authority.issue(&workload()).unwrap();
    let mut without = offer(&svid);
    without.chain = svid.leaf().to_vec();
    assert_reason(check(without), "OpenSSL finds no path from the leaf");

    let mut in_bundle = offer(&svid);
    in_bundle.chain = svid.leaf().to_vec();
    in_bundle.bundle = [authority.intermediate().unwrap(), authority.root()].concat();
    assert!(check(in_bundle).is_ok());
}

#[test]
fn i02_a_bundle_without_a_self_signed_root_is_refused() {
    let authority = authority(true);
    let mut offer = offer(&authority.issue(&workload()).unwrap());
    offer.bundle = authority.intermediate().unwrap().to_vec();
    assert_reason(check(offer), "none of the bundle's 1 certificates is a self-signed root");
}

#[test]
fn i02_one_of_several_roots_is_enough_and_all_are_published() {
    let (ours, other) = (authority(false), authority(false));
    let svid = ours.issue(&workload()).unwrap();
    for roots in [[other.root(), ours.root()], [ours.root(), other.root()]] {
        let mut offer = offer(&svid);
        offer.bundle = roots.concat();
        assert_eq!(ders(check(offer).unwrap().authorities()), roots);
    }
    let mut offer = offer(&svid);
    offer.bundle = other.root().to_vec();
    assert_reason(check(offer), "OpenSSL finds no path from the leaf");
}

#[test]
fn i02_a_federated_authority_vouches_for_nobody_of_ours() {
    let (ours, other) = (authority(false), Authority::new("other.org", false).unwrap());
    let impostor = other.issue(&workload()).unwrap();
    let mut offer = offer(&impostor);
    offer.bundle = ours.root().to_vec();
    assert_reason(check(offer), "OpenSSL finds no path from the leaf");
}

#[test]
fn an_absurdly_large_bundle_is_refused() {
    let authority = authority(false);
    let mut offer = offer(&authority.issue(&workload()).unwrap());
    offer.bundle = authority.root().repeat(LARGEST_BUNDLE + 1);
    assert_reason(check(offer), "the bundle is malformed: more than 1024 certificates");
}

#[test]
fn more_authorities_than_a_handshake_can_name_are_refused() {
    let svid = authority(false).issue(&workload()).unwrap();
    let more: Vec<Vec<u8>> =
        (0..700).map(|_| Authority::new("example.org", false).unwrap().root().to_vec()).collect();
    let taken = |count: usize| {
        let mut offer = offer(&svid);
        // Some twice: a name is sent once.
        offer.bundle.extend([&more[..count], &more[..300]].concat().concat());
        let size = size_of_names(&certificates(&offer.bundle, LARGEST_BUNDLE).unwrap());
        assert_eq!(check(offer).is_ok(), size <= MOST_NAMES, "{count}: {size}");
        size <= MOST_NAMES
    };
    assert!(taken(300) && !taken(700));
    let mut offer = offer(&svid);
    offer.bundle.extend(more.concat());
    assert_reason(check(offer), "more than the 49000 that a TLS handshake has room for");
}

#[test]
fn i06_an_authority_that_signs_with_ed25519_is_warned_of() {
    assert_eq!(warnings(KeyType::Ed25519, workload()), [Warning::Ed25519Signature]);
    // The leaf's own key is another matter.
    assert!(warnings(KeyType::EcP256, workload().key_type(KeyType::Ed25519)).is_empty());
    assert!(Warning::Ed25519Signature.to_string().contains("SCRAM logins with channel binding"));
}

#[test]
fn i07_no_dns_name_and_the_shared_subject_are_warned_of() {
    let bare = Entry::new(ID);
    let both = [Warning::NoDnsName, Warning::SharedSubject];
    assert_eq!(warnings(KeyType::EcP256, bare.clone()), both);
    // The unique ID makes the subject one workload's, and is of no use to verify-full.
    assert_eq!(warnings(KeyType::EcP256, bare.unique_id(true)), [Warning::NoDnsName]);
    assert!(warnings(KeyType::EcP256, workload()).is_empty());
    assert!(Warning::NoDnsName.to_string().contains("sslmode=verify-full"));
    assert!(Warning::SharedSubject.to_string().contains("never map it to a role"));
}

#[test]
fn federated_authorities_are_warned_of_and_come_last() {
    let (ours, other) = (authority(false), Authority::new("other.org", false).unwrap());
    let mut material = check(offer(&ours.issue(&workload()).unwrap())).unwrap();
    material.federate(certificates(other.root(), 1).unwrap()).unwrap();
    assert_eq!(material.warnings(), [Warning::FederatedAuthorities]);
    assert_eq!(ders(material.authorities()), [ours.root(), other.root()]);
}

#[test]
fn a64_twins_of_our_root_are_left_out_unless_an_identifier_tells_them_from_it() {
    for intermediate in [false, true] {
        let ours = authority(intermediate);
        let mut material = check(offer(&ours.issue(&workload()).unwrap())).unwrap();
        let root = Certificate::parse(ours.root()).unwrap();
        // Of the root's name without an intermediate, of the intermediate's with one.
        for (identifier, left_out) in [(KeyIdentifier::Copied, 1), (KeyIdentifier::OfItsKey, 0)] {
            let twin = ours.twin(identifier).unwrap();
            let twin = certificates(twin.root(), 1).unwrap();
            assert_eq!(material.is_obstructed_by(&twin[0]), left_out == 1);
            assert_eq!(material.federate(twin).unwrap().len(), left_out, "{identifier:?}");
        }
        assert!(!material.is_obstructed_by(&root), "our own is no obstacle");
        assert_eq!(material.authorities().count(), 2);
    }
}

#[test]
fn two_materials_publish_alike_if_chain_and_authorities_do() {
    let (ours, other) = (authority(false), authority(false));
    let svid = ours.issue(&workload()).unwrap();
    let first = check(offer(&svid)).unwrap();
    let mut again = offer(&svid);
    "another hint".clone_into(&mut again.hint);
    assert!(first.publishes_as(&check(again).unwrap()));
    let mut larger = offer(&svid);
    larger.bundle.extend_from_slice(other.root());
    assert!(!first.publishes_as(&check(larger).unwrap()));
    let renewed = ours.issue(&workload()).unwrap();
    assert!(!first.publishes_as(&check(offer(&renewed)).unwrap()));
}

fn warnings(ca: KeyType, entry: Entry) -> Vec<Warning> {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("agent.sock");
    let agent = DevAgent::builder(socket).entry(entry).ca_key_type(ca).start().unwrap();
    let svid: Svid = agent.svid();
    check(offer(&svid)).unwrap().warnings()
}

fn ders<'a>(certificates: impl Iterator<Item = &'a Certificate>) -> Vec<Vec<u8>> {
    certificates.map(|certificate| certificate.der().to_vec()).collect()
}
