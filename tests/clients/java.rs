//! Rows E: Java's key stores, and pgjdbc, as Debian packages them.

use std::path::Path;

use dev_agent::{Authority, Entry, KeyType};
use pgsvid::material::pkcs12::{self, Password};
use pgsvid::material::{Certificate, PrivateKey};
use test_support::{Directory, LIMIT, Program, Setup, openssl};

use crate::both::{Both, ROLE, psql};

const JAVA: &str = "/usr/bin/java";
/// Of Debian's libpostgresql-jdbc-java, which scripts/test installs.
const PGJDBC: &str = "/usr/share/java/postgresql.jar";
const SOURCE: &str = include_str!("Jdbc.java");
const PASSWORD: &str = "secret and more";

/// Starts the program of Jdbc.java with these arguments; `properties` are for the virtual machine.
fn java(directory: &Directory, properties: &[&str], arguments: &[&str]) -> Program {
    let source = directory.write("Jdbc.java", SOURCE, 0o644);
    let source = source.display().to_string();
    let jar = std::env::var("PGSVID_PGJDBC").unwrap_or_else(|_| PGJDBC.to_owned());
    assert!(Path::new(&jar).exists(), "no {jar}: scripts/test installs it");
    let fixed = ["-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", &jar];
    let all = [&fixed[..], properties, &[&source], arguments].concat();
    Program::spawn(JAVA, all, &[])
}

#[track_caller]
fn output(directory: &Directory, arguments: &[&str]) -> String {
    let program = java(directory, &[], arguments);
    let status = program.wait_exit(LIMIT);
    assert!(status.success(), "{}", program.standard_error());
    program.standard_output()
}

#[test]
fn e01_java_reads_key_chain_and_authorities_and_what_java_writes_inspect_reads() {
    for (kind, name) in [(KeyType::EcP256, "EC"), (KeyType::Rsa2048, "RSA")] {
        let authority = Authority::new("example.org", true).unwrap();
        let entry = Entry::new("spiffe://example.org/app").dns("app").key_type(kind);
        let svid = authority.issue(&entry).unwrap();
        let parsed = |list: &[Vec<u8>]| {
            list.iter().map(|der| Certificate::parse(der).unwrap()).collect::<Vec<_>>()
        };
        let key = PrivateKey::new(svid.key.clone().into());
        let password = Password::parse(PASSWORD.as_bytes()).unwrap();
        let files = Directory::new();
        let store = pkcs12::key_store(&parsed(&svid.chain), &key, "user", &password).unwrap();
        let store = files.write("svid.p12", store.as_slice(), 0o600).display().to_string();
        let found = output(&files, &["key-store", &store, PASSWORD]);
        assert_eq!(found, format!("user {name} chain=2 own=true"));

        for password in [None, Some(&password)] {
            let trusted = pkcs12::trust_store(&parsed(&svid.bundle), password).unwrap();
            let path = files.write("trust.p12", trusted.as_slice(), 0o644).display().to_string();
            let given = password.map(|_| PASSWORD);
            let arguments: Vec<&str> = ["trust-store", &path].into_iter().chain(given).collect();
            assert_eq!(output(&files, &arguments), "trusted=1\naccepted=1");
        }
    }
}

