//! B71: PostgreSQL has refused a reload, and the log that says so is gone: `check` reported nothing about lists that are not in force.

use std::fs::{OpenOptions, Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use test_support::{Account, LIMIT, Setup, eventually};

use crate::attacks::endless::started;
use crate::judged::{check, found, logs_as_json, one, paste};

const CODE: &str = "ssl-reload-refused";

fn is_unknown(setup: &Setup, more: &[&str]) -> bool {
    let report = check(setup, more);
    one(&report, "ok", "verdict-current");
    !found(&report, "skipped", CODE).is_empty()
}

#[test]
fn b71_a_refused_reload_is_not_forgotten_with_the_log() {
    let setup = started();
    let name = Account::server().name();
    let ident = format!("pgsvid {name} pgsvid\nadministration {name} postgres\n");
    setup.cluster.write_file("pg_ident.conf", &ident);
    let is_proof = logs_as_json(&setup);
    if !is_proof {
        setup.cluster.restart();
    }
    let list = setup.agent.authority().revocation_list(&[]).unwrap();
    let file = setup.other.write("crl.pem", &list, 0o644);
    setup.cluster.set_conf(&format!("ssl_crl_file = '{}'", file.display()));
    // The key cannot be reached for a moment.
    let close = |mode| set_permissions(setup.files.path(), Permissions::from_mode(mode)).unwrap();
    close(0o000);
    let mark = setup.cluster.log_mark();
    setup.cluster.sighup();
    setup.cluster.wait_for_log(mark, LIMIT, "SSL configuration was not reloaded");
    close(0o755);
    let all = [&[][..], &["--user", "postgres"]];
    for more in all {
        one(&check(&setup, more), "failure", CODE);
    }
    forget(&setup.cluster.data_directory());
    for more in all {
        assert!(is_unknown(&setup, more), "{more:?}");
    }
    // A reload that PostgreSQL accepts, by a log that is proof; and a set that was loaded after the list, without a log.
    if is_proof {
        paste(one(&check(&setup, &[]), "skipped", CODE));
        eventually(LIMIT, "the log shows the reload", || !is_unknown(&setup, &[]));
        forget(&setup.cluster.data_directory());
    }
    assert!(is_unknown(&setup, &[]));
    let pgsvid = setup.spawn();
    let before = setup.cluster.served().leaf;
    setup.agent.rotate().unwrap();
    eventually(LIMIT, "the next set is served", || setup.cluster.served().leaf != before);
    assert!(pgsvid.terminate(LIMIT).success());
    forget(&setup.cluster.data_directory());
    assert!(!is_unknown(&setup, &[]));
}

/// As logrotate with `copytruncate` does.
fn forget(data: &Path) {
    for name in ["log", "log.json"] {
        let path = data.parent().unwrap().join(name);
        if path.exists() {
            OpenOptions::new().write(true).open(path).unwrap().set_len(0).unwrap();
        }
    }
}
