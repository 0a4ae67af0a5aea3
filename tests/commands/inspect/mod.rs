//! `pgsvid inspect`: real files, real logins with the names that it prints, and any other kind of file.

mod bad_input;
mod encodings;
mod forged;
mod login;
mod stores;

use std::path::Path;
use std::time::Duration;

use dev_agent::{Authority, Entry, Flaw, Svid};
use serde_json::Value;
use test_support::{Directory, LIMIT, Program};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
const ID: &str = "spiffe://example.org/ns/test/sa/db";

#[test]
fn a_set_that_belongs_together_is_shown_whole_but_for_the_key() {
    let authority = Authority::new("example.org", true).unwrap();
    let svid =
        authority.issue(&Entry::new(ID).dns("db").dns("db.example").unique_id(true)).unwrap();
    let files = set(&svid);
    let (status, text) = run(&[files.path()], &[]);
    assert_eq!(status, 0, "{text}");
    let serial: Vec<String> = svid.serial.iter().map(|byte| format!("{byte:02x}")).collect();
    for wanted in [
        format!("  leaf       {ID}\n             DNS db    DNS db.example    CN db\n"),
        "subject    C=US, O=SPIRE, CN=db, x500UniqueIdentifier=".to_owned(),
        "issuer     C=US, O=SPIFFE, serialNumber=".to_owned(),
        "EC P-256    signed with ECDSA with SHA-256".to_owned(),
        "digitalSignature, keyEncipherment, keyAgreement; serverAuth, clientAuth".to_owned(),
        format!("serial     {}\n", serial.join(":")),
        "pg_ident   CN \"db\"\n".to_owned(),
        "  authority  spiffe://example.org\n".to_owned(),
        "  root       spiffe://example.org\n".to_owned(),
        format!("EC P-256 in PKCS#8, belongs to {}", files.join("svid.pem").display()),
        "59m left".to_owned(),
        "ok       the leaf is signed by an authority of the bundle".to_owned(),
        "ok       the leaf is an X.509-SVID".to_owned(),
        "0 failures, 0 warnings, 4 ok, 0 skipped".to_owned(),
    ] {
        assert!(text.contains(&wanted), "{wanted:?} is missing: {text}");
    }
    let openssl = openssl(&[
        "x509",
        "-in",
        &shown(&files.join("svid.pem")),
        "-noout",
        "-fingerprint",
        "-sha256",
    ]);
    let fingerprint = openssl.trim().rsplit('=').next().unwrap().replace(':', "").to_lowercase();
    assert!(text.contains(&fingerprint), "{text}");

    let (_, json) = run(&[Path::new("--format"), Path::new("json"), files.path()], &[]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let leaf = &json["files"][0]["items"][0]["certificate"];
    assert_eq!(leaf["spiffe_id"], ID);
    assert_eq!(leaf["sha256"], fingerprint);
    assert_eq!(leaf["x500_unique_identifier"], leaf["computed_x500_unique_identifier"]);
    assert_eq!(json["files"][2]["items"][0]["certificate_sha256"], fingerprint);
    assert_eq!(json["summary"]["failure"], 0);

    let pem = svid.key_pem();
    for secret in pem.lines().filter(|line| !line.starts_with("---")) {
        assert!(!text.contains(secret) && !json.to_string().contains(secret), "key material");
    }
}

#[test]
fn what_does_not_belong_together_is_named() {
    let authority = Authority::new("example.org", true).unwrap();
    let stranger = Authority::new("example.org", true).unwrap();
    let issue = |entry: Entry| authority.issue(&entry).unwrap();
    let entry = || Entry::new(ID).dns("db");
    let good = issue(entry());
    let mut other_key = good.clone();
    other_key.key = issue(entry()).key;
    let mut other_bundle = good.clone();
    other_bundle.bundle = vec![stranger.root().to_vec()];
    let mut reversed = good.clone();
    reversed.chain.reverse();
    let mut without_intermediate = good.clone();
    without_intermediate.chain.truncate(1);
    let hour = Duration::from_secs(3600);
    for (what, svid, status, wanted) in [
        ("good", good.clone(), 0, "0 failures, 0 warnings"),
        ("key", other_key, 1, "does not belong to the leaf in"),
        (
            "bundle",
            other_bundle,
            1,
            "the leaf and the bundle do not belong together: no authority of",
        ),
        ("order", reversed, 1, "the leaf is not the first certificate"),
        ("intermediate", without_intermediate, 1, "or an intermediate is missing"),
        ("expired", issue(entry().with(Flaw::Expired(hour))), 1, "failure  the leaf expired at "),
        ("future", issue(entry().with(Flaw::NotYetValid(hour))), 1, "the leaf is valid only from "),
        (
            "URIs",
            issue(entry().with(Flaw::SecondUri("spiffe://a/b".to_owned()))),
            0,
            "has 2 URI names",
        ),
        ("usage", issue(entry().with(Flaw::NoDigitalSignature)), 0, "lacks digitalSignature"),
        ("bare", issue(Entry::new(ID)), 0, "is shared by all workloads"),
        ("no name", issue(Entry::new(ID).unique_id(true)), 0, "the SVID has no DNS name"),
    ] {
        let (found, text) = run(&[set(&svid).path()], &[]);
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let wanted = wanted.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(&wanted), "{what}: {wanted:?} is missing: {text}");
        assert_eq!(found, status, "{what}: {text}");
    }

    // --bundle replaces what lies there.
    let files = set(&good);
    let foreign = files.write("foreign", stranger.root_pem(), 0o644);
    let bundle = format!("--bundle={}", foreign.display());
    let (status, text) = run(&[Path::new(&bundle), files.path()], &[]);
    assert!(status == 1 && text.contains("do not belong together"), "{text}");
}

