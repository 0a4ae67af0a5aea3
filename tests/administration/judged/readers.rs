//! F54: a printed command is for the shell of who reads it, which need not be that of who has run pgsvid.

use serde_json::Value;
use test_support::{Account, LIMIT, Program, Setup};

use crate::judged::{PGSVID, admin, check, one, started_with};

/// `check` as PostgreSQL's user with this variable, and the command of what it finds.
fn command(setup: &Setup, variable: (&str, &str)) -> String {
    let arguments = setup.arguments();
    let all = ["check", "--format", "json"].into_iter().chain(arguments.iter().map(String::as_str));
    let program = Program::spawn_as(Account::server(), PGSVID, all, &[variable]);
    program.wait_exit(LIMIT);
    let report: Value = serde_json::from_str(&program.standard_output()).unwrap();
    one(&report, "failure", "reload-privilege")["command"].as_str().unwrap().to_owned()
}

#[test]
fn f54_a_command_is_for_the_shell_of_who_reads_it() {
    let setup = started_with("hostssl all all 127.0.0.1/32 cert");
    admin(&setup, "REVOKE EXECUTE ON FUNCTION pg_reload_conf() FROM pgsvid");
    // PostgreSQL's user in a shell of its own.
    let own = command(&setup, ("SUDO_USER", ""));
    assert!(!own.contains("sudo"), "{own}");
    let name = Account::server().name();
    for variable in [("SUDO_USER", "root"), ("INVOCATION_ID", "4f0c")] {
        let others = command(&setup, variable);
        assert_eq!(others, format!("sudo -u {name} {own}"), "{variable:?}");
        // It works in root's shell, by what stands for sudo there.
        let sudo = "#!/bin/sh\nexec runuser -u \"$2\" -- env \"PATH=$PATH\" sh -c 'shift 2; \"$@\"' sh \"$@\"\n";
        setup.other.write("sudo", sudo, 0o755);
        let script = format!("PATH={}:$PATH\n{others}", setup.other.path().display());
        let shell = Program::spawn_as(Account::current(), "/bin/bash", ["-c", &script], &[]);
        assert!(shell.wait_exit(LIMIT).success(), "{others}: {}", shell.standard_error());
        one(&check(&setup, &[]), "ok", "reload-privilege");
        admin(&setup, "REVOKE EXECUTE ON FUNCTION pg_reload_conf() FROM pgsvid");
    }
}
