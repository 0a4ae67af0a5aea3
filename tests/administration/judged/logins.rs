//! F07 to F11: logins that `check --as-client` misjudged.

use dev_agent::Entry;
use serde_json::Value;
use test_support::Setup;

use crate::judged::{
    PGSVID, admin, check, hba, ident, lines, one, paste, reload, start, started_with,
};

fn login(setup: &Setup, role: &str) -> Value {
    check(setup, &["--as-client", role])
}

/// A standby has a line for replication alone.
#[test]
fn f07_a_login_for_replication_is_tried_as_one() {
    let setup = started_with("hostssl replication localhost 127.0.0.1/32 cert");
    admin(&setup, "CREATE ROLE localhost LOGIN REPLICATION");
    let report = login(&setup, "localhost");
    let text = one(&report, "ok", "client-login")["text"].to_string();
    assert!(text.contains("for replication"), "{text}");
    // It may not replicate.
    admin(&setup, "ALTER ROLE localhost NOREPLICATION");
    let report = login(&setup, "localhost");
    let refused = one(&report, "failure", "connect-privilege");
    paste(refused);
    one(&login(&setup, "localhost"), "ok", "client-login");
    // It is no standby, and the line is what helps.
    admin(&setup, "ALTER ROLE localhost NOREPLICATION");
    hba(&setup, lines(refused)[0]);
    one(&login(&setup, "localhost"), "ok", "client-login");
    // Nobody lets it in.
    hba(&setup, "hostssl replication other 127.0.0.1/32 cert");
    let report = login(&setup, "localhost");
    one(&report, "failure", "login-line-missing");
}

/// PostgreSQL cuts the role, and compares it with the whole CN.
#[test]
fn f08_a_name_longer_than_63_bytes_needs_a_map() {
    let long = format!("{}.{}.example.org", "a".repeat(40), "b".repeat(40));
    let setup = Setup::builder(PGSVID)
        .agent(|agent| agent.entry(Entry::new("spiffe://example.org/unused").dns("unused")))
        .cluster(|cluster| cluster.hba("hostssl all all 127.0.0.1/32 cert"))
        .create();
    setup.agent.set_entries([Entry::new(Setup::SPIFFE_ID).dns(&long)]).unwrap();
    start(&setup);
    admin(&setup, &format!("CREATE ROLE \"{}\" LOGIN", &long[..63]));
    let report = login(&setup, &long);
    let finding = one(&report, "failure", "login-name-differs");
    let printed = lines(finding);
    ident(&setup, printed[0]);
    hba(&setup, "hostssl all all 127.0.0.1/32 cert map=spiffe");
    let report = login(&setup, &long);
    one(&report, "ok", "client-login");
}

/// Names with a hyphen, a blank or a capital letter, in SQL and in lines.
#[test]
fn f09_remedies_quote_the_names() {
    let setup = started_with("hostssl all none 127.0.0.1/32 cert");
    for role in ["order-api", "Order api", "all"] {
        admin(&setup, &format!("CREATE ROLE \"{role}\" LOGIN"));
        hba(&setup, "hostssl all none 127.0.0.1/32 cert");
        let report = login(&setup, role);
        let finding = one(&report, "failure", "login-line-missing");
        let printed = lines(finding);
        // Both lines are needed, since the certificate has another name.
        ident(&setup, printed[0]);
        hba(&setup, printed[1]);
        let report = login(&setup, role);
        one(&report, "ok", "client-login");
        ident(&setup, "");
        hba(&setup, &format!("hostssl all \"{role}\" 127.0.0.1/32 cert"));
        let report = login(&setup, role);
        let finding = one(&report, "failure", "login-name-differs");
        ident(&setup, lines(finding)[0]);
        hba(&setup, &format!("hostssl all \"{role}\" 127.0.0.1/32 cert map=spiffe"));
        let report = login(&setup, role);
        one(&report, "ok", "client-login");
        admin(&setup, &format!("ALTER ROLE \"{role}\" NOLOGIN"));
        // Whatever the files say, the role is what is refused.
        paste(one(&login(&setup, role), "failure", "role-without-login"));
        one(&login(&setup, role), "ok", "client-login");
        admin(&setup, &format!("DROP ROLE \"{role}\""));
        paste(one(&login(&setup, role), "failure", "role-missing"));
        one(&login(&setup, role), "ok", "client-login");
        admin(&setup, &format!("DROP ROLE \"{role}\""));
    }
}

/// Whatever decides, the printed lines let in the certificate, whose name is not the role's.
#[test]
fn f61_the_printed_lines_let_in_a_role_of_another_name_than_the_certificates() {
    let setup = started_with("hostssl all none 127.0.0.1/32 cert");
    admin(&setup, "CREATE ROLE app LOGIN; CREATE ROLE people; CREATE ROLE localhost LOGIN");
    let gss = if setup.cluster.lacks(&["gss"]).is_empty() { "gss" } else { "reject" };
    for (role, line, code) in [
        ("app", "hostssl all +people 127.0.0.1/32 cert".to_owned(), "login-line-missing"),
        ("app", "hostssl samerole app 127.0.0.1/32 cert".to_owned(), "login-line-missing"),
        ("app", "hostssl all app 127.0.0.1/32 reject".to_owned(), "login-other-line"),
        ("app", "hostssl all all 127.0.0.1/32 scram-sha-256".to_owned(), "login-password"),
        (
            "app",
            "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca".to_owned(),
            "login-password",
        ),
        // F64: the certificate was accepted in the handshake.
        ("app", format!("hostssl all all 127.0.0.1/32 {gss}"), "login-other-line"),
        ("localhost", format!("hostssl all all 127.0.0.1/32 {gss}"), "login-other-line"),
        ("localhost", "hostssl all all 127.0.0.1/32 password".to_owned(), "login-password"),
    ] {
        ident(&setup, "");
        hba(&setup, &line);
        let report = login(&setup, role);
        let finding = one(&report, "failure", code);
        let printed = lines(finding);
        assert_eq!(printed.len(), if role == "app" { 2 } else { 1 }, "{line}: {finding:#}");
        // The map comes first, if there is one.
        let (map, first) = if role == "app" { (printed[0], printed[1]) } else { ("", printed[0]) };
        ident(&setup, map);
        hba(&setup, &format!("{first}\n{line}"));
        one(&login(&setup, role), "ok", "client-login");
    }
}

