//! Debug output contains nothing of a key.

use pgsvid::material::{Certificate, Fingerprint};

use crate::material::offers::{ID, authority, check, offer, workload};

#[test]
fn debug_output_of_a_material_shows_no_byte_of_its_key() {
    let svid = authority(true).issue(&workload()).unwrap();
    let material = check(offer(&svid)).unwrap();
    for text in [format!("{material:?}"), format!("{material:#?}"), format!("{:?}", material.key())]
    {
        assert!(text.contains(&format!("PrivateKey({} bytes)", svid.key.len())), "{text}");
        // Any four bytes of the key, in the ways in which bytes are shown.
        for bytes in svid.key.windows(4) {
            let [a, b, c, d] = bytes else { unreachable!("they are four") };
            let hex = format!("{a:02x}{b:02x}{c:02x}{d:02x}");
            let decimal = format!("{bytes:?}");
            assert!(
                !text.contains(&hex) && !text.contains(decimal.trim_matches(['[', ']'])),
                "{text}"
            );
        }
    }
    assert!(format!("{material:?}").contains(ID));
}

#[test]
fn certificates_are_shown_by_subject_and_serial() {
    let svid = authority(false).issue(&workload()).unwrap();
    let leaf = Certificate::parse(svid.leaf()).unwrap();
    let text = format!("{leaf:?}");
    assert!(text.starts_with("Certificate(C=US, O=SPIRE, CN=db.example.org, serial "), "{text}");
    assert_eq!(leaf.serial().short().replace(':', ""), svid.serial_hex()[..6]);
    assert_eq!(leaf.fingerprint(), Fingerprint::of(svid.leaf()));
    assert_eq!(leaf.fingerprint().to_string().len(), 95);
}
