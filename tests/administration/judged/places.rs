//! B17, B21 and F69: places where others may put files, or answer.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use rustix::fs::{Mode, chmod};
use test_support::{Directory, LIMIT, Program, Setup, WallClock};

use crate::judged::{PGSVID, admin, check, found, one, reload, start, started_with};

#[test]
fn b17_check_warns_of_an_include_whose_file_others_could_create() {
    let setup = started_with("hostssl all app 127.0.0.1/32 cert");
    let other = Directory::new();
    let told = |more: &[&str]| found(&check(&setup, more), "warning", "file-exchangeable").len();
    assert_eq!(told(&[]), 0, "{:#}", check(&setup, &[]));
    for mode in [0o777, 0o1777] {
        let open = other.subdirectory(&format!("open{mode:o}"));
        chmod(&open, Mode::from_raw_mode(mode)).unwrap();
        for line in [
            format!("include_if_exists '{}/more.conf'", open.display()),
            format!("include_if_exists '{}/deeper/more.conf'", open.display()),
            format!("include_dir '{}'", open.display()),
        ] {
            let conf = setup.cluster.data_directory().join("postgresql.conf");
            let before = std::fs::read_to_string(&conf).unwrap();
            setup.cluster.set_conf(&line);
            reload(&setup);
            assert_eq!(told(&[]), 1, "{line} in a directory of mode {mode:o}");
            setup.cluster.write_file("postgresql.conf", &before);
        }
        if setup.cluster.version() >= 16 {
            let lines = format!("include_if_exists {}/more.conf", open.display());
            crate::judged::hba(&setup, &lines);
            assert_eq!(told(&[]), 1, "{lines}");
            crate::judged::hba(&setup, "");
        }
    }
    let closed = setup.cluster.data_directory().join("more.conf");
    setup.cluster.set_conf(&format!("include_if_exists '{}'", closed.display()));
    reload(&setup);
    assert_eq!(told(&[]), 0);
}

/// The first address is PostgreSQL's, and at the second one something else answers.
#[test]
fn b21_each_address_that_answers_is_looked_at() {
    let setup = Setup::builder(PGSVID)
        .cluster(|cluster| cluster.conf("listen_addresses = '127.0.0.1,127.0.0.2'"))
        .create();
    let listener = TcpListener::bind(("127.0.0.2", setup.cluster.port())).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let _ = stream.read_exact(&mut [0; 8]);
            let _ = stream.write_all(b"N");
        }
    });
    start(&setup);
    assert_eq!(admin(&setup, "SHOW listen_addresses"), "127.0.0.1,127.0.0.2");
    let report = check(&setup, &[]);
    one(&report, "ok", "verdict-current");
    let text = one(&report, "failure", "verdict-plaintext")["text"].to_string();
    assert!(text.contains("127.0.0.2"), "{text}");
}

/// The machine's clock was set back after PostgreSQL had loaded its files: every change since looks older than the load.
#[test]
fn b18_a_load_that_is_yet_to_come_is_no_all_clear() {
    let setup = started_with("hostssl all app 127.0.0.1/32 cert");
    let clock = WallClock::new();
    let ahead = |seconds: i64| {
        clock.set(seconds);
        let arguments = setup.arguments();
        let usual = arguments[..arguments.len() - 2].iter().map(String::as_str);
        let variables = clock.variables();
        let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
        let all = ["check", "--format", "json"].into_iter().chain(usual);
        let program = Program::spawn(PGSVID, all, &variables);
        program.wait_exit(LIMIT);
        serde_json::from_str::<serde_json::Value>(&program.standard_output()).unwrap()
    };
    let told = |report: &serde_json::Value| {
        let found = found(report, "skipped", "access-files-loaded");
        found
            .iter()
            .filter(|found| found["text"].to_string().contains("which is in the future"))
            .count()
    };
    let report = ahead(0);
    assert_eq!(told(&report), 0, "{report:#}");
    let report = ahead(-3600);
    assert_eq!(told(&report), 1, "{report:#}");
    assert!(found(&report, "ok", "access-rules").is_empty(), "{report:#}");
}

/// A path may lead to the published file of today, and not to that of tomorrow.
#[test]
fn f69_a_path_to_the_generation_of_today_is_reported_before_the_next_rotation() {
    let setup = started_with("hostssl all app 127.0.0.1/32 cert");
    let published = |name: &str| setup.files.join(name);
    let data = setup.cluster.data_directory();
    let resolved = std::fs::canonicalize(published("svid.pem")).unwrap();
    let generation = resolved.parent().unwrap().display().to_string();
    std::os::unix::fs::symlink(&resolved, data.join("fixed.crt")).unwrap();
    std::fs::hard_link(&resolved, data.join("hard.crt")).unwrap();
    std::os::unix::fs::symlink(published("svid.pem"), data.join("followed.crt")).unwrap();
    std::os::unix::fs::symlink(setup.files.path(), data.join("way")).unwrap();
    let current = published("..data/svid.pem").display().to_string();
    for (value, is_reported) in [
        (format!("{generation}/svid.pem"), true),
        ("fixed.crt".to_owned(), true),
        ("hard.crt".to_owned(), true),
        ("followed.crt".to_owned(), false),
        ("way/svid.pem".to_owned(), false),
        (current, false),
    ] {
        setup.cluster.set_conf(&format!("ssl_cert_file = '{value}'"));
        reload(&setup);
        let report = check(&setup, &[]);
        // The handshake shows the published leaf in any case.
        one(&report, "ok", "verdict-current");
        let told = found(&report, "failure", "ssl-setting-elsewhere");
        assert_eq!(!told.is_empty(), is_reported, "{value}: {report:#}");
    }
    // The daemon says so as soon as it looks at the settings.
    setup.cluster.set_conf("ssl_cert_file = 'fixed.crt'");
    reload(&setup);
    let pgsvid = setup.spawn();
    pgsvid.wait_for_event(LIMIT, |event| event["event"] == "settings-lead-elsewhere");
    // It is right: the next set is not served.
    setup.agent.rotate().unwrap();
    let told = pgsvid.wait_for_event(LIMIT, |event| event["event"] == "not-in-force");
    assert!(told["code"].as_str().unwrap().contains("ssl-setting-elsewhere"), "{told:#}");
}
