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
fn b104_a_configuration_and_a_password_that_others_can_write_or_read_are_reported() {
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
    // A group that is neither pgsvid's nor the owner's.
    chown(&password, None, Some(third.gid())).unwrap();
    set_permissions(&password, Permissions::from_mode(0o640)).unwrap();
    paste(one(&check(&setup, &[]), "warning", READABLE));
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

/// Patroni's password is enough to restart PostgreSQL, and the password of the stores can be chosen by anyone who can write it.
#[test]
fn b104_the_passwords_of_patroni_and_of_stores_are_judged_too() {
    let setup = started_with("hostssl all app 127.0.0.1/32 cert");
    let server = Account::server();
    let file =
        |name: &str| setup.other.write_owned(name, "secret\n", 0o600, server.uid(), server.gid());
    let [api, store] = ["of_api", "of_store"].map(file);
    setup.configure(&format!(
        "[postgres]\n[patroni]\nusername = 'a'\npassword_file = '{}'\n[[files.extra]]\nname = 'svid.p12'\ncontent = 'pkcs12'\n\
         password_file = '{}'\n",
        api.display(),
        store.display()
    ));
    let report = check(&setup, &[]);
    assert_eq!((texts(&report).as_str(), found(&report, "warning", READABLE).len()), ("", 0));
    for path in [api, store] {
        set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        let report = check(&setup, &[]);
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(texts(&report).contains(name), "{name}: {}", texts(&report));
        let readable = one(&report, "warning", READABLE);
        assert!(readable["text"].as_str().unwrap().contains(name), "{readable}");
        paste(readable);
        let report = check(&setup, &[]);
        assert!(found(&report, "warning", READABLE).is_empty(), "{name}");
        set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }
}

/// Root reads every file, and would give a new password to itself.
#[test]
fn e02_check_as_root_judges_the_password_of_stores_for_the_user_of_run() {
    let setup = started_with("hostssl all app 127.0.0.1/32 cert");
    let server = Account::server();
    let password =
        setup.other.write_owned("password", "secret\n", 0o600, server.uid(), server.gid());
    setup.configure(&format!(
        "[postgres]\n[[files.extra]]\nname = 'svid.p12'\ncontent = 'pkcs12'\npassword_file = '{}'\n",
        password.display()
    ));
    let code = "store-password-unusable";
    let told = || {
        let report = crate::attacks::planted_texts::report(Account::current(), &setup, &[]);
        let of = |severity: &str| {
            let fixes = found(&report, severity, code).into_iter();
            fixes.map(|it| it["fix"].to_string()).collect::<Vec<_>>()
        };
        (of("failure"), of("skipped"))
    };
    chown(&password, Some(0), Some(0)).unwrap();
    let (failures, skipped) = told();
    assert!(failures.is_empty() && skipped.len() == 1, "{failures:?} {skipped:?}");
    setup.other.write_owned("password", "", 0o600, 0, 0);
    let (failures, skipped) = told();
    assert!(failures.len() == 1 && skipped.is_empty(), "{failures:?} {skipped:?}");
    let owner = format!("chown -h {} ", server.uid());
    assert!(failures[0].contains(&owner), "{failures:?}");
}
