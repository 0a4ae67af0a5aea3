//! Messages of the Workload API: from bytes to material, or to the words of a refusal.
//!
//! A message is either the bytes of the input, or a valid one with edits. Certificates are edited beneath their
//! signatures, too.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use pgsvid::material::{
    Certificate, Expectations, LARGEST_BUNDLE, MOST_NAMES, Material, TrustDomain, certificates,
    leaf_rules, pem, size_of_names, workload_id,
};
use pgsvid::source::workload_api::{Endpoint, Message, Selection, Settings};
use pgsvid_proto::{X509svid, X509svidResponse};
use prost::Message as _;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::edits::{Choices, Edit};
use super::seeds::{DOMAIN, ID, SEEDS, now};
use super::texts::{assert_presentable, assert_presentable_error};

/// Most edits of one message.
const MOST_EDITS: usize = 16;

pub fn run(input: &[u8]) {
    let mut choices = Choices::new(input);
    let (settings, expected_hint) = settings(choices.byte());
    let (bytes, moment) =
        if choices.yes() { edited(&mut choices) } else { (choices.rest().to_vec(), now()) };
    // By the generated decoder: what ours reads, it reads, too.
    let decoded = X509svidResponse::decode(bytes.as_slice());
    if let Ok(read) = Message::read(&bytes) {
        assert_same(&read, decoded.as_ref().unwrap());
    }
    match settings.material(bytes, moment) {
        Ok(material) => {
            let message = decoded.unwrap();
            assert_sound(&material, moment);
            assert_wished(&material, &settings, expected_hint);
            assert_trusted(&material, &settings, &message);
        }
        Err(discarded) => assert_presentable_error(&discarded),
    }
}

fn assert_same(read: &Message<'_>, decoded: &X509svidResponse) {
    assert_eq!(read.svids.len(), decoded.svids.len());
    for (read, decoded) in read.svids.iter().zip(&decoded.svids) {
        assert_eq!(read.spiffe_id, decoded.spiffe_id);
        assert_eq!(read.chain, decoded.x509_svid);
        assert_eq!(read.key, decoded.x509_svid_key);
        assert_eq!(read.bundle, decoded.bundle);
        assert_eq!(read.hint, decoded.hint);
    }
    assert_eq!(read.federated.len(), decoded.federated_bundles.len());
    for (domain, bundle) in &read.federated {
        assert_eq!(decoded.federated_bundles[*domain], *bundle);
    }
}

fn settings(choice: u8) -> (Settings, Option<&'static str>) {
    static ENDPOINT: LazyLock<Endpoint> = LazyLock::new(|| "unix:///agent.sock".parse().unwrap());
    let has = |bit: u8| choice & 1 << bit != 0;
    let hint = has(0).then_some("db");
    let settings = Settings {
        endpoint: ENDPOINT.clone(),
        selection: Selection {
            spiffe_id: has(1).then(|| ID.to_owned()),
            hint: hint.map(str::to_owned),
            ..Selection::default()
        },
        expectations: Expectations {
            spiffe_id: has(2).then(|| {
                workload_id(if has(5) { "spiffe://example.org/other" } else { ID }).unwrap()
            }),
            trust_domain: has(3)
                .then(|| TrustDomain::new(if has(6) { "other.org" } else { DOMAIN }).unwrap()),
            federated: has(4),
            ..Expectations::default()
        },
        federated_bundles: has(4),
    };
    (settings, hint)
}

/// A message as an agent sends it, in parts that are edited one by one before they are put together.
#[derive(Default)]
struct Parts {
    chain: Vec<u8>,
    key: Vec<u8>,
    bundle: Vec<u8>,
    id: Vec<u8>,
    hint: Vec<u8>,
    domain: Vec<u8>,
    federated: Vec<u8>,
}

