//! Symptoms of the published directory.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};

use serde_json::Value;
use test_support::{Account, Directory, LIMIT, Program, Setup};

use crate::troubleshooting::{BINARY, Checked, check, files_only, publish, setup, symptom};

fn run_fails(setup: &Setup) -> String {
    let arguments = files_only(setup);
    let arguments = std::iter::once("run").chain(arguments.iter().map(String::as_str));
    let program = Program::spawn(BINARY, arguments, &[]);
    assert_eq!(program.wait_exit(LIMIT).code(), Some(1));
    program.standard_error()
}

#[test]
fn a_directory_that_others_may_write_to() {
    let setup = setup();
    std::fs::set_permissions(setup.files.path(), Permissions::from_mode(0o777)).unwrap();
    symptom("others may write to it", &run_fails(&setup));
    check(&setup, &[])
        .fails_with("directory-shared", "others may write to it (mode 0777); run chmod 0755");
}

#[test]
fn a_foreign_link_in_the_way() {
    let setup = setup();
    symlink("/etc/hostname", setup.files.join("svid.pem")).unwrap();
    symptom("is a symbolic link to", &run_fails(&setup));
    check(&setup, &[]).fails("directory-obstacle");
}

#[test]
fn a_directory_above_that_others_may_write_to() {
    let above = Directory::new();
    let setup = Setup::builder(BINARY).files(Directory::below(above.path())).create();
    std::fs::set_permissions(above.path(), Permissions::from_mode(0o775)).unwrap();
    symptom("others can replace it at any time", &run_fails(&setup));
    check(&setup, &[]).fails_with(
        "directory-replaceable",
        &format!("they may write to {above} (mode 0775); run chmod go-w {above}"),
    );
}

#[test]
fn a_directory_above_that_is_another_users() {
    let Some(another) = Account::third() else { return };
    let above = Directory::new();
    let setup = Setup::builder(BINARY).files(Directory::below(above.path())).create();
    chown(above.path(), Some(another.uid()), None).unwrap();
    symptom("belongs to that user", &run_fails(&setup));
    check(&setup, &[]).fails_with(
        "directory-replaceable",
        &format!("uid {} can replace it at any time", another.uid()),
    );
}

#[test]
fn another_users_link_in_a_shared_directory() {
    let Some(another) = Account::third() else { return };
    let setup = setup();
    chown(setup.files.path(), Some(Account::current().uid()), None).unwrap();
    std::fs::set_permissions(setup.files.path(), Permissions::from_mode(0o1777)).unwrap();
    let bundle = setup.files.join("svid_bundle.pem");
    symlink("..data/svid_bundle.pem", &bundle).unwrap();
    lchown(&bundle, Some(another.uid()), None).unwrap();
    symptom("others could have put it there", &run_fails(&setup));
    check(&setup, &[])
        .fails_with("directory-foreign-file", &format!("as root, run rm -r {}", bundle.display()));
}

/// In a directory of root's, as the root of an `emptyDir` is, the set belongs to the user that runs pgsvid.
#[test]
fn b06_root_gets_no_advice_to_remove_the_set_of_the_user_that_runs_pgsvid() {
    let setup = setup();
    if Account::current().uid() != 0 {
        return;
    }
    chown(setup.files.path(), Some(0), None).unwrap();
    std::fs::set_permissions(setup.files.path(), Permissions::from_mode(0o1777)).unwrap();
    publish(&setup);
    let arguments = ["check".to_owned(), "--format=json".to_owned()];
    let arguments = arguments.into_iter().chain(files_only(&setup));
    let check = Program::spawn_as(Account::current(), BINARY, arguments, &[]);
    check.wait_exit(LIMIT);
    let report: Value = serde_json::from_str(&check.standard_output()).unwrap();
    let sections = report["sections"].as_array().unwrap().iter();
    let findings = sections.flat_map(|section| section["findings"].as_array().unwrap());
    let all: Vec<&Value> =
        findings.filter(|finding| finding["code"] == "directory-foreign-file").collect();
    let user = format!("sudo -u '#{}' pgsvid check", Account::server().uid());
    assert!(!all.is_empty(), "{report}");
    for finding in all {
        assert!(finding["fix"].as_str().unwrap().starts_with(&user), "{finding}");
    }
    assert!(!check.standard_output().contains("rm -r"), "{}", check.standard_output());
}

