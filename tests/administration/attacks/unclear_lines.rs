//! A76, A77, A78, A79: lines of `pg_hba.conf` and `pg_ident.conf` that pgsvid skipped, or took for something harmless.

use test_support::Account;

use crate::attacks::endless::{started, texts};
use crate::attacks::hidden_rules::{ALL_CLEAR, GOOD, above, fails, is_well, write};
use crate::attacks::planted_texts::report;

/// What is said of a user who is no superuser over the socket.
const NO_SUPERUSER: &str = "is no superuser over the socket";
/// As a superuser, who may read PostgreSQL's views.
const ADMINISTRATOR: [&str; 2] = ["--user", "postgres"];

fn ident() -> String {
    let name = Account::server().name();
    format!("pgsvid {name} pgsvid\nadministration {name} postgres\n")
}

#[test]
fn a76_a_line_that_is_not_understood_is_reported_and_prevents_every_all_clear() {
    let setup = started();
    write(&setup, GOOD);
    is_well(&setup, &[]);
    for (line, why) in [
        ("hostssl all all 10.0.0.0/8", "it ends before its method"),
        ("hostssl all all all telepathy", "PostgreSQL has no such method"),
        ("hostsssl all all all cert", "it begins with none of local, host"),
        ("hostssl all all 10.0.0.0/40 cert", "its mask is not possible"),
        ("hostssl all @nowhere all cert", "it names a file (@) that cannot be read"),
        ("include nowhere.conf", "it includes "),
        ("include_dir nowhere", "it includes "),
        ("local all all trust colour=green", "PostgreSQL does not have one of its options"),
        // PostgreSQL's view has neither an error nor a rule of it.
        ("hostssl all all all cert clientname=dn", "PostgreSQL does not have one of its options"),
    ] {
        write(&setup, &above(line));
        fails(&setup, &[], &format!("pg_hba.conf line 3 cannot be judged: {why}"));
        let report = report(Account::server(), &setup, &[]);
        assert!(!texts(&report, "ok").contains(NO_SUPERUSER), "{report:#}");
        // PostgreSQL's own words, once.
        fails(&setup, &ADMINISTRATOR, "pg_hba.conf line 3 is wrong: ");
        let report =
            crate::attacks::planted_texts::report(Account::server(), &setup, &ADMINISTRATOR);
        assert!(!texts(&report, "failure").contains("cannot be judged"), "{report:#}");
    }
    write(&setup, GOOD);
    for line in ["m a", "m a,b c", "m @nowhere app"] {
        setup.cluster.write_file("pg_ident.conf", &format!("{}{line}\n", ident()));
        setup.cluster.sighup();
        fails(&setup, &[], "pg_ident.conf line 3 cannot be judged: ");
    }
}

#[test]
fn a76_lines_that_postgresql_accepts_and_pgsvid_does_not_understand_are_reported_too() {
    let setup = started();
    setup.cluster.write_file("pg_ident.conf", &ident());
    setup.cluster.write_file("places", "10.0.0.0/8\n");
    write(&setup, &above("hostssl all all @places cert"));
    for more in [&[][..], &ADMINISTRATOR] {
        fails(&setup, more, "pg_hba.conf line 3 cannot be judged: it names a file (@)");
    }
    fails(&setup, &ADMINISTRATOR, "PostgreSQL reads pg_hba.conf in another way than pgsvid");
}

#[test]
fn a77_a_network_that_has_other_machines_is_not_taken_for_this_one() {
    let setup = started();
    for place in
        ["::1/8", "::1/127", "127.0.0.1/7", "127.0.0.1 127.0.0.0", "\"samehost\"", "samenet"]
    {
        write(&setup, &above(&format!("host all all {place} trust")));
        fails(&setup, &[], "pg_hba.conf line 3 has the method trust");
    }
    for place in ["::1/128", "127.0.0.1/32", "127.0.0.1 255.0.0.255", "samehost", "localhost"] {
        write(&setup, &above(&format!("host all all {place} trust")));
        let report = report(Account::server(), &setup, &[]);
        let own = "pg_hba.conf line 3 has the method trust: by this machine's own addresses";
        assert!(texts(&report, "failure").contains(own), "{report:#}");
    }
}

#[test]
fn a78_maps_that_admit_more_than_they_name_are_reported() {
    let setup = started();
    let hba = "local postgres pgsvid peer map=pgsvid\nlocal all postgres peer map=administration\n\
               local all app peer map=users\nhostssl all all all cert map=names\n";
    for (line, severity, words) in [
        ("names /^a|b$ app", "warning", "not anchored as a whole"),
        (r"names /^(a)\$ app", "warning", "not anchored as a whole"),
        (r"names /([a-z]+)$ \1", "warning", "not anchored as a whole"),
        ("names /^db.example$ app", "warning", "such as dbxexample"),
        (
            "names /^[A-Z]+$ app",
            "failure",
            "admits every workload as role app: it matches STRANGER",
        ),
        ("names /^[A-Z][a-z]*$ app", "failure", "admits every workload as role app"),
        ("names /^[^.]*$ app", "failure", "admits every workload as role app"),
        ("names /^[0-9]+$ app", "failure", "admits every workload as role app"),
        ("names /^[^!-~]+$ app", "failure", "admits every workload as role app"),
        ("names \"/^.{200,}$\" app", "failure", "admits every workload as role app"),
        ("users /^.*$ app", "failure", "admits every user of this machine as role app"),
        ("users /^[a-z]+$ app", "failure", "admits every user of this machine as role app"),
    ] {
        setup
            .cluster
            .write_file("pg_ident.conf", &format!("{}{line}\nnames x app\nusers x app\n", ident()));
        write(&setup, hba);
        let report = report(Account::server(), &setup, &ADMINISTRATOR);
        let found = texts(&report, severity);
        assert!(
            found.contains("pg_ident.conf line 3") && found.contains(words),
            "{line}: {report:#}"
        );
        assert!(!texts(&report, "ok").contains(ALL_CLEAR), "{line}: {report:#}");
    }
    for line in
        ["names /^(a|b)$ app", r"names /^db\.example$ app", r"users /^(.*)$ \1", "users all app"]
    {
        setup
            .cluster
            .write_file("pg_ident.conf", &format!("{}{line}\nnames x app\nusers x app\n", ident()));
        write(&setup, hba);
        is_well(&setup, &ADMINISTRATOR);
    }
}

#[test]
fn a79_lines_that_are_written_in_other_ways_are_no_false_alarm() {
    let setup = started();
    setup.cluster.write_file("pg_ident.conf", &ident());
    setup.cluster.write_file("people", "app, \"all\" # and\n+dba\n");
    write(
        &setup,
        &above(
            "local all nobody ident\nlocal \"all\",samegroup @people reject\n\"hostssl\" all \"a b\" 0x7f.1/8 cert \
             \"map=\"\nhostssl all x 10.0.0.0 255.0.255.0 cert clientcert=verify-full\nhostssl all y \"all\" cert",
        ),
    );
    for more in [&[][..], &ADMINISTRATOR] {
        is_well(&setup, more);
    }
}
