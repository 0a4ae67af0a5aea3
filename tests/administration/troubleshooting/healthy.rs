//! `check` reports what is in order, and changes nothing.

use std::time::Duration;

use dev_agent::Entry;
use test_support::{Account, LIMIT, Program, Setup};

use crate::troubleshooting::{
    BINARY, Checked, admin, check, files_only, hba, publish, setup, started,
};

#[test]
fn a_healthy_set_up_has_no_failure() {
    let setup = Setup::builder(BINARY)
        .cluster(|cluster| cluster.hba("hostssl all all 127.0.0.1/32 cert"))
        .create();
    let _running = setup.start();
    admin(&setup.cluster, "CREATE ROLE localhost LOGIN");
    let checked = check(&setup, &["--as-client", "localhost"]);
    assert_eq!(checked.status, 0, "{:#}", checked.report);
    for words in [
        "agent-answer",
        "published-set",
        "reload-privilege",
        "serves the published certificate, asks clients for certificates of 1 authority",
        "access-rules",
        "client-login",
    ] {
        checked.finding("ok", words);
    }
    checked.finding("skipped", "hba-line-wrong");
    let all = check(&setup, &["--user", "postgres"]);
    assert_eq!(all.report["summary"]["skipped"], 0, "{:#}", all.report);
}

#[test]
fn looking_changes_nothing() {
    let setup = setup();
    started(&setup);
    let listing = || {
        let mut names: Vec<_> = std::fs::read_dir(setup.files.path())
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                (entry.file_name(), entry.metadata().unwrap().modified().unwrap())
            })
            .collect();
        names.sort_unstable();
        names
    };
    let loaded = || admin(&setup.cluster, "SELECT pg_conf_load_time()");
    let (files, time, mark) = (listing(), loaded(), setup.cluster.log_mark());
    let checked = check(&setup, &[]);
    checked.finding("ok", "verdict-current");
    assert_eq!((listing(), loaded()), (files, time));
    assert_eq!(setup.cluster.log_since(mark), "", "the server has nothing to log");
}

#[test]
fn nothing_is_there_yet() {
    let setup = setup();
    setup.agent.stop(dev_agent::Stop::Terminate);
    let checked = check(&setup, &["--as-client", "app"]);
    checked.fails("agent-not-listening");
    checked.fails("nothing-published");
    checked.fails("postgresql-not-running");
    checked.finding("skipped", "svid");
    checked.finding("skipped", "client-login");
}

