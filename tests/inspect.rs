//! `pgsvid inspect`: real files, real logins with the names that it prints, and whatever else a path may lead to.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use dev_agent::{Authority, Entry, Flaw, KeyType, Svid};
use serde_json::Value;
use test_support::{Cluster, Directory, LIMIT, Program};

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
fn every_encoding_of_a_key_is_read_or_converted() {
    let authority = Authority::new("example.org", false).unwrap();
    // Ed25519 has one encoding only.
    for kind in [KeyType::EcP256, KeyType::EcP384, KeyType::Rsa2048] {
        let svid = authority.issue(&Entry::new(ID).dns("db").key_type(kind)).unwrap();
        let files = set(&svid);
        let key = shown(&files.join("svid_key.pem"));
        let file = |name: &str| shown(&files.join(name));
        openssl(&["pkey", "-in", &key, "-traditional", "-out", &file("a.pem")]);
        openssl(&["pkey", "-in", &key, "-traditional", "-outform", "DER", "-out", &file("a.der")]);
        openssl(&[
            "pkcs8",
            "-topk8",
            "-nocrypt",
            "-in",
            &key,
            "-outform",
            "DER",
            "-out",
            &file("b.der"),
        ]);
        files.write("svid.der", svid.leaf(), 0o644);
        readable(&files);
        for name in ["a.pem", "a.der", "b.der"] {
            let (status, text) = run(&[&files.join("svid.der"), &files.join(name)], &[]);
            assert_eq!(status, 0, "{kind:?} {name}: {text}");
            assert!(text.contains("belongs to the leaf"), "{kind:?} {name}: {text}");
        }
    }

    let svid = authority.issue(&Entry::new(ID).dns("db")).unwrap();
    let files = set(&svid);
    let file = |name: &str| shown(&files.join(name));
    let (key, leaf) = (file("svid_key.pem"), file("svid.pem"));
    let pass = ["-passout", "pass:secret"];
    openssl(
        &[&["pkcs8", "-topk8", "-in", &key, "-out", &file("encrypted.pem")], &pass[..]].concat(),
    );
    openssl(
        &[
            &["pkcs8", "-topk8", "-in", &key, "-outform", "DER", "-out", &file("encrypted.der")],
            &pass[..],
        ]
        .concat(),
    );
    openssl(&[&["ec", "-aes128", "-in", &key, "-out", &file("old.pem")], &pass[..]].concat());
    openssl(
        &[
            &["pkcs12", "-export", "-inkey", &key, "-in", &leaf, "-out", &file("it's.p12")],
            &pass[..],
        ]
        .concat(),
    );
    openssl(&["crl2pkcs7", "-nocrl", "-certfile", &leaf, "-out", &file("set.p7b")]);
    openssl(&[
        "crl2pkcs7",
        "-nocrl",
        "-certfile",
        &leaf,
        "-outform",
        "DER",
        "-out",
        &file("set.p7c"),
    ]);
    openssl(&["x509", "-in", &leaf, "-trustout", "-out", &file("trusted.pem")]);
    openssl(&["req", "-new", "-key", &key, "-subj", "/CN=db", "-out", &file("request.pem")]);
    openssl(&["pkey", "-in", &key, "-pubout", "-out", &file("public.pem")]);
    readable(&files);
    for (name, words, password) in [
        ("encrypted.pem", "keys with a passphrase are not supported", true),
        ("encrypted.der", "keys with a passphrase are not supported", true),
        ("old.pem", "keys with a passphrase are not supported", true),
        ("it's.p12", "PKCS#12 is not supported", true),
        ("set.p7b", "PKCS#7 is not supported", false),
        ("set.p7c", "PKCS#7 is not supported", false),
        ("trusted.pem", "OpenSSL's trust settings are not supported", false),
        ("request.pem", "an authority has to sign it first", false),
        ("public.pem", "a public key without a certificate", false),
    ] {
        let (status, text) = run(&[&files.join(name)], &[]);
        assert!(status == 1 && text.contains(words), "{name}: {text}");
        // The remedy is a command, and what it makes can be inspected.
        let Some((_, remedy)) = text.split_once("fix: ") else {
            assert!(["request.pem", "public.pem"].contains(&name), "{name}: {text}");
            continue;
        };
        let mut remedy = remedy.lines().next().unwrap().to_owned();
        let output = remedy.rsplit(' ').next().unwrap().to_owned();
        if password {
            remedy.push_str(" -passin pass:secret");
        }
        let directory = tempfile::tempdir().unwrap();
        let done =
            Command::new("sh").args(["-c", &remedy]).current_dir(&directory).output().unwrap();
        assert!(done.status.success(), "{remedy}: {done:?}");
        let converted = std::fs::read(directory.path().join(output)).unwrap();
        let items = pgsvid::material::reading::read(&converted);
        assert!(items.iter().any(Result::is_ok), "{remedy}: {items:?}");
    }
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

#[test]
fn whatever_a_path_leads_to_has_its_sentence() {
    let svid =
        Authority::new("example.org", false).unwrap().issue(&Entry::new(ID).dns("db")).unwrap();
    let files = Directory::new();
    let pem = svid.chain_pem();
    let mut random = Random(7);
    let garbage: Vec<u8> = (0..5000).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
    let _socket = std::os::unix::net::UnixListener::bind(files.join("socket")).unwrap();
    assert!(Command::new("mkfifo").arg(files.join("fifo")).status().unwrap().success());
    let huge = std::fs::File::create(files.join("huge")).unwrap();
    huge.set_len(1 << 34).unwrap();
    files.subdirectory("directory");
    std::os::unix::fs::symlink(files.join("loop"), files.join("loop")).unwrap();
    files.write("secret", &pem, 0o000);
    for (name, content) in [
        ("empty", &b""[..]),
        ("random", &garbage),
        ("zeros", &[0; 4096]),
        ("half", &pem.as_bytes()[..pem.len() / 2]),
        ("header", b"-----BEGIN CERTIFICATE-----\n"),
        ("label", b"-----BEGIN \x1b[31mTHING-----\nAAAA\n-----END THING-----\n"),
        ("base64", b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n"),
        ("no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ("no key", b"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"),
        ("half.der", &svid.leaf()[..100]),
        ("store.jks", b"\xfe\xed\xfe\xed\x00\x00\x00\x02"),
    ] {
        files.write(name, content, 0o644);
    }
    for (name, words) in [
        ("empty", "it is empty"),
        ("random", "it holds neither PEM nor DER"),
        ("zeros", "it holds neither PEM nor DER"),
        ("half", "PEM block 1 (CERTIFICATE) is cut off or broken"),
        ("header", "PEM block 1 (CERTIFICATE) is cut off or broken"),
        ("label", "PEM block 1 (\\u{1b}[31mTHING) is neither a certificate nor a private key"),
        ("base64", "PEM block 1 (CERTIFICATE) is cut off or broken"),
        ("no certificate", "certificate 1 is no X.509 certificate in DER"),
        ("no key", "its private key is broken, or of a type that is not supported"),
        ("half.der", "certificate 1 is no X.509 certificate in DER"),
        ("store.jks", "Java key stores are not supported"),
        ("fifo", "it is no regular file"),
        ("socket", "it cannot be read: No such device or address"),
        ("huge", "it is larger than 16 MiB"),
        ("directory", "the directory holds no files"),
        ("loop", "it cannot be read: Too many levels of symbolic links"),
        ("missing", "there is no such file"),
        ("secret", "permission denied"),
        ("empty/x", "it cannot be read: Not a directory"),
    ] {
        let (status, text) = run(&[files.join(name)], &[]);
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(words), "{name}: {text}");
        assert_eq!(status, 1, "{name}: {text}");
        assert!(!text.contains('\x1b'), "{name}: {text}");
    }
}

#[test]
fn no_mutation_of_good_input_makes_it_panic() {
    let authority = Authority::new("example.org", true).unwrap();
    let svid = authority.issue(&Entry::new(ID).dns("db").unique_id(true)).unwrap();
    let whole = [svid.chain_pem(), svid.key_pem(), svid.bundle_pem()].concat();
    let good = [whole.into_bytes(), svid.leaf().to_vec(), svid.chain.concat(), svid.key.clone()];
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mutated");
    let request = pgsvid::doctor::inspect::Request { paths: vec![path.clone()], bundle: None };
    let mut random = Random(0x5eed);
    let mut readable = 0;
    for round in 0..4000_usize {
        let mut bytes = good[round % good.len()].clone();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            match random.below(4) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at] = u8::try_from(random.below(256)).unwrap(),
                2 => bytes.truncate(at.max(1)),
                _ => {
                    let from = random.below(bytes.len());
                    let piece = bytes[from..(from + 40).min(bytes.len())].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
        }
        std::fs::File::create(&path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, &bytes))
            .unwrap();
        let now = svid.not_before + Duration::from_secs(20);
        let found = pgsvid::doctor::inspect::inspect(&request, now);
        assert!(!found.text(false).is_empty());
        let json: Value = serde_json::from_str(&found.json()).unwrap();
        let items = json["files"][0]["items"].as_array().unwrap();
        assert!(!items.is_empty());
        readable += usize::from(items.iter().any(|item| item["kind"] == "certificate"));
    }
    // Enough of them get past the first check to mean something.
    assert!((500..4000).contains(&readable), "{readable}");
}

