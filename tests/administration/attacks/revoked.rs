//! B60: a certificate was revoked, and PostgreSQL has not read the list: its holder is let in.

use std::os::unix::fs::PermissionsExt as _;

use dev_agent::Entry;
use test_support::{LIMIT, Setup, eventually};

use crate::attacks::among_lists::{hash, is_let_in};
use crate::judged::{admin, check, found, one, paste, reload, started_with};

const CODE: &str = "tls-file-not-loaded";
const ROLES: [&[&str]; 2] = [&[], &["--user", "postgres"]];

#[track_caller]
fn says(setup: &Setup, severity: &str, count: usize) {
    for more in ROLES {
        let report = check(setup, more);
        assert_eq!(found(&report, severity, CODE).len(), count, "{more:?}: {report:#}");
    }
}

#[test]
fn b60_a_revocation_that_is_not_loaded_is_reported_and_the_remedy_ends_it() {
    let setup = started_with("hostssl all all 127.0.0.1/32 cert");
    admin(&setup, "CREATE ROLE app LOGIN");
    let authority = setup.agent.authority();
    let svid = authority.issue(&Entry::new("spiffe://example.org/app").dns("app")).unwrap();
    let revoked = authority.revocation_list(&[&svid]).unwrap();
    let lists = setup.other.subdirectory("lists");
    let list = |revoked: &str| setup.other.write("lists/crl.pem", revoked, 0o644);
    let file = list(&authority.revocation_list(&[]).unwrap());
    setup.cluster.set_conf(&format!("ssl_crl_file = '{}'", file.display()));
    reload(&setup);
    eventually(LIMIT, "the list is loaded", || is_let_in(&setup, &svid));
    says(&setup, "failure", 0);
    says(&setup, "skipped", 0);
    // Who may enter the directory was changed: perhaps nobody could have read the list.
    let mode = |mode: u32| {
        std::fs::set_permissions(&lists, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(0o711);
    says(&setup, "skipped", 1);
    paste(one(&check(&setup, &[]), "skipped", CODE));
    eventually(LIMIT, "the list is loaded", || {
        found(&check(&setup, &[]), "skipped", CODE).is_empty()
    });

    list(&revoked);
    assert!(is_let_in(&setup, &svid), "PostgreSQL has the former list");
    says(&setup, "failure", 1);
    paste(one(&check(&setup, &[]), "failure", CODE));
    eventually(LIMIT, "it is refused", || !is_let_in(&setup, &svid));
    says(&setup, "failure", 0);

    // From a directory each connection reads its lists itself.
    let directory = setup.other.subdirectory("hashed");
    let name = format!("hashed/{}.r0", hash(&authority.root_pem()));
    setup.other.write(&name, authority.revocation_list(&[]).unwrap(), 0o644);
    setup.cluster.set_conf(&format!("ssl_crl_file = ''\nssl_crl_dir = '{}'", directory.display()));
    reload(&setup);
    eventually(LIMIT, "it is let in", || is_let_in(&setup, &svid));
    setup.other.write(&name, &revoked, 0o644);
    assert!(!is_let_in(&setup, &svid));
    says(&setup, "failure", 0);

    // Authorities that somebody else maintains.
    let foreign = setup.other.write("ca.pem", authority.root_pem(), 0o644);
    setup.cluster.set_conf(&format!("ssl_crl_dir = ''\nssl_ca_file = '{}'", foreign.display()));
    reload(&setup);
    says(&setup, "failure", 0);
    setup.other.write("ca.pem", authority.root_pem() + "\n", 0o644);
    says(&setup, "failure", 1);
}