#[test]
fn without_a_path_the_published_set_is_meant() {
    let svid =
        Authority::new("example.org", false).unwrap().issue(&Entry::new(ID).dns("db")).unwrap();
    let files = set(&svid);
    files.write("pg_service.conf", "[db]\n", 0o644);
    let directory = shown(files.path());
    let (status, text) = run::<&str>(&[], &[("PGSVID_DIRECTORY", &directory)]);
    assert!(status == 0 && text.contains(ID) && !text.contains("pg_service.conf"), "{text}");
    let toml = format!("[files]\ndirectory = '{directory}'\n");
    let config = files.write("pgsvid.toml", toml, 0o644);
    let (status, text) = run(&["--config", &shown(&config)], &[]);
    assert!(status == 0 && text.contains(ID), "{text}");
    // A directory may hold other things; a file that is named may not.
    let (status, text) = run(&[files.path()], &[]);
    assert!(status == 0 && text.contains("skipped") && text.contains("pg_service.conf"), "{text}");
    assert_eq!(run(&[files.join("pg_service.conf")], &[]).0, 1);

    files.write("pgsvid.toml", "[filez]\n", 0o644);
    assert_eq!(run(&["--config", &shown(&config)], &[]).0, 2);
    assert_eq!(run::<&str>(&[], &[]).0, 2);
    assert_eq!(run(&["--no-such-flag"], &[]).0, 2);
    assert_eq!(run(&["--format", "yaml", "x"], &[]).0, 2);
}

/// Runs `pgsvid inspect`: its exit status, and what it prints.
fn run<A: AsRef<std::ffi::OsStr>>(arguments: &[A], variables: &[(&str, &str)]) -> (i32, String) {
    let arguments =
        [std::ffi::OsStr::new("inspect")].into_iter().chain(arguments.iter().map(AsRef::as_ref));
    let program = Program::spawn(PGSVID, arguments, variables);
    let status = program.wait_exit(LIMIT).code().expect("no signal ended it");
    let error = program.standard_error();
    assert!(!error.contains("panicked"), "{error}");
    (status, program.standard_output())
}

/// The three files, as pgsvid publishes them.
fn set(svid: &Svid) -> Directory {
    let files = Directory::new();
    files.write("svid.pem", svid.chain_pem(), 0o644);
    files.write("svid_bundle.pem", svid.bundle_pem(), 0o644);
    files.write("svid_key.pem", svid.key_pem(), 0o600);
    files
}

fn openssl(arguments: &[&str]) -> String {
    String::from_utf8(test_support::openssl(arguments, "")).unwrap()
}

fn shown(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