/// The bytes, and the moment at which they arrive.
fn edited(choices: &mut Choices<'_>) -> (Vec<u8>, SystemTime) {
    let shape = choices.byte();
    let has = |bit: u8| shape & 1 << bit != 0;
    let mut edits = Vec::new();
    while !choices.is_empty() && edits.len() < MOST_EDITS {
        edits.push((choices.byte() % 13, choices.edit()));
    }
    let signed = if has(0) { &SEEDS.lower_leaf } else { &SEEDS.leaf };
    let leaf = beneath(&edits, 0, signed);
    let intermediate = beneath(&edits, 1, &SEEDS.intermediate);
    let root = beneath(&edits, 2, &SEEDS.root);
    let chain = if has(0) { [leaf, intermediate.clone()].concat() } else { leaf };
    let bundle = if has(1) { [root, intermediate].concat() } else { root };
    let mut parts = Parts {
        chain,
        key: signed.key.clone(),
        bundle,
        id: ID.into(),
        hint: if has(2) { b"db".into() } else { Vec::new() },
        domain: if has(3) { DOMAIN.into() } else { b"other.org".into() },
        federated: beneath(&edits, 12, &SEEDS.root),
    };
    let mut moment = now();
    for (part, edit) in &edits {
        match part {
            3 => edit.apply(&mut parts.chain),
            4 => edit.apply(&mut parts.key),
            5 => edit.apply(&mut parts.bundle),
            6 => edit.apply(&mut parts.id),
            7 => edit.apply(&mut parts.hint),
            8 => edit.apply(&mut parts.domain),
            9 => edit.apply(&mut parts.federated),
            10 => moment = shifted(edit),
            _ => {}
        }
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let svid = X509svid {
        spiffe_id: text(&parts.id),
        x509_svid: parts.chain,
        x509_svid_key: parts.key,
        bundle: parts.bundle,
        hint: text(&parts.hint),
    };
    let copies = if has(4) { usize::from(shape >> 5) * 5 } else { 0 };
    let mut svids = vec![svid; copies + 1];
    if copies > 0 && has(2) {
        // The first has another hint.
        svids[0].hint.insert_str(0, "other-");
    }
    let message = X509svidResponse {
        svids,
        crl: Vec::new(),
        federated_bundles: [(text(&parts.domain), parts.federated)].into(),
    };
    let mut bytes = message.encode_to_vec();
    edits.iter().filter(|(part, _)| *part == 11).for_each(|(_, edit)| edit.apply(&mut bytes));
    (bytes, moment)
}

/// A certificate with the edits that belong to it made in what its signature covers, and signed again.
fn beneath(edits: &[(u8, Edit<'_>)], part: u8, signed: &super::seeds::Signed) -> Vec<u8> {
    let mut inner = signed.to_be_signed();
    let mut of_part = edits.iter().filter(|(edited, _)| *edited == part).peekable();
    if of_part.peek().is_none() {
        return signed.der.clone();
    }
    of_part.for_each(|(_, edit)| edit.apply(&mut inner));
    signed.signed_anew(&inner)
}

/// Up to six days earlier or later.
fn shifted(edit: &Edit<'_>) -> SystemTime {
    let seconds = Duration::from_secs(u64::try_from(edit.number * 8).unwrap());
    if edit.at.is_multiple_of(2) { now() + seconds } else { now() - seconds }
}

/// What is taken is what section 4 of the design demands, seen by other eyes than those that took it.
fn assert_sound(material: &Material, moment: SystemTime) {
    let id = material.name().to_string();
    assert_eq!(material.leaf().uris(), [id.as_str()]);
    assert_eq!(leaf_rules(material.leaf()).unwrap(), *material.spiffe_id().unwrap());
    assert!(material.leaf().not_after() > moment);
    assert!(material.leaf().not_before() <= moment + pgsvid::material::CLOCK_SKEW);
    assert_presentable(&format!("{material:?}"));
    assert_key_signs_for_leaf(material);
    let authorities: Vec<&Certificate> = material.authorities().collect();
    let chain: Vec<&Certificate> = material.chain().collect();
    assert!(leads_to_a_root(chain[0], &chain[1..], &authorities, 0), "no path by signatures");

    let read = pem::decode_material(
        &pem::encode_certificates(material.chain()),
        &pem::encode_key(material.key()),
        &pem::encode_certificates(material.authorities()),
        &Expectations::default(),
        moment,
    );
    let read = read.expect("what is published can be read back");
    assert!(read.publishes_as(material) && material.publishes_as(&read));
    assert_eq!(read.key().expose(), material.key().expose());
    assert_eq!(read.not_after(), material.not_after());
}

fn assert_key_signs_for_leaf(material: &Material) {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(material.key().expose()));
    let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    let signer = key.choose_scheme(&algorithms.supported_schemes()).unwrap();
    let signature = signer.sign(b"proof").unwrap();
    let spki = SubjectPublicKeyInfoDer::from(material.leaf().public_key());
    let public = webpki::RawPublicKeyEntity::try_from(&spki).unwrap();
    let (_, candidates) =
        algorithms.mapping.iter().find(|(scheme, _)| *scheme == signer.scheme()).unwrap();
    assert!(
        candidates
            .iter()
            .any(|algorithm| public.verify_signature(*algorithm, b"proof", &signature).is_ok()),
        "the key does not sign for the leaf"
    );
}

/// By signatures alone, in another library than the one that validates.
fn leads_to_a_root(
    certificate: &Certificate,
    chain: &[&Certificate],
    authorities: &[&Certificate],
    depth: usize,
) -> bool {
    let (_, parsed) = X509Certificate::from_der(certificate.der()).unwrap();
    let issuers = chain.iter().chain(authorities).filter(|issuer| {
        X509Certificate::from_der(issuer.der())
            .is_ok_and(|(_, issuer)| parsed.verify_signature(Some(issuer.public_key())).is_ok())
    });
    depth < 8
        && issuers.into_iter().any(|issuer| {
            (issuer.is_self_signed() && authorities.contains(issuer))
                || leads_to_a_root(issuer, chain, authorities, depth + 1)
        })
}

fn assert_wished(material: &Material, settings: &Settings, hint: Option<&str>) {
    let id = material.name().to_string();
    assert!(settings.selection.spiffe_id.as_ref().is_none_or(|wanted| *wanted == id));
    assert!(settings.expectations.spiffe_id.as_ref().is_none_or(|wanted| wanted.to_string() == id));
    let domain = settings.expectations.trust_domain.as_ref();
    assert!(domain.is_none_or(|domain| material.spiffe_id().unwrap().is_member_of(domain)));
    assert!(hint.is_none() || material.hint() == hint);
}

/// What is trusted is the bundle of one SVID, each certificate once, without what is said to be left out, and the bundles of other trust domains only where
/// they are wanted: never one that calls itself ours, nor a malformed one, nor one that a handshake has no room for, nor
/// of the others an authority that could be taken for one of ours. (The limit of bytes is far above the fuzzer's longest input.)
fn assert_trusted(material: &Material, settings: &Settings, message: &X509svidResponse) {
    let own = material.spiffe_id().unwrap().trust_domain();
    let mut federated: Vec<_> = message
        .federated_bundles
        .iter()
        .filter(|_| settings.federated_bundles)
        .filter_map(|(name, bundle)| Some((name, TrustDomain::new(name).ok()?, bundle)))
        .filter(|(_, domain, _)| domain != own)
        .collect();
    federated.sort_by_key(|(name, ..)| name.as_str());
    let parsed = |bundle: &Vec<u8>| certificates(bundle, LARGEST_BUNDLE).unwrap_or_default();
    let federated: Vec<_> = federated.iter().map(|(_, _, bundle)| parsed(bundle)).collect();
    let trusted: Vec<&Certificate> = material.authorities().collect();
    assert!(message.svids.iter().any(|svid| {
        let mut expected = with_all(&[], &parsed(&svid.bundle));
        expected.retain(|found| !material.left_out().any(|left| left == found));
        for bundle in &federated {
            let mut bundle = bundle.clone();
            bundle.retain(|found| !material.is_obstructed_by(found));
            let more = with_all(&expected, &bundle);
            if more.len() <= LARGEST_BUNDLE && size_of_names(&more) <= MOST_NAMES {
                expected = more;
            }
        }
        expected.iter().collect::<Vec<_>>() == trusted
    }));
}

fn with_all(some: &[Certificate], more: &[Certificate]) -> Vec<Certificate> {
    let mut all = some.to_vec();
    for certificate in more {
        if !all.contains(certificate) {
            all.push(certificate.clone());
        }
    }
    all
}
