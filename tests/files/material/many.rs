//! A55: certificates chosen to make the search for a path long.

#![allow(clippy::print_stdout, reason = "the figures are what documents tell")]

use std::time::Duration;

use pgsvid::material::{Expectations, Material, Offer, Rejection};
use pgsvid::timing;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, SanType, SerialNumber,
};
use zeroize::Zeroizing;

use crate::material::offers::ID;

/// Processor time that one message may take, also here, where nothing is optimized.
const MOST: Duration = Duration::from_secs(1);

/// Levels of authorities, and how many there are on each: with six of eight, 262,144 ways lead from the leaf upwards.
const LEVELS: usize = 6;
const EACH: usize = 8;

/// Whose key has signed the certificates of a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signed {
    /// A key that none of them has.
    ByAnother,
    /// That of the level above: each of the eight has the same one.
    Truly,
}

/// What the uppermost level names as its issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Top {
    /// Nobody that is there.
    Nobody,
    /// The root, which has signed it.
    Root,
    /// The same, and none of the level is valid any more.
    Expired,
}

struct Maker {
    root: (CertificateParams, KeyPair),
    offer: Offer,
    authorities: Vec<Vec<u8>>,
}

impl Maker {
    /// A root, and a leaf that the authority of that name has signed with this key.
    fn new(issuer: &str, key: &KeyPair) -> Self {
        let root = (authority("root"), KeyPair::generate().unwrap());
        let leaf_key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::default();
        leaf.distinguished_name = named("leaf");
        leaf.subject_alt_names = vec![SanType::URI(ID.try_into().unwrap())];
        leaf.is_ca = IsCa::ExplicitNoCa;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.use_authority_key_identifier_extension = true;
        let chain = signed(&leaf, &leaf_key, issuer, key);
        let offer = Offer {
            spiffe_id: Some(ID.to_owned()),
            hint: String::new(),
            chain,
            key: Zeroizing::new(leaf_key.serialize_der()),
            bundle: Vec::new(),
        };
        let authorities = vec![root.0.self_signed(&root.1).unwrap().der().to_vec()];
        Self { root, offer, authorities }
    }

    fn add(&mut self, params: &CertificateParams, of: &KeyPair, issuer: &str, key: &KeyPair) {
        self.authorities.push(signed(params, of, issuer, key));
    }