#[test]
fn the_text_has_no_colours_where_there_is_no_terminal() {
    let setup = setup();
    publish(&setup);
    let arguments = files_only(&setup);
    let program = Program::spawn(
        BINARY,
        std::iter::once("check").chain(arguments.iter().map(String::as_str)),
        &[("TERM", "xterm")],
    );
    assert!(program.wait_exit(LIMIT).success());
    let text = program.standard_output();
    assert!(text.contains("\nFiles         "), "{text}");
    assert!(text.lines().last().unwrap().starts_with("0 failures, 1 warning, "), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
}

/// `script` gives the program a terminal.
#[test]
fn colours_are_for_terminals_whose_owner_wants_them() {
    let command = format!("{BINARY} check --offline --endpoint unix:///a/b --directory /nowhere");
    let run = |variables: &[(&str, &str)]| {
        let script = ["-q", "-e", "-c", &command, "/dev/null"];
        let program = Program::spawn_as(Account::current(), "/usr/bin/script", script, variables);
        assert!(program.wait_exit(LIMIT).success());
        program.standard_output()
    };
    let coloured = run(&[("TERM", "xterm")]);
    assert!(coloured.contains("\x1b[32mok"), "{coloured:?}");
    for variables in [[("TERM", "xterm"), ("NO_COLOR", "1")], [("TERM", "dumb"), ("LC_ALL", "C")]] {
        let plain = run(&variables);
        assert!(plain.contains("  ok  ") && !plain.contains('\x1b'), "{plain:?}");
    }
}

#[test]
fn authorities_beside_the_trust_domain_are_named() {
    let setup = setup();
    let corporate = dev_agent::Authority::new("corporate.example", false).unwrap();
    let corporate = corporate.issue(&Entry::new("spiffe://corporate.example/x")).unwrap();
    let file = setup.other.write("corporate.pem", corporate.bundle_pem(), 0o644);
    setup.configure(&format!("[files]\nextra_authorities = ['{}']", file.display()));
    started(&setup);
    let checked = check(&setup, &[]);
    checked.finding("ok", "also lets in anyone who has a certificate of serialNumber=");
    checked.finding("ok", "asks clients for certificates of 2 authorities");
    setup.configure("[files]\nextra_authorities = ['/nowhere/ca.pem']");
    check(&setup, &[]).fails("cannot read the extra authorities /nowhere/ca.pem");
}

#[test]
fn offline_looks_at_the_configuration_alone() {
    let arguments = ["--endpoint", "unix:///nowhere/agent.sock", "--directory", "/nowhere/svids"];
    let checked = Checked::run(&arguments.map(str::to_owned), &["--offline"], &[]);
    assert_eq!((checked.status, checked.report["sections"].as_array().unwrap().len()), (0, 1));
    checked.finding("ok", "files in /nowhere/svids");
}

#[test]
fn several_svids_are_listed() {
    let setup = Setup::builder(BINARY)
        .agent(|agent| {
            let other = Entry::new("spiffe://example.org/other").dns("other").hint("second");
            agent.entry(other).ttl(Duration::from_secs(600))
        })
        .create();
    let first = check(&setup, &[]);
    first.warns("svid-choice");
    let second = check(&setup, &["--hint", "second"]);
    second.finding("ok", "spiffe://example.org/other, hint \"second\"; pgsvid uses this one");
}

/// Each command for psql reaches this server as it was printed, which listens at another place than the usual one.
#[test]
fn remedies_for_psql_reach_the_server() {
    let setup = setup();
    setup.configure(&format!(
        "[[roles]]\nspiffe_id = \"{}\"\nrole = \"reports\"\ncn = \"localhost\"\n\
         [files.service]\nfile = 'pg_service.conf'\nname = 'db'\noptions.dbname = 'nowhere'\n\
         options.host = 'localhost'\noptions.port = '{}'",
        Setup::SPIFFE_ID,
        setup.cluster.port()
    ));
    started(&setup);
    hba(&setup.cluster, "hostssl all all 127.0.0.1/32 cert map=any");
    setup.cluster.set_ident(&format!("{}\nany localhost app", pgsvid_line()));
    crate::troubleshooting::reload(&setup.cluster);
    admin(&setup.cluster, "ALTER SYSTEM SET ssl_ca_file = ''");
    crate::troubleshooting::reload(&setup.cluster);
    for (more, statement, question, answer) in [
        (
            &["--user", "postgres"][..],
            "ALTER SYSTEM SET ssl_ca_file",
            "SELECT count(*) FROM pg_file_settings WHERE sourcefile LIKE '%auto.conf' AND setting LIKE '%svid_bundle.pem'",
            "1",
        ),
        (
            &[],
            "CREATE ROLE reports LOGIN",
            "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'reports'",
            "t",
        ),
        (
            &[],
            "ALTER ROLE reports LOGIN",
            "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'reports'",
            "t",
        ),
        (
            &["--as-client", "app"],
            "CREATE DATABASE nowhere",
            "SELECT count(*) FROM pg_database WHERE datname = 'nowhere'",
            "1",
        ),
        (
            &["--as-client", "app"],
            "GRANT CONNECT ON DATABASE nowhere TO app",
            "SELECT has_database_privilege('app', 'nowhere', 'CONNECT')",
            "t",
        ),
    ] {
        if statement.starts_with("ALTER ROLE") {
            admin(&setup.cluster, "ALTER ROLE reports NOLOGIN");
        } else if statement.starts_with("GRANT") {
            admin(&setup.cluster, "REVOKE CONNECT ON DATABASE nowhere FROM PUBLIC");
        }
        let checked = check(&setup, more);
        let fixes =
            checked.findings().into_iter().filter_map(|finding| finding["command"].as_str());
        let fix = fixes.into_iter().find(|fix| fix.contains(statement));
        let fix = fix.unwrap_or_else(|| panic!("no {statement} in {:#}", checked.report));
        paste(fix, setup.cluster.port());
        assert_eq!(admin(&setup.cluster, question), answer, "{fix}");
        if statement.starts_with("ALTER SYSTEM") {
            crate::troubleshooting::reload(&setup.cluster);
        }
    }
}

fn pgsvid_line() -> String {
    format!("pgsvid {} pgsvid", Account::server().name())
}

/// Runs the command at the beginning of a remedy, as the user that may be the superuser.
#[track_caller]
fn paste(fix: &str, port: u16) {
    let end = format!(" -p {port}");
    let (command, _) = fix.split_once(&end).unwrap_or_else(|| panic!("no{end} in {fix}"));
    let script = ["-c".to_owned(), format!("{command}{end}")];
    let program = Program::spawn_as(Account::server(), "/bin/bash", script, &[]);
    let status = program.wait_exit(LIMIT);
    assert!(status.success(), "{command}: {}", program.standard_error());
}