/// A standby is asked for GSSAPI, too.
#[test]
fn f64_another_method_than_a_password_is_not_a_matter_of_the_certificate() {
    let setup = started_with("hostssl all none 127.0.0.1/32 cert");
    if !setup.cluster.lacks(&["gss"]).is_empty() {
        return;
    }
    admin(&setup, "CREATE ROLE localhost LOGIN REPLICATION");
    for database in ["all", "replication"] {
        hba(
            &setup,
            &format!(
                "hostssl {database} localhost 127.0.0.1/32 gss\nhostssl replication localhost 10.0.0.0/8 cert"
            ),
        );
        let report = login(&setup, "localhost");
        let finding = one(&report, "failure", "login-other-line");
        let lines = lines(finding);
        hba(&setup, lines[0]);
        one(&login(&setup, "localhost"), "ok", "client-login");
    }
}

/// PostgreSQL's view shows such a line without any column.
#[test]
fn f10_a_value_of_clientcert_that_no_longer_exists_is_reported() {
    let setup = started_with("hostssl all app 127.0.0.1/32 cert");
    setup.cluster.set_hba(
        "local postgres pgsvid peer map=pgsvid\nhostssl all all 127.0.0.1/32 scram-sha-256 clientcert=1",
    );
    setup.cluster.sighup();
    for (more, code) in [(&["--user", "postgres"][..], "hba-line-wrong"), (&[], "hba-line-unclear")]
    {
        let report = check(&setup, more);
        let text = one(&report, "failure", code)["text"].to_string();
        assert!(text.contains("line 3") && text.contains("verify-ca"), "{text}");
    }
}

/// Groups are asked for, `samehost` is known, and PostgreSQL's own words say whether some line matched.
#[test]
fn f11_lines_of_groups_hosts_and_expressions_are_not_passed_over() {
    let setup = started_with("hostssl all none 127.0.0.1/32 cert");
    admin(&setup, "CREATE ROLE localhost LOGIN; CREATE ROLE people; CREATE ROLE others");
    let general = "hostssl all all 127.0.0.1/32 cert";
    admin(&setup, "GRANT people TO localhost");
    for (lines, code) in [
        (format!("hostssl all +people all reject\n{general}"), "login-other-line"),
        (format!("hostssl all all samehost reject\n{general}"), "login-other-line"),
        (format!("hostssl all all samenet reject\n{general}"), "login-other-line"),
        (
            format!("hostssl samerole localhost all reject\n{general} map=none"),
            "login-map-line-missing",
        ),
        ("hostssl all +others all cert".to_owned(), "login-line-missing"),
        ("hostssl all all nowhere.invalid cert".to_owned(), "login-line-missing"),
        (format!("hostssl all +others all reject\n{general} map=none"), "login-map-line-missing"),
    ] {
        hba(&setup, &lines);
        let report = login(&setup, "localhost");
        one(&report, "failure", code);
    }
    if setup.cluster.version() >= 16 {
        hba(&setup, &format!("hostssl all /^local all reject\n{general}"));
        one(&login(&setup, "localhost"), "failure", "login-other-line");
        hba(&setup, "hostssl all /^remote all cert");
        one(&login(&setup, "localhost"), "failure", "login-line-missing");
    }
    hba(&setup, &format!("hostssl all +others all reject\n{general}"));
    one(&login(&setup, "localhost"), "ok", "client-login");
    reload(&setup);
}

/// Each remedy of a database that is missing or closed, with a name that has to be quoted.
#[test]
fn f09_a_database_with_a_hyphen_is_made_and_opened_as_it_is_printed() {
    let setup = started_with("hostssl all all 127.0.0.1/32 cert");
    admin(&setup, "CREATE ROLE localhost LOGIN");
    let service = |database: &str| {
        setup.configure(&format!(
            "[files.service]\nname = 'db'\noptions = {{ host = 'localhost', hostaddr = '127.0.0.1', port = {}, dbname = '{database}' }}",
            setup.cluster.port()
        ));
    };
    for database in ["order-db", "Order db"] {
        service(database);
        paste(one(&login(&setup, "localhost"), "failure", "database-missing"));
        one(&login(&setup, "localhost"), "ok", "client-login");
        admin(&setup, &format!("REVOKE CONNECT ON DATABASE \"{database}\" FROM PUBLIC"));
        paste(one(&login(&setup, "localhost"), "failure", "connect-privilege"));
        one(&login(&setup, "localhost"), "ok", "client-login");
    }
}
