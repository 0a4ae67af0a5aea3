//! E08: PKCS#12, of pgsvid's own and of OpenSSL's.

use std::path::PathBuf;
use std::process::Command;

use dev_agent::{Authority, Entry};
use pgsvid::material::pkcs12::{self, Password};
use pgsvid::material::{Certificate, PrivateKey};
use serde_json::Value;
use test_support::Directory;

use super::{ID, openssl, run, set, shown};

/// What `inspect` reports: the exit status, and each finding's severity and code.
fn inspected(arguments: &[&str]) -> (i32, Vec<(String, String)>, Value) {
    let arguments = [&["--format", "json"], arguments].concat();
    let (status, json) = run(&arguments, &[]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let findings = json["sections"].as_array().unwrap().iter();
    let findings = findings.flat_map(|section| section["findings"].as_array().unwrap());
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let findings = findings.map(|it| (text(it, "severity"), text(it, "code"))).collect();
    (status, findings, json)
}

fn has(findings: &[(String, String)], severity: &str, code: &str) -> bool {
    findings.iter().any(|(found, its)| (found.as_str(), its.as_str()) == (severity, code))
}

/// A store of pgsvid's own with this alias, beside the three files, and the file of its password.
fn own(alias: &str) -> (Directory, PathBuf, String) {
    let svid = Authority::new("example.org", true)
        .unwrap()
        .issue(&Entry::new(ID).dns("db").unique_id(true))
        .unwrap();
    let files = set(&svid);
    let chain: Vec<_> = svid.chain.iter().map(|der| Certificate::parse(der).unwrap()).collect();
    let key = PrivateKey::new(svid.key.clone().into());
    let password = Password::parse(b"secret").unwrap();
    let store = pkcs12::key_store(&chain, &key, alias, &password).unwrap();
    let store = files.write("svid.p12", store.as_slice(), 0o600);
    let given = files.write("password", "secret\n", 0o600);
    (files, store, format!("--password-file={}", given.display()))
}

#[test]
fn e08_a_store_is_judged_with_its_password_and_as_far_as_it_is_open_without() {
    let (files, store, password) = own("user");
    let bundle = format!("--bundle={}", files.join("svid_bundle.pem").display());
    let (status, findings, json) = inspected(&[&password, &bundle, &shown(&store)]);
    assert_eq!(status, 0, "{json:#}");
    assert!(has(&findings, "ok", "key-pair") && has(&findings, "ok", "certificate-chain"));
    let facts = &json["files"][0]["items"][0];
    assert_eq!((&facts["kind"], &facts["aliases"][0]), (&"pkcs12".into(), &"user".into()));
    assert_eq!(facts["password_proven"], true, "{json:#}");
    assert_eq!(json["summary"]["warning"], 0, "{json:#}");

    let (status, findings, json) = inspected(&[&bundle, &shown(&store)]);
    assert_eq!(status, 0, "{json:#}");
    assert!(has(&findings, "skipped", "store") && has(&findings, "ok", "certificate-chain"));
    assert!(has(&findings, "skipped", "key-pair"), "{json:#}");

    // In the published directory the key of the store is not read, and nothing else is missing.
    let (status, _, json) = inspected(&[&shown(files.path())]);
    assert_eq!(status, 0, "{json:#}");
    let text = run(&[&password, &shown(&store)], &[]).1;
    assert!(text.contains("PKCS#12, a key with the alias \"user\", 2 certificates"), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn e08_another_password_a_damaged_store_and_another_alias_are_named() {
    let (files, store, password) = own("user");
    let wrong = files.write("wrong", "Secret", 0o600);
    let wrong = format!("--password-file={}", wrong.display());
    let (status, findings, json) = inspected(&[&wrong, &shown(&store)]);
    assert!(status == 1 && has(&findings, "failure", "file-unreadable"), "{json:#}");
    let mut bytes = std::fs::read(&store).unwrap();
    bytes.truncate(bytes.len() - 7);
    let damaged = shown(&files.write("damaged.p12", bytes, 0o600));
    let (status, findings, json) = inspected(&[&password, &damaged]);
    assert!(status == 1 && has(&findings, "failure", "file-unreadable"), "{json:#}");
    let empty = files.write("empty", "\n", 0o600);
    let empty = format!("--password-file={}", empty.display());
    assert_eq!(run(&[&empty, &shown(&store)], &[]).0, 2);

    let (_files, store, password) = own("spiffe");
    let (status, findings, json) = inspected(&[&password, &shown(&store)]);
    assert!(status == 0 && has(&findings, "warning", "pgjdbc-refuses"), "{json:#}");
}

/// What OpenSSL writes by default, and what it writes for old readers.
#[test]
fn e08_stores_of_openssl_are_read_and_where_they_are_not_the_remedy_works() {
    let (files, _, password) = own("user");
    let (key, leaf) = (shown(&files.join("svid_key.pem")), shown(&files.join("svid.pem")));
    let export = |name: &str, more: &[&str]| {
        let path = shown(&files.join(name));
        let fixed = ["pkcs12", "-export", "-inkey", &key, "-in", &leaf, "-name", "user"];
        let output = ["-passout", "pass:secret", "-out", &path];
        openssl(&[&fixed[..], more, &output].concat());
        files.write(name, std::fs::read(&path).unwrap(), 0o600);
        path
    };
    for (name, more) in [
        ("usual.p12", &[][..]),
        ("aes128.p12", &["-keypbe", "AES-128-CBC", "-certpbe", "AES-256-CBC"]),
        ("sha512.p12", &["-macalg", "sha512"]),
        ("sha1.p12", &["-macalg", "sha1"]),
        ("open.p12", &["-certpbe", "NONE", "-keypbe", "NONE"]),
    ] {
        let (status, findings, json) = inspected(&[&password, &export(name, more)]);
        assert_eq!(status, 0, "{name}: {json:#}");
        assert!(has(&findings, "ok", "key-pair"), "{name}: {json:#}");
    }
    // Nothing in it is encrypted, and still nobody has checked it.
    let (status, findings, json) = inspected(&[&shown(&files.join("open.p12"))]);
    assert!(status == 0 && has(&findings, "skipped", "store"), "{json:#}");
    for more in [&["-legacy", "-macalg", "sha1"][..], &["-legacy", "-descert", "-macalg", "sha1"]] {
        let old = export("it's old.p12", more);
        let (status, _, json) = inspected(&[&password, &old]);
        assert_eq!(status, 1, "{json:#}");
        let remedy = json["files"][0]["items"][0]["fix"].as_str().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let command = format!("{remedy} -passin pass:secret");
        let done =
            Command::new("sh").args(["-c", &command]).current_dir(&directory).output().unwrap();
        assert!(done.status.success(), "{command}: {done:?}");
        let converted = std::fs::read(directory.path().join("all.pem")).unwrap();
        let items = pgsvid::material::reading::read(&converted);
        assert!(items.iter().filter(|item| item.is_ok()).count() >= 2, "{items:?}");
    }
}
