//! Messages of the Workload API that are larger than usual.

use dev_agent::{Authority, Entry, Svid};
use pgsvid_proto::X509svidResponse;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use test_support::Setup;

/// The SVID with so many authorities in its bundle; its own is one of them.
pub(crate) fn with_bundle(svid: &Svid, others: &[Authority]) -> X509svidResponse {
    let mut message = svid.to_message();
    for other in others {
        message.bundle.extend_from_slice(other.root());
    }
    X509svidResponse { svids: vec![message], ..X509svidResponse::default() }
}

/// A new SVID with so many certificates in its chain, the leaf counted: each is signed by the next, the last by a root.
pub(crate) fn of_length(length: usize) -> (Vec<u8>, X509svidResponse) {
    let root_key = KeyPair::generate().expect("makes a key");
    let params = authority("root");
    let root = params.self_signed(&root_key).expect("signs itself").der().to_vec();
    let mut issuer = Issuer::new(params, root_key);
    let mut intermediates = Vec::new();
    for number in 1..length {
        let (params, key) = (authority(&format!("{number}")), KeyPair::generate().expect("a key"));
        intermediates.push(params.signed_by(&key, &issuer).expect("signs").der().to_vec());
        issuer = Issuer::new(params, key);
    }
    let key = KeyPair::generate().expect("makes a key");
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let id = Setup::SPIFFE_ID.try_into().expect("an ASCII text");
    params.subject_alt_names.push(SanType::URI(id));
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let leaf = params.signed_by(&key, &issuer).expect("signs").der().to_vec();
    intermediates.reverse();
    let mut message = dev_agent_message(&leaf, &intermediates);
    message.x509_svid_key = key.serialize_der();
    message.bundle = root;
    (leaf, X509svidResponse { svids: vec![message], ..X509svidResponse::default() })
}

fn dev_agent_message(leaf: &[u8], intermediates: &[Vec<u8>]) -> pgsvid_proto::X509svid {
    pgsvid_proto::X509svid {
        spiffe_id: Setup::SPIFFE_ID.to_owned(),
        x509_svid: [leaf, &intermediates.concat()].concat(),
        ..pgsvid_proto::X509svid::default()
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, format!("chain {name}"));
    let id = "spiffe://example.org".try_into().expect("an ASCII text");
    params.subject_alt_names.push(SanType::URI(id));
    params
}

/// An entry like that of every setup.
pub(crate) fn entry() -> Entry {
    Entry::new(Setup::SPIFFE_ID).dns("localhost")
}