    /// What becomes of it, within the time that it may take.
    #[track_caller]
    fn check(self, what: &str) -> Result<Material, Rejection> {
        let offer = Offer { bundle: self.authorities.concat(), ..self.offer };
        let before = timing::spent();
        let checked = Material::check(offer, &Expectations::default(), timing::now());
        let spent = timing::spent().saturating_sub(before);
        println!("a55: {what}: {spent:?}");
        assert!(spent < MOST, "{what}: {spent:?}");
        checked
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn signed(params: &CertificateParams, of: &KeyPair, issuer: &str, key: &KeyPair) -> Vec<u8> {
    let mut params = params.clone();
    params.serial_number = Some(SerialNumber::from(fastrand::u64(1 << 32..)));
    let issuer = Issuer::new(authority(issuer), key);
    params.signed_by(of, &issuer).unwrap().der().to_vec()
}

/// The levels, and certificates that have nothing to do with them, up to as many as may be.
fn levels(signed: Signed, top: Top) -> Maker {
    let keys: Vec<KeyPair> = (0..=LEVELS).map(|_| KeyPair::generate().unwrap()).collect();
    let stray = KeyPair::generate().unwrap();
    let by = |key| if signed == Signed::Truly { key } else { &stray };
    let mut maker = Maker::new("level 0", by(&keys[0]));
    let root = KeyPair::try_from(maker.root.1.serialize_der()).unwrap();
    for level in 0..LEVELS {
        let mut params = authority(&format!("level {level}"));
        let (issuer, key) = match (level + 1 == LEVELS, top) {
            (false, _) => (format!("level {}", level + 1), by(&keys[level + 1])),
            (true, Top::Nobody) => ("nobody".to_owned(), by(&keys[level + 1])),
            (true, Top::Root | Top::Expired) => ("root".to_owned(), &root),
        };
        if level + 1 == LEVELS && top == Top::Expired {
            params.not_after = params.not_before + Duration::from_secs(1);
        }
        for _ in 0..EACH {
            maker.add(&params, &keys[level], &issuer, key);
        }
    }
    let filler = authority("filler");
    while maker.authorities.len() < 1001 {
        maker.add(&filler, &stray, "nobody", &stray);
    }
    maker
}

#[test]
fn a55_a_quarter_million_certificate_paths_are_judged_in_time() {
    for (kind, top) in [
        (Signed::ByAnother, Top::Nobody),
        (Signed::ByAnother, Top::Root),
        (Signed::Truly, Top::Nobody),
        (Signed::Truly, Top::Expired),
    ] {
        let what = format!("{kind:?}, {top:?}");
        let reason = levels(kind, top).check(&what).unwrap_err().to_string();
        assert!(reason.contains("finds no path from the leaf"), "{what}: {reason}");
        assert!(reason.len() < 300, "{what}: {reason}");
    }
    levels(Signed::Truly, Top::Root).check("true ones").unwrap();
}

#[test]
fn a55_a_leaf_is_refused_in_time_among_a_thousand_false_roots() {
    let (stray, strong) =
        (KeyPair::generate().unwrap(), KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap());
    let mut maker = Maker::new("root", &stray);
    maker.authorities.clear();
    for _ in 0..1000 {
        maker.add(&authority("root"), &strong, "root", &stray);
    }
    let reason = maker.check("false roots").unwrap_err().to_string();
    assert!(reason.contains("finds no path from the leaf"), "{reason}");
}

#[test]
fn a55_a_leaf_is_refused_in_time_among_a_thousand_authorities_with_its_issuers_name() {
    let stray = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let mut maker = Maker::new("one", &stray);
    for _ in 0..1000 {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        maker.add(&authority("one"), &key, "one", &stray);
    }
    let reason = maker.check("one name").unwrap_err().to_string();
    assert!(reason.contains("finds no path from the leaf"), "{reason}");
}

/// Authorities of SPIRE had all the same name for long.
#[test]
fn a55_one_of_many_roots_of_one_name_is_found() {
    let ours = KeyPair::generate().unwrap();
    let mut maker = Maker::new("root", &ours);
    for _ in 0..90 {
        let other = KeyPair::generate().unwrap();
        maker.authorities.push(authority("root").self_signed(&other).unwrap().der().to_vec());
    }
    maker.authorities.push(authority("root").self_signed(&ours).unwrap().der().to_vec());
    maker.check("roots of one name").unwrap();
}

/// More than are tried: the leaf names the key that has signed it.
#[test]
fn a68_one_of_a_thousand_roots_of_one_name_is_found_by_its_key_identifier() {
    let ours = KeyPair::generate().unwrap();
    let mut maker = Maker::new("root", &ours);
    for _ in 0..900 {
        let other = KeyPair::generate().unwrap();
        maker.authorities.push(authority("root").self_signed(&other).unwrap().der().to_vec());
    }
    maker.authorities.push(authority("root").self_signed(&ours).unwrap().der().to_vec());
    maker.check("a thousand roots of one name").unwrap();
}

/// One and the same intermediate, issued again and again.
#[test]
fn a55_the_one_that_is_valid_is_found_among_many_that_are_not() {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let mut maker = Maker::new("intermediate", &key);
    let root = KeyPair::try_from(maker.root.1.serialize_der()).unwrap();
    let mut expired = authority("intermediate");
    expired.not_after = expired.not_before + Duration::from_secs(1);
    for _ in 0..40 {
        maker.add(&expired, &key, "root", &root);
    }
    maker.add(&authority("intermediate"), &key, "root", &root);
    maker.check("intermediates of one key").unwrap();
}
