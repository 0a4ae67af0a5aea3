//! B23, B24, F12 to F14: remedies that do no harm, and can be pasted.

use std::os::unix::fs::PermissionsExt as _;

use test_support::{Account, LIMIT, Program, Setup};

use crate::judged::{
    PGSVID, admin, check, findings, found, hba, ident, lines, one, paste, reload, started_with,
};

/// With `peer` instead of `trust` as it is printed, pgsvid still reloads, and nobody is any role.
#[test]
fn b23_pgsvid_can_still_reload_after_the_printed_change_from_trust_to_peer() {
    let setup = started_with("hostssl all app 127.0.0.1/32 cert");
    let all = |line: &str| {
        setup.cluster.write_file("pg_hba.conf", &format!("{line}\n"));
        setup.cluster.sighup();
    };
    all("local all all trust");
    reload(&setup);
    let report = check(&setup, &[]);
    let finding = one(&report, "failure", "superuser-over-socket");
    assert!(finding["fix"].as_str().unwrap().contains("peer instead of trust"), "{finding:#}");
    let printed = lines(finding);
    setup.cluster.write_file("pg_ident.conf", &format!("{}\n", printed[0]));
    let mark = setup.cluster.log_mark();
    all(&format!("{}\nlocal all all peer", printed[1]));
    setup.cluster.wait_for_log(mark, LIMIT, "received SIGHUP");
    let report = check(&setup, &[]);
    one(&report, "ok", "reload-privilege");
}

/// The line that lets root be `postgres` asks a map, and PostgreSQL's own user has to be in it.
#[test]
fn b23_the_printed_lines_for_root_still_let_the_postgres_user_log_in() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let setup = started_with("hostssl all app 127.0.0.1/32 cert");
    let own = Account::server().name();
    let general = "local all all peer\n";
    let ident_of = |lines: &str| format!("pgsvid {own} pgsvid\n{lines}\n");
    if own != "postgres" {
        return;
    }
    setup.cluster.write_file("pg_hba.conf", general);
    setup.cluster.write_file("pg_ident.conf", &ident_of(""));
    setup.cluster.reload();
    let report =
        crate::attacks::planted_texts::report(Account::current(), &setup, &["--user", "postgres"]);
    let printed = lines(one(&report, "failure", "role-login-refused"));
    let [root, postgres, line] = printed[..] else { panic!("{report:#}") };
    setup.cluster.write_file("pg_hba.conf", &format!("{line}\n{general}"));
    let maps = format!("{}\n{postgres}", root.replace("<os-user>", "root"));
    setup.cluster.write_file("pg_ident.conf", &ident_of(&maps));
    setup.cluster.reload();
    for account in [Account::current(), Account::server()] {
        let report =
            crate::attacks::planted_texts::report(account, &setup, &["--user", "postgres"]);
        one(&report, "ok", "reload-privilege");
    }
}

/// Where other maps stand in `pg_ident.conf`, `ident_file` would drop them.
#[test]
fn b23_the_map_of_the_roles_drops_no_other_map() {
    let setup = started_with("hostssl all app 127.0.0.1/32 cert");
    if setup.cluster.version() >= 16 {
        return;
    }
    setup.configure(&format!(
        "[files]\nident = 'pg_ident.conf'\n[[roles]]\nspiffe_id = \"{}\"\nrole = \"app\"\ncn = \"localhost\"\n",
        Setup::SPIFFE_ID
    ));
    ident(&setup, "other x y");
    reload(&setup);
    let report = check(&setup, &[]);
    let fix = one(&report, "failure", "roles-ident-line-missing")["fix"].to_string();
    assert!(fix.contains("pgsvid setup ident") && fix.contains("lines of other maps"), "{fix}");
}

/// An event trigger of the database records every statement that it sees, with the rights of the role that makes it.
#[test]
fn b24_no_event_trigger_runs_by_a_remedy() {
    let setup = started_with("hostssl all app 127.0.0.1/32 cert");
    admin(
        &setup,
        "CREATE TABLE seen (tag text);
         CREATE FUNCTION see() RETURNS event_trigger LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO seen VALUES (tg_tag); END $$;
         CREATE EVENT TRIGGER see ON ddl_command_end EXECUTE FUNCTION see();
         REVOKE EXECUTE ON FUNCTION pg_reload_conf() FROM pgsvid;
         DELETE FROM seen;",
    );
    let report = check(&setup, &[]);
    paste(one(&report, "failure", "reload-privilege"));
    assert_eq!(admin(&setup, "SELECT tag FROM seen"), "");
    one(&check(&setup, &[]), "ok", "reload-privilege");
}