/// Without Oracle's attribute Java finds no entry: that is what `inspect` warns of.
#[test]
fn e08_java_trusts_nothing_of_a_store_that_openssl_wrote_and_inspect_says_so() {
    let authority = Authority::new("example.org", false).unwrap();
    let files = Directory::new();
    let root = files.write("root.pem", authority.root_pem(), 0o644).display().to_string();
    let arguments =
        ["pkcs12", "-export", "-nokeys", "-in", &root, "-passout", "pass:secret and more"];
    let store = files.write("openssl.p12", openssl(&arguments, ""), 0o644);
    let store = store.display().to_string();
    assert_eq!(output(&files, &["trust-store", &store, PASSWORD]), "trusted=0\naccepted=0");
    let password = files.write("password", PASSWORD, 0o600).display().to_string();
    let arguments = ["inspect", "--format", "json", "--password-file", &password, &store];
    let inspect = Program::spawn(env!("CARGO_BIN_EXE_pgsvid"), arguments, &[]);
    assert!(inspect.wait_exit(LIMIT).success());
    let json: serde_json::Value = serde_json::from_str(&inspect.standard_output()).unwrap();
    assert!(json.to_string().contains("\"store-untrusted\""), "{json:#}");

    // keytool's own store has the attribute.
    let own = files.join("keytool.p12").display().to_string();
    let keytool = Program::spawn(
        "/usr/bin/keytool",
        [
            "-importcert",
            "-noprompt",
            "-alias",
            "root",
            "-file",
            &root,
            "-keystore",
            &own,
            "-storetype",
            "PKCS12",
            "-storepass",
            PASSWORD,
        ],
        &[],
    );
    assert!(keytool.wait_exit(LIMIT).success(), "{}", keytool.standard_error());
    let arguments = ["inspect", "--format", "json", "--password-file", &password, &own];
    let inspect = Program::spawn(env!("CARGO_BIN_EXE_pgsvid"), arguments, &[]);
    assert!(inspect.wait_exit(LIMIT).success());
    let json: serde_json::Value = serde_json::from_str(&inspect.standard_output()).unwrap();
    assert_eq!(json["files"][0]["items"][0]["trusted_by_java"], 1, "{json:#}");
    assert!(!json.to_string().contains("\"store-untrusted\""), "{json:#}");
}

/// The tables of a client for Java and for libpq.
fn tables(setup: &Setup) -> String {
    let password = setup.other.write("password", PASSWORD, 0o600);
    let port = setup.cluster.port();
    format!(
        "[[files.extra]]\nname = 'svid.p12'\ncontent = 'pkcs12'\npassword_file = '{}'\n\
         [[files.extra]]\nname = 'svid_key.pk8'\ncontent = 'der-key'\n\
         [[files.service]]\nname = 'products'\nprivate_key = 'svid_key.pk8'\n\
         options = {{ host = 'localhost', port = {port}, dbname = 'postgres', user = '{ROLE}' }}\n",
        password.display()
    )
}

/// Nothing fails while both sides rotate: through the store, which is one file, and through a service file that pgjdbc and libpq
/// share.
#[test]
fn e09_pgjdbc_connects_through_a_store_and_a_service_file_while_sets_are_swapped() {
    let mut both = Both::start_with_tables(tables);
    let path = |name: &str| both.files.join(name).display().to_string();
    let url = format!(
        "jdbc:postgresql://localhost:{}/postgres?user={ROLE}&sslmode=verify-full&sslkey={}&sslpassword={}&sslrootcert={}",
        both.setup.cluster.port(),
        path("svid.p12"),
        PASSWORD.replace(' ', "%20"),
        path("svid_bundle.pem"),
    );
    let service = format!("-Dorg.postgresql.pgservicefile={}", path("pg_service.conf"));
    let directory = Directory::new();
    let stop = directory.join("stop").display().to_string();
    let by_store = java(&directory, &[], &["connect", &url, &stop]);
    let by_service =
        java(&directory, &[&service], &["connect", "jdbc:postgresql://?service=products", &stop]);
    let logged_in = format!("user={ROLE}");
    for client in [&by_store, &by_service] {
        client.wait_for(LIMIT, |line| line == logged_in || line.starts_with("error="));
    }
    for _ in 0..20 {
        both.rotate();
        let output = psql(&both.files.join("pg_service.conf")).script("SELECT user").run();
        assert_eq!(output.stdout, ROLE, "{output:?}");
    }
    directory.write("stop", "", 0o644);
    for (client, what) in [(by_store, "a store"), (by_service, "a service file")] {
        assert!(client.wait_exit(LIMIT).success(), "{}", client.standard_error());
        let said = client.standard_output();
        let counts = said.lines().last().unwrap();
        println!("pgjdbc through {what}, during 20 rotations: {counts}");
        assert!(counts.ends_with("failed=0") && !counts.contains("succeeded=0"), "{said}");
    }
}