#[test]
fn the_printed_name_lets_its_owner_in_and_nobody_else() {
    let authority = Authority::new("example.org", false).unwrap();
    let issue = |entry: Entry| authority.issue(&entry).unwrap();
    let server = issue(Entry::new(ID).dns("localhost"));
    let files = set(&server);

    // Two SVIDs, and two people whose names are harder to write.
    let clients = [
        set(&issue(Entry::new("spiffe://example.org/app1").dns("dbclient").unique_id(true))),
        set(&issue(Entry::new("spiffe://example.org/app2").unique_id(true))),
        person("/C=US/O=Acme, Inc./CN= a\"b\\\\c;#\\+x "),
        person("/C=DE/O=Müller <& Söhne>+OU=#1/CN=日本/emailAddress=a@b.example"),
    ];
    let people: String = clients[2..]
        .iter()
        .map(|client| std::fs::read_to_string(client.join("svid.pem")).unwrap())
        .collect();
    files.write("svid_bundle.pem", server.bundle_pem() + &people, 0o644);

    let mut ident = String::new();
    for (number, client) in clients.iter().enumerate() {
        let (_, text) = run(&[client.join("svid.pem")], &[]);
        let line =
            text.lines().find_map(|line| line.trim_start().strip_prefix("DN ")).expect(&text);
        ident.push_str(&["spiffe ", line, " role", &number.to_string(), "\n"].concat());
    }
    let cluster = Cluster::builder()
        .tls_files(files.path())
        .hba("hostssl all all 127.0.0.1/32 cert clientname=DN map=spiffe")
        .ident(&ident)
        .start();
    for number in 0..clients.len() {
        cluster.sql("postgres", "postgres", &format!("CREATE ROLE role{number} LOGIN"));
    }
    for (number, client) in clients.iter().enumerate() {
        for role in 0..clients.len() {
            let output = cluster
                .psql()
                .env("PGHOST", "127.0.0.1")
                .env("PGSSLMODE", "require")
                .env("PGSSLCERT", client.join("svid.pem"))
                .env("PGSSLKEY", client.join("svid_key.pem"))
                .user(&format!("role{role}"))
                .database("postgres")
                .script("SELECT current_user")
                .run();
            assert_eq!(
                output.status.success(),
                number == role,
                "{number} as {role}: {}\n{ident}",
                output.stderr
            );
        }
    }
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

/// A certificate of somebody's own, with this subject.
fn person(subject: &str) -> Directory {
    let files = Directory::new();
    let (certificate, key) = (shown(&files.join("c")), shown(&files.join("k")));
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
        "-utf8",
        "-multivalue-rdn",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-subj",
        subject,
        "-out",
        &certificate,
        "-keyout",
        &key,
    ]);
    files.write("svid.pem", std::fs::read(certificate).unwrap(), 0o644);
    files.write("svid_key.pem", std::fs::read(key).unwrap(), 0o600);
    files
}

/// Hands what openssl wrote to the account that pgsvid runs as.
fn readable(files: &Directory) {
    for entry in std::fs::read_dir(files.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        files.write(&name, std::fs::read(&path).unwrap(), 0o600);
    }
}

fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).output().expect("openssl is installed");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn shown(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// The same numbers in each run (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }
}
