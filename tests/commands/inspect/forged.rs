//! B52, B53: certificates that pgsvid cannot verify, and what OpenSSL reports about them.

use std::path::PathBuf;

use serde_json::Value;
use test_support::{Directory, openssl};

use super::{ID, run, shown};

/// A leaf under an RSA authority, signed with SHA-224, for which pgsvid has no code. Its last bit is `changed`, or not.
fn under_rsa(files: &Directory, changed: bool) -> [PathBuf; 2] {
    let extensions = format!(
        "keyUsage = critical, digitalSignature\nauthorityKeyIdentifier = keyid\nextendedKeyUsage = serverAuth, clientAuth\n\
         subjectAltName = URI:{ID}, DNS:db.corp\n"
    );
    let extensions = shown(&files.write("extensions", extensions, 0o644));
    let [ca_key, ca, key] = ["ca.key", "ca.pem", "key.pem"].map(|name| shown(&files.join(name)));
    let new = ["-newkey", "rsa:2048", "-nodes"];
    let root = ["req", "-x509", "-subj", "/CN=Corporate CA", "-keyout", &ca_key, "-out", &ca];
    openssl(&[&root[..], &new].concat(), "");
    let request = openssl(
        &[&["req", "-new", "-subj", "/CN=db.corp", "-keyout", &key][..], &new].concat(),
        "",
    );
    let by = ["x509", "-req", "-CA", &ca, "-CAkey", &ca_key, "-set_serial", "7", "-sha224"];
    let format = ["-extfile", &extensions, "-outform", "DER"];
    let mut leaf = openssl(&[&by[..], &format].concat(), request);
    let last = leaf.len() - 1;
    leaf[last] ^= u8::from(changed);
    let leaf = openssl(&["x509", "-inform", "DER"], leaf);
    [files.write("leaf.pem", leaf, 0o644), PathBuf::from(ca)]
}

fn findings(json: &str) -> Vec<Value> {
    let json: Value = serde_json::from_str(json).unwrap();
    json["sections"][0]["findings"].as_array().unwrap().clone()
}

#[test]
fn b52_a_forged_signature_of_an_algorithm_that_is_not_known_is_never_ok() {
    for changed in [true, false] {
        let files = Directory::new();
        let [leaf, ca] = under_rsa(&files, changed);
        let arguments = [
            "--format",
            "json",
            "--bundle",
            &shown(&ca),
            &shown(&leaf),
            &shown(&files.join("key.pem")),
        ];
        let (status, json) = run(&arguments, &[]);
        assert_eq!(status, 1, "{json}");
        let findings = findings(&json);
        assert!(!findings.iter().any(|found| found["code"] == "certificate-chain"), "{json}");
        let found = findings.iter().find(|found| found["code"] == "signature-unchecked").unwrap();
        assert_eq!(found["severity"], "failure", "{json}");
        // The remedy shows the truth.
        let command = found["fix"].as_str().unwrap();
        let verified = std::process::Command::new("sh").args(["-c", command]).output().unwrap();
        assert_eq!(verified.status.success(), !changed, "{verified:?}");
    }
}

#[test]
fn b53_a_leaf_whose_key_is_no_point_of_its_curve_is_a_failure() {
    let files = Directory::new();
    let key =
        ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "/dev/null"];
    let leaf = [
        &["req", "-x509", "-subj", "/CN=db", "-outform", "DER"][..],
        &["-addext", "basicConstraints = critical, CA:FALSE"],
        &key,
    ];
    let mut leaf = openssl(&leaf.concat(), "");
    let point = leaf.windows(4).position(|part| part == [3, 66, 0, 4]).unwrap() + 4;
    leaf[point..point + 64].fill(1);
    let leaf = files.write("leaf.der", leaf, 0o644);
    let (status, json) = run(&["--format", "json", &shown(&leaf)], &[]);
    let findings = findings(&json);
    let found = findings.iter().find(|found| found["code"] == "key-pair").unwrap();
    assert!(status == 1 && found["severity"] == "failure", "{json}");
}
