//! E07: what `check` says about drivers.

use dev_agent::{DevAgent, Entry, KeyType};
use serde_json::Value;
use test_support::{Directory, LIMIT, Program};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");

struct Client {
    agent: DevAgent,
    files: Directory,
    other: Directory,
}

impl Client {
    fn new() -> Self {
        let (files, other) = (Directory::new(), Directory::new());
        let entry = Entry::new("spiffe://example.org/app").dns("app");
        let agent = DevAgent::builder(other.join("agent.sock")).entry(entry).automatic(false);
        let agent = agent.start().unwrap();
        other.write("password", "secret\n", 0o600);
        Self { agent, files, other }
    }

    fn run(&self, command: &str, tables: &str) -> Program {
        let text = format!(
            "[workload_api]\nendpoint = '{}'\n[files]\ndirectory = '{}'\n{}",
            self.agent.endpoint(),
            self.files.path().display(),
            tables.replace("PASSWORD", &self.other.join("password").display().to_string())
        );
        let file = self.other.write("pgsvid.toml", text, 0o644).display().to_string();
        let arguments = command.split(' ').chain(["--config", &file]);
        let program = Program::spawn(PGSVID, arguments, &[]);
        program.wait_exit(LIMIT);
        program
    }

    /// The severities and texts of the findings with this code, after a publication.
    fn checked(&self, tables: &str, code: &str) -> Vec<(String, String)> {
        let fetched = self.run("fetch", tables);
        assert_eq!(fetched.wait_exit(LIMIT).code(), Some(0), "{}", fetched.standard_error());
        found(&self.run("check --format json", tables), code)
    }
}

fn found(check: &Program, code: &str) -> Vec<(String, String)> {
    let report: Value = serde_json::from_str(&check.standard_output())
        .unwrap_or_else(|error| panic!("{error}: {}", check.standard_error()));
    let sections = report["sections"].as_array().unwrap().iter();
    let findings = sections.flat_map(|section| section["findings"].as_array().unwrap());
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    findings
        .filter(|finding| finding["code"] == code)
        .map(|finding| (text(finding, "severity"), text(finding, "text")))
        .collect()
}

const DER: &str = "[[files.extra]]\nname = 'svid_key.pk8'\ncontent = 'der-key'\n";
const STORE: &str =
    "[[files.extra]]\nname = 'svid.p12'\ncontent = 'pkcs12'\npassword_file = 'PASSWORD'\n";

#[test]
fn e07_check_says_which_drivers_a_section_serves() {
    let client = Client::new();
    let section = |key: &str| format!("[[files.service]]\nname = 'db'\noptions.host = 'db'\n{key}");
    for (key, served, other) in [
        ("", "libpq, pgx, lib/pq and asyncpg", "pemKeyAlgorithm=EC"),
        ("private_key = 'svid_key.pk8'\n", "libpq and pgjdbc", "pgx, lib/pq and asyncpg need"),
        ("private_key = 'svid.p12'\n", "pgjdbc only", "sslpassword"),
    ] {
        let tables = format!("{DER}{STORE}{}", section(key));
        let findings = client.checked(&tables, "service-drivers");
        let [(severity, text)] = &findings[..] else { panic!("{findings:?}") };
        assert!(severity == "ok" && text.contains(served) && text.contains(other), "{text}");
        assert!(client.checked(&tables, "pgjdbc-refuses").is_empty(), "{key}");
    }
    // The option is for keys of an elliptic curve only.
    let entry = Entry::new("spiffe://example.org/app").dns("app").key_type(KeyType::Rsa2048);
    client.agent.set_entries([entry]).unwrap();
    let findings = client.checked(&section(""), "service-drivers");
    assert!(!findings[0].1.contains("pemKeyAlgorithm"), "{findings:?}");
    // Two files, of which each has a section for its readers.
    let two = format!(
        "{DER}{}[[files.service]]\nname = 'db'\nfile = 'java.conf'\nprivate_key = 'svid_key.pk8'\noptions.host = 'db'\n",
        section("")
    );
    assert_eq!(client.checked(&two, "service-drivers").len(), 2);
    assert_eq!(client.checked(&two, "service-file").len(), 2);
}

#[test]
fn e07_a_name_an_alias_or_a_keyword_that_keeps_pgjdbc_away_is_a_warning() {
    let client = Client::new();
    let service = "[[files.service]]\nname = 'db'\n";
    for tables in [
        STORE.replace("svid.p12", "svid.store"),
        format!("{}{service}private_key = 'svid.store'\n", STORE.replace("svid.p12", "svid.store")),
        format!("{STORE}alias = 'spiffe'\n"),
        format!("{}{service}private_key = 'key.pem'\n", DER.replace("svid_key.pk8", "key.pem")),
        format!("{}{service}private_key = 'key.key'\n", DER.replace("svid_key.pk8", "key.key")),
        format!("{}{service}private_key = 'key.p12'\n", DER.replace("svid_key.pk8", "key.p12")),
        format!(
            "{DER}{service}private_key = 'svid_key.pk8'\noptions = {{ host = 'db', hostaddr = '127.0.0.1' }}\n"
        ),
    ] {
        let findings = client.checked(&tables, "pgjdbc-refuses");
        assert_eq!(findings.len(), 1, "{tables}: {findings:?}");
        assert_eq!(findings[0].0, "warning");
    }
    for tables in [STORE.replace("svid.p12", "svid.PFX"), format!("{STORE}alias = 'User'\n")] {
        assert!(client.checked(&tables, "pgjdbc-refuses").is_empty(), "{tables}");
    }
}

/// Nothing shows that all clients use the store.
#[test]
fn e07_a_store_for_java_says_nothing_about_clients_of_libpq() {
    let client = Client::new();
    for (tables, severity) in [("", "warning"), (DER, "warning"), (STORE, "skipped")] {
        let findings = client.checked(tables, "service-file-not-configured");
        assert!(findings.len() == 1 && findings[0].0 == severity, "{tables}: {findings:?}");
    }
}

#[test]
fn e02_check_names_the_password_file_that_keeps_the_next_set_away() {
    let client = Client::new();
    assert!(client.checked(STORE, "store-password-unusable").is_empty());
    client.other.write("password", "", 0o600);
    let findings = found(&client.run("check --format json", STORE), "store-password-unusable");
    let [(severity, text)] = &findings[..] else { panic!("{findings:?}") };
    let path = client.other.join("password").display().to_string();
    assert!(severity == "failure" && text.contains(&path), "{text}");
}
