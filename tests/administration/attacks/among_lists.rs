//! A82: a certificate among PostgreSQL's revocation lists is an authority, and nobody looked there.

use dev_agent::{Authority, Entry, Svid};
use test_support::{Account, LIMIT, Psql, Setup, eventually, openssl};

use crate::attacks::PGSVID;
use crate::attacks::endless::texts;
use crate::attacks::planted_texts::report;

const WORDS: &str = "holds a certificate: OpenSSL takes it for an authority";

fn setup() -> Setup {
    let setup = Setup::builder(PGSVID)
        .cluster(|cluster| cluster.hba("hostssl all all 127.0.0.1/32 cert"))
        .create();
    let pgsvid = setup.spawn();
    setup.wait_published();
    assert!(pgsvid.terminate(LIMIT).success());
    setup.cluster.start();
    setup.cluster.sql("postgres", "postgres", "CREATE ROLE app LOGIN");
    setup
}

/// Whether the holder of the certificate is let in as the role of its name.
fn is_let_in(setup: &Setup, svid: &Svid) -> bool {
    let certificate = setup.other.write("client.pem", svid.chain_pem(), 0o644);
    let key = setup.other.write("client_key.pem", svid.key_pem(), 0o600);
    let account = Account::server();
    std::os::unix::fs::chown(&key, Some(account.uid()), Some(account.gid())).unwrap();
    let place = format!(
        "host=127.0.0.1 port={} dbname=postgres user=app sslmode=require sslcert={} sslkey={}",
        setup.cluster.port(),
        certificate.display(),
        key.display()
    );
    Psql::new().arg(place).script("SELECT 1").run().status.success()
}

#[test]
fn a82_an_authority_among_revocation_lists_is_told_and_the_remedy_ends_it() {
    let setup = setup();
    let rogue = Authority::new("rogue.example", false).unwrap();
    let svid = rogue.issue(&Entry::new("spiffe://rogue.example/x").dns("app")).unwrap();
    let ours = setup.agent.authority();
    let (our_list, their_list) =
        (ours.revocation_list(&[]).unwrap(), rogue.revocation_list(&[]).unwrap());
    let lists = format!("{our_list}{their_list}");
    let failures = || texts(&report(Account::server(), &setup, &[]), "failure");

    // The one file.
    let file = setup.other.write("crl.pem", &lists, 0o644);
    setup.cluster.set_conf(&format!("ssl_crl_file = '{}'", file.display()));
    setup.cluster.sighup();
    assert!(!failures().contains(WORDS), "{}", failures());
    assert!(!is_let_in(&setup, &svid));
    setup.other.write("crl.pem", format!("{lists}{}", rogue.root_pem()), 0o644);
    setup.cluster.sighup();
    eventually(LIMIT, "the stranger is let in", || is_let_in(&setup, &svid));
    assert!(failures().contains(&format!("crl.pem (ssl_crl_file) {WORDS}")), "{}", failures());

    // The directory.
    let directory = setup.other.subdirectory("lists");
    let put = |name: &str, text: &str| {
        let written = setup.other.write("written", text, 0o644);
        std::fs::rename(written, directory.join(name)).unwrap();
    };
    let hash = |certificate: &str| {
        let printed = openssl(&["x509", "-noout", "-hash"], certificate);
        String::from_utf8(printed).unwrap().trim().to_owned()
    };
    let theirs = hash(&rogue.root_pem());
    put(&format!("{}.r0", hash(&ours.root_pem())), &our_list);
    put(&format!("{theirs}.r0"), &their_list);
    put("readme.pem", &rogue.root_pem());
    setup.cluster.set_conf(&format!("ssl_crl_file = ''\nssl_crl_dir = '{}'", directory.display()));
    setup.cluster.sighup();
    eventually(LIMIT, "the stranger is kept out", || !is_let_in(&setup, &svid));
    assert!(!failures().contains(WORDS), "{}", failures());
    // It counts at once, without a reload.
    put(&format!("{theirs}.0"), &rogue.root_pem());
    assert!(is_let_in(&setup, &svid));
    assert!(failures().contains(&format!("{theirs}.0 (ssl_crl_dir) {WORDS}")), "{}", failures());
    std::fs::remove_file(directory.join(format!("{theirs}.0"))).unwrap();
    assert!(!is_let_in(&setup, &svid));
    assert!(!failures().contains(WORDS), "{}", failures());
}

#[test]
fn a82_lists_that_cannot_be_read_are_told() {
    let setup = setup();
    let missing = setup.other.join("missing");
    setup.cluster.set_conf(&format!("ssl_crl_file = '{}'", missing.display()));
    setup.cluster.sighup();
    let report = report(Account::server(), &setup, &[]);
    let skipped = texts(&report, "skipped");
    assert!(skipped.contains("missing (ssl_crl_file), which would be an authority"), "{skipped}");
}
