//! I01, I03-I05: key, leaf and SPIFFE ID.

use dev_agent::Flaw;
use pgsvid::material::{Expectations, Material, SpiffeId, TrustDomain};
use pgsvid::timing;
use zeroize::Zeroizing;

use crate::material::offers::{
    ID, assert_reason, assert_refused, authority, check, offer, workload,
};

#[test]
fn i01_a_key_that_is_another_leafs_is_refused() {
    assert_refused(&Flaw::KeyOfAnother, "the private key does not belong to the leaf");
}

#[test]
fn i01_a_key_that_is_none_is_refused() {
    let svid = authority(false).issue(&workload()).unwrap();
    let sec1_der = b"\x30\x77\x02\x01\x01\x04\x20".to_vec();
    for key in [b"no key".to_vec(), svid.key_pem().into_bytes(), sec1_der, vec![0x30; 200]] {
        let mut offer = offer(&svid);
        offer.key = Zeroizing::new(key);
        assert_reason(check(offer), "is not an unencrypted PKCS#8 key of a supported type");
    }
    let mut large = offer(&svid);
    large.key = Zeroizing::new(vec![0x30; 1 << 20]);
    assert_reason(check(large), "the private key has 1048576 bytes, more than the");
}

#[test]
fn w13_empty_fields_are_named() {
    assert_refused(&Flaw::EmptyKey, "the private key is empty");
    assert_refused(&Flaw::EmptyBundle, "the bundle is empty");
    let mut offer = offer(&authority(false).issue(&workload()).unwrap());
    offer.chain.clear();
    assert_reason(check(offer), "the certificate chain is empty");
}

#[test]
fn i03_a_leaf_has_exactly_one_uri_and_that_is_a_workloads_spiffe_id() {
    let second = Flaw::SecondUri("spiffe://example.org/another".to_owned());
    assert_refused(&second, "the leaf has 2 URI names; an SVID has exactly one");
    // A second one of another scheme is no better.
    let second = Flaw::SecondUri("https://example.org/".to_owned());
    assert_refused(&second, "the leaf has 2 URI names");
    assert_refused(&Flaw::NoUri, "the leaf has 0 URI names");
    for (uri, reason) in [
        ("spiffe://example.org", "has no path: it names a trust domain, not a workload"),
        ("https://example.org/ns/apps", "is not a SPIFFE ID"),
        ("spiffe://example.org/a//b", "is not a SPIFFE ID"),
        ("spiffe://example.org/a/", "is not a SPIFFE ID"),
        ("spiffe://example.org/a?b=c", "is not a SPIFFE ID"),
        ("spiffe://example.org:8443/a", "is not a SPIFFE ID"),
        ("spiffe://user@example.org/a", "is not a SPIFFE ID"),
        ("spiffe://example.org/%41", "is not a SPIFFE ID"),
        ("", "is not a SPIFFE ID"),
    ] {
        assert_refused(&Flaw::Uri(uri.to_owned()), reason);
    }
    let long = format!("spiffe://example.org/{}", "a".repeat(2048));
    assert_refused(&Flaw::Uri(long), "the SPIFFE ID has 2069 bytes");
}

#[test]
fn i03_a_leaf_that_may_sign_certificates_is_refused() {
    assert_refused(&Flaw::Ca, "the leaf is a CA certificate");
}

#[test]
fn i03_a_leaf_that_may_not_sign_handshakes_is_refused() {
    assert_refused(&Flaw::NoDigitalSignature, "lacks digitalSignature");
}

#[test]
fn i04_bytes_after_the_last_certificate_are_refused() {
    for bytes in [vec![0], vec![0x30, 0x00], b"-----BEGIN".to_vec(), vec![0xff; 3000]] {
        assert_refused(
            &Flaw::TrailingBytes(bytes),
            "the certificate chain is malformed: certificate ",
        );
    }
    let mut offer = offer(&authority(false).issue(&workload()).unwrap());
    offer.bundle.push(0);
    assert_reason(
        check(offer),
        "the bundle is malformed: certificate 2 is not an X.509 certificate",
    );
}

#[test]
fn i04_a_chain_of_hundreds_is_refused_before_it_is_looked_at() {
    assert_refused(&Flaw::Intermediates(300), "malformed: more than 16 certificates");
}

#[test]
fn i04_truncated_certificates_are_refused() {
    let svid = authority(true).issue(&workload()).unwrap();
    let whole = offer(&svid).chain;
    for length in [1, 10, svid.leaf().len() - 1, svid.leaf().len() + 1, whole.len() - 1] {
        let mut offer = offer(&svid);
        offer.chain.truncate(length);
        assert_reason(check(offer), "the certificate chain is malformed: certificate ");
    }
}

#[test]
fn i05_the_message_and_the_leaf_name_one_id() {
    let flaw = Flaw::Uri("spiffe://example.org/another".to_owned());
    assert_refused(
        &flaw,
        "the message says spiffe://example.org/ns/apps/sa/db, but its leaf says spiffe://example.org/another",
    );
    let mut offer = offer(&authority(false).issue(&workload()).unwrap());
    offer.spiffe_id = Some("no id".to_owned());
    assert_reason(check(offer), "the SPIFFE ID is invalid: \"no id\" is not a SPIFFE ID");
}

#[test]
fn i05_another_id_or_trust_domain_than_the_configured_one_is_refused() {
    let svid = authority(false).issue(&workload()).unwrap();
    let with = |id: Option<&str>, domain: Option<&str>| {
        let expectations = Expectations {
            spiffe_id: id.map(|id| SpiffeId::new(id).unwrap()),
            trust_domain: domain.map(|domain| TrustDomain::new(domain).unwrap()),
            ..Expectations::default()
        };
        Material::check(offer(&svid), &expectations, timing::now())
    };
    assert!(with(Some(ID), Some("example.org")).is_ok());
    assert_reason(
        with(Some("spiffe://example.org/other"), None),
        "the SVID is for spiffe://example.org/ns/apps/sa/db, but the configuration requires spiffe://example.org/other",
    );
    for other in ["other.org", "example.org.evil", "sub.example.org"] {
        let reason = format!("is not of trust domain {other}");
        assert_reason(with(None, Some(other)), &reason);
    }
}

#[test]
fn i04_a_certificate_of_an_absurd_size_is_refused_before_it_is_parsed() {
    let mut offer = offer(&authority(false).issue(&workload()).unwrap());
    let start = offer.bundle.len();
    // A SEQUENCE of 65537 bytes that are nothing.
    offer.bundle.extend([0x30, 0x83, 0x01, 0x00, 0x01]);
    offer.bundle.resize(start + 5 + 65_537, 0);
    let reason = "certificate 2 has 65542 bytes, more than the 65536 that are allowed";
    assert_reason(check(offer), reason);
}
