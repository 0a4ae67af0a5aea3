//! B104: the files that the operator writes for pgsvid, and who else can write or read them.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};

use serde_json::Value;
use test_support::Account;

use crate::judged::{check, found, one, paste, started_with};

const EXCHANGEABLE: &str = "file-exchangeable";
const READABLE: &str = "password-file-readable";

fn texts(report: &Value) -> String {
    found(report, "warning", EXCHANGEABLE).iter().map(|it| it["text"].to_string()).collect()
}

#[test]
fn b104_a_configuration_and_a_password_that_others_can_write_or_read_are_told() {
    let setup = started_with("hostssl all app 127.0.0.1/32 cert");
    let third = Account::third().expect("the tests run as root");
    let server = Account::server();
    let password =
        setup.other.write_owned("password", "secret\n", 0o600, server.uid(), server.gid());
    setup.configure(&format!("[postgres]\npassword_file = '{}'\n", password.display()));
    let configuration = setup.other.join("pgsvid.toml");
    let report = check(&setup, &[]);
    assert_eq!((texts(&report).as_str(), found(&report, "warning", READABLE).len()), ("", 0));

    set_permissions(&configuration, Permissions::from_mode(0o666)).unwrap();
    assert!(texts(&check(&setup, &[])).contains("pgsvid.toml"));
    set_permissions(&configuration, Permissions::from_mode(0o644)).unwrap();
    chown(&configuration, Some(third.uid()), None).unwrap();
    assert!(texts(&check(&setup, &[])).contains("pgsvid.toml"));
    chown(&configuration, Some(0), None).unwrap();

    set_permissions(&password, Permissions::from_mode(0o644)).unwrap();
    let report = check(&setup, &[]);
    paste(one(&report, "warning", READABLE));
    assert!(found(&check(&setup, &[]), "warning", READABLE).is_empty());
    chown(&password, Some(third.uid()), None).unwrap();
    assert!(texts(&check(&setup, &[])).contains("password"));
    chown(&password, Some(server.uid()), None).unwrap();
    // That of a key store, too.
    let store = setup.other.write_owned("store", "secret\n", 0o644, server.uid(), server.gid());
    setup.configure(&format!(
        "[[files.extra]]\nname = 'svid.p12'\ncontent = 'pkcs12'\npassword_file = '{}'\n",
        store.display()
    ));
    let report = check(&setup, &[]);
    let found_here = one(&report, "warning", READABLE);
    assert!(found_here["text"].as_str().unwrap().contains("files.extra.password_file"));
    paste(found_here);
    assert!(found(&check(&setup, &[]), "warning", READABLE).is_empty());
}
