//! A93, A94: maps of `pg_ident.conf` that let in unintended workloads, or make them superusers, where `check` reported that
//! they do not.

use dev_agent::Entry;
use test_support::{Account, Directory, LIMIT, Setup, eventually};

use crate::attacks::endless::{started, texts};
use crate::attacks::planted_texts::report;

/// What is said where each workload is named.
const NAMED: &str = "no map admits a workload that it does not name";
const ADMINISTRATOR: [&str; 2] = ["--user", "postgres"];

/// Gives the server these lines, beside those that let in pgsvid and the test.
fn write(setup: &Setup, hba: &str, ident: &str) {
    let name = Account::server().name();
    let ours = format!("pgsvid {name} pgsvid\nadministration {name} postgres\n");
    setup.cluster.write_file("pg_ident.conf", &format!("{ours}{ident}\n"));
    let ours = "local postgres pgsvid peer map=pgsvid\nlocal all postgres peer map=administration";
    setup.cluster.write_file("pg_hba.conf", &format!("{ours}\n{hba}\n"));
    setup.cluster.reload();
}

/// Waits until a workload of that name is let in as the role.
fn is_let_in(setup: &Setup, dns: &str, role: &str) {
    let svid = setup.agent.issue(&Entry::new("spiffe://example.org/evil").dns(dns)).unwrap();
    let directory = Directory::new();
    directory.write("svid.pem", svid.chain_pem(), 0o644);
    directory.write("svid_key.pem", svid.key_pem(), 0o600);
    directory.write("svid_bundle.pem", svid.bundle_pem(), 0o644);
    eventually(LIMIT, "the workload is let in", || {
        let client = setup.cluster.client(directory.path(), role, "dbname=postgres");
        client.script("SELECT current_user").run().stdout == role
    });
}

#[test]
fn a93_where_nobody_can_list_the_names_of_a_map_no_map_is_called_well() {
    let setup = started();
    setup.cluster.sql("postgres", "postgres", "CREATE ROLE web LOGIN; CREATE ROLE \"SPIRE\" LOGIN");
    let hba = "hostssl all all all cert clientname=DN map=m";
    for (line, impostor, role) in [
        (
            "m \"/^(x500UniqueIdentifier=[0-9a-f]*,)?CN=web.example,O=SPIRE,C=US$\" web",
            "webxexample",
            "web",
        ),
        ("m \"/^CN=(web|api).example,O=SPIRE,C=US$\" web", "webxexample", "web"),
        (r#"m "/^CN=([^.,]+)[^,]*,O=SPIRE,C=US$" \1"#, "postgres.evil.example", "postgres"),
        ("m \"/^CN=[a-z]{1,7},O=SPIRE,C=US$\" web", "evil", "web"),
        (r#"m "/^.*(web).*$" \1"#, "evil-web", "web"),
        (r#"m "/^.*O=(SPIRE).*$" \1"#, "evil", "SPIRE"),
    ] {
        write(&setup, hba, line);
        is_let_in(&setup, impostor, role);
        for more in [&[][..], &ADMINISTRATOR] {
            let report = report(Account::server(), &setup, more);
            assert!(!texts(&report, "ok").contains(NAMED), "{line}: {report:#}");
            let skipped = texts(&report, "skipped");
            assert!(skipped.contains("which names it admits as role"), "{line}: {report:#}");
        }
    }
    // The last one lets in every workload as one role.
    let failures = texts(&report(Account::server(), &setup, &[]), "failure");
    assert!(failures.contains("admits every workload as role"), "{failures}");
    for line in [
        "m \"/^(x500UniqueIdentifier=[0-9a-f]*,)?CN=web[.]example,O=SPIRE,C=US$\" web",
        "m \"/^CN=(web|api)[.]example,O=SPIRE,C=US$\" web",
        r#"m "/^CN=(web),O=SPIRE,C=US$" \1"#,
        "m \"CN=web,O=SPIRE,C=US\" web",
    ] {
        write(&setup, hba, line);
        for more in [&[][..], &ADMINISTRATOR] {
            let report = report(Account::server(), &setup, more);
            assert!(texts(&report, "ok").contains(NAMED), "{line}: {report:#}");
        }
    }
}

#[test]
fn a94_each_line_that_lets_a_workload_be_a_superuser_is_reported_and_the_remedy_ends_it() {
    let setup = started();
    let warnings = |more: &[&str]| texts(&report(Account::server(), &setup, more), "warning");
    // The first line about the superuser belongs to a map that nobody asks about it.
    let hba = "hostssl all app all cert clientname=DN map=a\nhostssl all postgres all cert clientname=DN map=b";
    write(
        &setup,
        hba,
        "a \"CN=somebody,O=SPIRE,C=US\" postgres\nb \"CN=evil.example,O=SPIRE,C=US\" postgres",
    );
    is_let_in(&setup, "evil.example", "postgres");
    for more in [&[][..], &ADMINISTRATOR] {
        let found = warnings(more);
        assert!(found.contains("line 4 lets CN=evil.example,O=SPIRE,C=US log in"), "{found}");
        assert!(!found.contains("somebody"), "{found}");
    }
    let hba = "hostssl all all all cert clientname=DN map=b";
    write(&setup, hba, r#"b "/^CN=(postgres|app)[.]evil[.]example,O=SPIRE,C=US$" "\1""#);
    is_let_in(&setup, "postgres.evil.example", "postgres");
    let found = warnings(&[]);
    assert!(found.contains("as superuser postgres: that workload has all rights"), "{found}");

    let ident = r#"b "/^CN=([a-z]*)[.]evil[.]example,O=SPIRE,C=US$" \1"#;
    write(&setup, hba, ident);
    is_let_in(&setup, "postgres.evil.example", "postgres");
    let before = report(Account::server(), &setup, &[]);
    let sections = before["sections"].as_array().unwrap();
    let findings = sections.iter().flat_map(|section| section["findings"].as_array().unwrap());
    let fix = findings
        .filter(|finding| finding["text"].as_str().unwrap().contains("may let a workload log in"))
        .find_map(|finding| finding["fix"].as_str())
        .unwrap_or_else(|| panic!("{before:#}"));
    assert!(fix.contains("above pg_hba.conf line 3"), "{fix}");
    // The line as it is printed.
    let line = fix.split('`').nth(1).unwrap();
    write(&setup, &format!("{line}\n{hba}"), ident);
    let after = warnings(&[]);
    assert!(!after.contains("by its certificate as superuser"), "{after}");
}
