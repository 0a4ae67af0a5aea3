//! B20: a line of `cert` without a map lets a name log in as a superuser.

use dev_agent::{Authority, Entry};
use test_support::{Account, LIMIT, Psql, Setup, eventually};

use crate::judged::{PGSVID, check, found, hba, lines, one, start, started_with};

/// Whether a workload of that DNS name is that superuser.
fn is_superuser(setup: &Setup, authority: &Authority) -> bool {
    let svid = authority.issue(&Entry::new("spiffe://example.org/x").dns("postgres")).unwrap();
    let certificate = setup.other.write("client.pem", svid.chain_pem(), 0o644);
    let key = setup.other.write("client_key.pem", svid.key_pem(), 0o600);
    let account = Account::server();
    std::os::unix::fs::chown(&key, Some(account.uid()), Some(account.gid())).unwrap();
    let place = format!(
        "host=127.0.0.1 port={} dbname=postgres user=postgres sslmode=require sslcert={} sslkey={}",
        setup.cluster.port(),
        certificate.display(),
        key.display()
    );
    Psql::new().arg(place).script("SELECT 1").run().status.success()
}

#[test]
fn b20_a_general_line_of_cert_lets_a_name_be_a_superuser_and_the_remedy_ends_it() {
    let general = "hostssl all all 127.0.0.1/32 cert";
    let setup = started_with(general);
    let authority = setup.agent.authority();
    assert!(is_superuser(&setup, &authority));
    let report = check(&setup, &[]);
    let finding = one(&report, "warning", "superuser-by-certificate");
    let printed = lines(finding);
    // Above the line, as it says.
    hba(&setup, &format!("{}\n{general}", printed[0]));
    eventually(LIMIT, "nobody is a superuser by a name", || !is_superuser(&setup, &authority));
    let report = check(&setup, &[]);
    assert!(found(&report, "warning", "superuser-by-certificate").is_empty(), "{report:#}");
    // A line that names the roles.
    hba(&setup, "hostssl all app 127.0.0.1/32 cert");
    let report = check(&setup, &[]);
    assert!(found(&report, "warning", "superuser-by-certificate").is_empty(), "{report:#}");
}

#[test]
fn b20_the_servers_own_certificate_as_a_superusers_is_reported() {
    let setup = started_with("hostssl all all 127.0.0.1/32 cert");
    crate::judged::admin(&setup, "CREATE ROLE localhost LOGIN SUPERUSER");
    let report = check(&setup, &[]);
    let text = one(&report, "warning", "superuser-by-certificate")["text"].to_string();
    assert!(text.contains("published certificate itself"), "{text}");
}

/// Clients of other machines cannot prove a server without a name, however well all else is.
#[test]
fn n10_a_server_for_others_without_a_name_is_a_failure() {
    let setup = Setup::builder(PGSVID)
        .cluster(|cluster| {
            cluster.conf("listen_addresses = '0.0.0.0'").hba("hostssl all app 127.0.0.1/32 cert")
        })
        .create();
    setup.agent.set_entries([Entry::new(Setup::SPIFFE_ID)]).unwrap();
    start(&setup);
    let report = check(&setup, &[]);
    let finding = one(&report, "failure", "svid-dns-name");
    let command = finding["command"].as_str().unwrap();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let host = host.replace("(none)", "localhost");
    assert!(command.contains(&format!("entry show -spiffeID {}", Setup::SPIFFE_ID)), "{command}");
    assert!(command.contains(&format!(" -dns {};", host.trim())), "{command}");
    // It is said once.
    assert!(found(&report, "warning", "svid-dns-name").is_empty(), "{report:#}");
    // What the command does to the entry, tests/spire has SPIRE do.
    setup.agent.set_entries([Entry::new(Setup::SPIFFE_ID).dns(host.trim())]).unwrap();
    let report = check(&setup, &[]);
    assert!(found(&report, "failure", "svid-dns-name").is_empty(), "{report:#}");
}

/// The entry is gone: the command that makes it again holds all that is known of it, even of a set that has expired since.
#[test]
fn n12_a_deleted_entry_is_reported_with_the_whole_command() {
    let setup =
        Setup::builder(PGSVID).cluster(|cluster| cluster.hba("local all all peer")).create();
    let entry = Entry::new(Setup::SPIFFE_ID).dns("db.example").dns("db");
    setup.agent.set_entries([entry.ttl(std::time::Duration::from_secs(3))]).unwrap();
    let pgsvid = setup.spawn();
    setup.wait_published();
    setup.agent.remove_entries();
    let withdrawn = pgsvid.event("identity-withdrawn");
    let own = test_support::Account::server().uid();
    let wanted =
        format!("-spiffeID {} -selector unix:uid:{own} -dns db.example -dns db", Setup::SPIFFE_ID);
    assert!(withdrawn["command"].as_str().unwrap().ends_with(&wanted), "{withdrawn}");
    let expired = pgsvid.wait_for_event(test_support::LIMIT, |event| {
        event["event"] == "certificate-expires"
            && event["message"].as_str().is_some_and(|text| text.contains("has expired"))
    });
    assert!(expired["command"].as_str().unwrap().ends_with(&wanted), "{expired}");
    let report = check(&setup, &[]);
    let command = one(&report, "failure", "agent-not-registered")["command"].as_str().unwrap();
    assert!(command.ends_with(&wanted), "{command}");
}
