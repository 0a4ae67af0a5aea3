//! B20: a line of `cert` without a map lets a name be a superuser.

use dev_agent::{Authority, Entry};
use test_support::{Account, LIMIT, Psql, Setup, eventually};

use crate::judged::{check, found, hba, lines, one, started_with};

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
fn b20_the_servers_own_certificate_as_a_superusers_is_told() {
    let setup = started_with("hostssl all all 127.0.0.1/32 cert");
    crate::judged::admin(&setup, "CREATE ROLE localhost LOGIN SUPERUSER");
    let report = check(&setup, &[]);
    let text = one(&report, "warning", "superuser-by-certificate")["text"].to_string();
    assert!(text.contains("published certificate itself"), "{text}");
}