/// A command stands alone on its line, and runs as PostgreSQL's user where somebody else reads it.
#[test]
fn f12_a_command_stands_alone_and_runs_as_the_right_user() {
    let setup = started_with("hostssl all app 127.0.0.1/32 cert");
    admin(&setup, "REVOKE EXECUTE ON FUNCTION pg_reload_conf() FROM pgsvid");
    let arguments = setup.arguments();
    let usual = arguments[..arguments.len() - 2].iter().map(String::as_str);
    let more = ["--user", "postgres"];
    let printed = |account: &Account, user: &[&str]| {
        let all = ["check"].into_iter().chain(usual.clone()).chain(user.iter().copied());
        let program = Program::spawn_as(account, PGSVID, all, &[]);
        program.wait_exit(LIMIT);
        program.standard_output()
    };
    let text = printed(Account::server(), &[]);
    let commands: Vec<&str> =
        text.lines().map(str::trim).filter(|line| line.contains("psql ")).collect();
    assert!(!commands.is_empty(), "{text}");
    for command in &commands {
        assert!(
            command.starts_with("psql ") || command.starts_with("env PGCLIENTENCODING="),
            "{text}"
        );
        assert!(command.ends_with(&format!(" -p {}", setup.cluster.port())), "{command}");
    }
    if !rustix::process::geteuid().is_root() {
        return;
    }
    // Somebody else: what stands for sudo does what it does.
    admin(&setup, "ALTER SYSTEM SET ssl = off");
    reload(&setup);
    setup.cluster.write_file("pg_hba.conf", "local all all trust\n");
    setup.cluster.sighup();
    reload(&setup);
    let text = printed(Account::current(), &more);
    let command = text.lines().map(str::trim).find(|line| line.contains("ALTER SYSTEM SET ssl"));
    let command = command.unwrap_or_else(|| panic!("{text}"));
    let name = Account::server().name();
    assert!(command.starts_with(&format!("sudo -u {name} psql ")), "{command}");
    let sudo = setup.other.write(
        "sudo",
        "#!/bin/sh\nshift; user=$1; shift\nexec setpriv --reuid=\"$user\" --clear-groups \"$@\"\n",
        0o755,
    );
    std::fs::set_permissions(&sudo, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("PATH={}:$PATH; {command}", sudo.parent().unwrap().display());
    let program = Program::spawn_as(Account::current(), "/bin/bash", ["-c", &path], &[]);
    assert!(program.wait_exit(LIMIT).success(), "{command}: {}", program.standard_error());
    reload(&setup);
    assert_eq!(admin(&setup, "SHOW ssl"), "on");
}

/// A plain role is told as well that ALTER SYSTEM goes before postgresql.conf, and what undoes it.
#[test]
fn f13_what_overrides_the_configuration_file_is_named_with_its_command() {
    let setup = started_with("hostssl all app 127.0.0.1/32 cert");
    admin(&setup, "ALTER SYSTEM SET ssl_ca_file = ''");
    reload(&setup);
    let report = check(&setup, &[]);
    let finding = one(&report, "warning", "ssl-setting-empty");
    assert!(finding["text"].as_str().unwrap().contains("ALTER SYSTEM"), "{finding:#}");
    paste(finding);
    reload(&setup);
    assert!(found(&check(&setup, &[]), "warning", "ssl-setting-empty").is_empty());
}

/// Debian's own lines are no finding, and what is printed for others is taken by PostgreSQL.
#[test]
fn f14_stock_lines_are_no_finding_and_suggested_lines_are_right() {
    let stock = "local all postgres peer\nlocal all all peer\nhost all all 127.0.0.1/32 scram-sha-256\n\
                 host all all ::1/128 scram-sha-256\nlocal replication all peer\n\
                 host replication all 127.0.0.1/32 scram-sha-256\nhost replication all ::1/128 scram-sha-256";
    let setup = started_with("hostssl all app 127.0.0.1/32 cert");
    hba(&setup, &format!("hostssl all app all cert\n{stock}"));
    let report = check(&setup, &["--user", "postgres"]);
    for code in ["hba-without-certificate", "hba-password-without-tls"] {
        assert!(found(&report, "warning", code).is_empty(), "{report:#}");
    }
    hba(&setup, "host all all 10.0.0.0/8 scram-sha-256");
    let report = check(&setup, &["--user", "postgres"]);
    let fix = one(&report, "warning", "hba-without-certificate")["fix"].to_string();
    assert!(fix.contains("hostssl instead of host"), "{fix}");
    let finding = one(&report, "warning", "hba-certificate-line-missing");
    let line = lines(finding)[0].replace("ROLE", "app");
    hba(
        &setup,
        &format!(
            "{line}\nhostssl all all 10.0.0.0/8 cert\nhostssl all all 10.0.0.0/8 scram-sha-256 clientcert=verify-full"
        ),
    );
    let report = check(&setup, &["--user", "postgres"]);
    assert!(found(&report, "failure", "hba-line-wrong").is_empty(), "{report:#}");
    assert!(findings(&report).iter().all(|found| found["code"] != "hba-certificate-line-missing"));
}
