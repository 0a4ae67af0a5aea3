//! A82: PostgreSQL trusts a certificate among its revocation lists as an authority, and `check` did not examine that place.

use dev_agent::{Authority, Entry, Svid};
use test_support::{Account, LIMIT, Psql, Setup, eventually, openssl};

use crate::attacks::PGSVID;
use crate::attacks::endless::texts;
use crate::attacks::planted_texts::report;

const WORDS: &str = "holds a certificate: OpenSSL trusts it as an authority";

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

/// The name that OpenSSL looks an authority up by in a directory, without its ending.
pub(super) fn hash(certificate: &str) -> String {
    let printed = openssl(&["x509", "-noout", "-hash"], certificate);
    String::from_utf8(printed).unwrap().trim().to_owned()
}

/// Whether the holder of the certificate is let in as the role of its name.
pub(super) fn is_let_in(setup: &Setup, svid: &Svid) -> bool {
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
fn a82_an_authority_among_revocation_lists_is_reported_and_the_remedy_ends_it() {
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
fn a82_lists_that_cannot_be_read_are_reported() {
    let setup = setup();
    let missing = setup.other.join("missing");
    setup.cluster.set_conf(&format!("ssl_crl_file = '{}'", missing.display()));
    setup.cluster.sighup();
    let report = report(Account::server(), &setup, &[]);
    let skipped = texts(&report, "skipped");
    assert!(skipped.contains("missing (ssl_crl_file) holds a certificate"), "{skipped}");
}

/// OpenSSL takes `ssl_crl_dir` for a list, with a colon between two directories. And what cannot be read hides nothing beside it.
#[test]
fn b68_an_authority_in_one_of_several_directories_is_reported_with_any_neighbours() {
    let setup = setup();
    let rogue = Authority::new("rogue.example", false).unwrap();
    let svid = rogue.issue(&Entry::new("spiffe://rogue.example/x").dns("app")).unwrap();
    let (ours, theirs) = (setup.agent.authority(), rogue.root_pem());
    let (good, evil) = (setup.other.subdirectory("good"), setup.other.subdirectory("evil"));
    let put = |directory: &std::path::Path, name: String, text: &str| {
        let written = setup.other.write("written", text, 0o644);
        std::fs::rename(written, directory.join(name)).unwrap();
    };
    put(&good, format!("{}.r0", hash(&ours.root_pem())), &ours.revocation_list(&[]).unwrap());
    put(&evil, format!("{}.r0", hash(&theirs)), &rogue.revocation_list(&[]).unwrap());
    put(&evil, format!("{}.0", hash(&theirs)), &theirs);
    std::os::unix::fs::symlink("/nowhere", evil.join("00000000.0")).unwrap();
    setup.cluster.set_conf(&format!("ssl_crl_dir = '{}:{}'", good.display(), evil.display()));
    setup.cluster.sighup();
    eventually(LIMIT, "the stranger is let in", || is_let_in(&setup, &svid));
    let report = report(Account::server(), &setup, &[]);
    let failures = texts(&report, "failure");
    assert!(failures.contains(&format!("{}.0 (ssl_crl_dir) {WORDS}", hash(&theirs))), "{failures}");
    assert!(texts(&report, "skipped").contains("00000000.0"), "{report:#}");
}