#[test]
fn a_set_that_others_could_have_written() {
    let setup = setup();
    publish(&setup);
    let bundle = setup.files.join("svid_bundle.pem");
    std::fs::set_permissions(&bundle, Permissions::from_mode(0o666)).unwrap();
    check(&setup, &[]).fails("published-set");
    let arguments = files_only(&setup);
    let arguments = std::iter::once("fetch").chain(arguments.iter().map(String::as_str));
    let fetch = Program::spawn(BINARY, arguments, &[]);
    assert!(fetch.wait_exit(LIMIT).success());
    let removed = "removed from the published directory what others could have put there";
    symptom(removed, &fetch.standard_error());
}

#[test]
fn no_directory() {
    let setup = setup();
    std::fs::remove_dir(setup.files.path()).unwrap();
    symptom("cannot open the directory", &run_fails(&setup));
    check(&setup, &[]).fails("directory-missing");
    std::fs::create_dir(setup.files.path()).unwrap();
}

#[test]
fn a_directory_of_somebody_elses() {
    // Root alone can give directories away; other users meet one of root's that they cannot use.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let setup = setup();
    std::os::unix::fs::chown(setup.files.path(), Some(12345), Some(12345)).unwrap();
    symptom("it belongs to uid", &run_fails(&setup));
    check(&setup, &[]).fails("directory-owner");
}

#[test]
fn damaged_files() {
    let setup = setup();
    publish(&setup);
    let real = |name| std::fs::canonicalize(setup.files.join(name)).unwrap();
    let bundle = real("svid_bundle.pem");
    std::fs::File::options().write(true).truncate(true).open(bundle).unwrap();
    check(&setup, &[]).fails("the published files are no set: svid_bundle.pem is damaged");
    std::fs::remove_file(real("svid_key.pem")).unwrap();
    let checked = check(&setup, &[]);
    symptom(
        "the published files are no set",
        checked.finding("failure", "published-set")["text"].as_str().unwrap(),
    );
    checked.fails("the published files are no set: cannot read svid_key.pem");
}

#[test]
fn a_set_that_nobody_renews() {
    let setup = setup();
    publish(&setup);
    setup.agent.rotate().unwrap();
    let checked = check(&setup, &[]);
    let words = "the agent has another SVID than the published one";
    symptom(words, checked.finding("warning", words)["text"].as_str().unwrap());
    checked.warns("published-set-newest");
}

#[test]
fn a_group_without_root() {
    let checked = Checked::run(
        &["--endpoint", "unix:///nowhere/a.sock", "--directory", "/nowhere", "--group", "0"]
            .map(str::to_owned),
        &[],
        &[],
    );
    symptom(
        "files.group needs root",
        checked.finding("failure", "group-needs-root")["text"].as_str().unwrap(),
    );
    checked.fails("group-needs-root");
}

/// Another user cannot look into the data directory, which relative settings start from.
#[test]
fn f16_relative_settings_that_another_user_cannot_follow_are_no_failure() {
    let setup = setup();
    publish(&setup);
    let data = setup.cluster.data_directory();
    for (name, published) in [
        ("server.crt", "svid.pem"),
        ("server.key", "svid_key.pem"),
        ("root.crt", "svid_bundle.pem"),
    ] {
        std::os::unix::fs::symlink(setup.files.join(published), data.join(name)).unwrap();
    }
    setup.cluster.set_conf(
        "ssl = on\nssl_cert_file = 'server.crt'\nssl_key_file = 'server.key'\nssl_ca_file = 'root.crt'",
    );
    setup.cluster.set_hba("local all all trust\nhostssl all all all cert");
    setup.cluster.start();
    let arguments = ["check", "--format", "json"].map(str::to_owned).into_iter();
    let another = Account::third().expect("the tests run as root");
    let program = Program::spawn_as(&another, BINARY, arguments.chain(setup.arguments()), &[]);
    program.wait_exit(LIMIT);
    let report: serde_json::Value = serde_json::from_str(&program.standard_output()).unwrap();
    let sections = report["sections"].as_array().unwrap();
    let all = sections.iter().flat_map(|section| section["findings"].as_array().unwrap());
    let of = |code: &str| all.clone().filter(|it| it["code"] == code).collect::<Vec<_>>();
    assert_eq!(of("ssl-setting-elsewhere"), Vec::<&serde_json::Value>::new(), "{report:#}");
    let skipped = of("ssl-settings");
    assert_eq!(skipped.len(), 3, "{report:#}");
    assert!(skipped.iter().all(|finding| finding["severity"] == "skipped"), "{skipped:?}");
}
