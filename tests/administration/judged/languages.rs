//! What `check` says where PostgreSQL's log is in another language than English, in which pgsvid sees no refusal.

use std::path::Path;
use std::process::Command;

use test_support::{LIMIT, Mode, Setup, eventually};

use crate::judged::{check, findings, found, hba, one, reload, started_with};

/// A locale of this name whose contents are those of `C.UTF-8`: the name alone chooses the translations.
fn locale(setup: &Setup, name: &str) -> std::path::PathBuf {
    let directory = setup.other.subdirectory("locales");
    let copied = Command::new("cp")
        .args(["-r", "/usr/lib/locale/C.utf8"])
        .arg(directory.join(name))
        .status();
    assert!(copied.unwrap().success());
    directory
}

fn start(setup: &Setup, locales: &Path) {
    setup.cluster.stop(Mode::Fast);
    let data = setup.cluster.data_directory();
    setup.cluster.start_as(|command| {
        command.env("LOCPATH", locales).arg("-D").arg(data);
    });
}

#[test]
fn b137_a_refusal_in_a_log_of_another_language_is_no_all_clear() {
    let setup = started_with("hostssl all app 127.0.0.1/32 cert");
    let locales = locale(&setup, "de_DE.UTF-8");
    let good = "hostssl all app 127.0.0.1/32 cert";
    // PostgreSQL refuses this line, pgsvid does not: the rules before it stay in force.
    let refused = format!("{good}\nhostssl all other 10.1.0.0/16 radius");
    for (language, severity) in [("C", "failure"), ("de_DE.UTF-8", "skipped")] {
        setup.cluster.set_conf(&format!("lc_messages = '{language}'"));
        start(&setup, &locales);
        hba(&setup, &refused);
        eventually(LIMIT, "check tells it", || {
            !found(&check(&setup, &[]), severity, "access-files-loaded").is_empty()
        });
        let report = check(&setup, &[]);
        let is_ok = |code: &str| !found(&report, "ok", code).is_empty();
        assert!(!is_ok("access-rules") && !is_ok("roles"), "{language}: {report:#}");
        // A superuser sees the error itself.
        let report = check(&setup, &["--user", "postgres"]);
        one(&report, "failure", "hba-line-wrong");
        hba(&setup, good);
        reload(&setup);
    }
    let report = check(&setup, &["--user", "postgres"]);
    let told = findings(&report).into_iter().filter(|found| found["code"] == "access-files-loaded");
    assert_eq!(told.count(), 0, "{report:#}");
}
