//! Refusals, as the server says them: known at once or within the interval, and over once they are fixed.

use dev_agent::Entry;
use serde_json::Value;
use test_support::{LIMIT, Mark, Program};

use super::{HBA, LOCAL, admitted, configuration, running, status, tables, told};
use crate::both::{Both, ROLE};

/// The next set, which makes the client log in at once.
fn next(both: &Both) -> Mark {
    let mark = both.client().mark();
    both.setup.agent.rotate().unwrap();
    mark
}

#[test]
fn g01_the_client_is_let_in_with_each_new_set_and_that_is_reported_once() {
    let mut both = running("[client]\nverify_every = '1s'");
    let log = both.setup.cluster.log_mark();
    both.setup.cluster.set_conf("log_connections = on\nlog_disconnections = on");
    both.setup.cluster.reload();
    for generation in 2..5 {
        let mark = both.client().mark();
        both.rotate();
        let (event, _) = admitted(both.client(), mark);
        assert_eq!(event["generation"], generation, "{event}");
        assert_eq!((&event["role"], &event["database"]), (&"app".into(), &"postgres".into()));
    }
    // More logins follow, each is one session, and none is told again.
    let mark = both.client().mark();
    let sessions = |log: &str| log.matches("application_name=pgsvid client").count();
    test_support::eventually(test_support::LIMIT, "further logins", || {
        sessions(&both.setup.cluster.log_since(log)) >= 6
    });
    let lines = both.client().lines_after(mark);
    assert!(!lines.iter().any(|line| line.contains("client-admitted")), "{lines:?}");
    let text = both.setup.cluster.log_since(log);
    assert!(!text.contains("statement:") && text.contains("disconnection: session time"), "{text}");

    let status = status(&both.setup);
    let consumer = &status["consumers"][0];
    assert_eq!((&consumer["kind"], &consumer["verdict"]), (&"client".into(), &"admitted".into()));
    assert_eq!(consumer["login"]["role"], "app", "{consumer}");
    assert!(status["ready"] == true && status["degraded"][0].is_null(), "{status}");
}

#[test]
fn g02_g03_g04_g08_a_refusal_is_reported_with_its_reason_and_is_over_once_the_printed_line_is_in_place()
 {
    let both = running("[client]\nverify_every = '1s'");
    let cluster = &both.setup.cluster;
    let client = both.client();
    // Nothing is published: the interval alone finds it.
    let mark = client.mark();
    cluster.set_hba(LOCAL);
    cluster.reload();
    let (event, mark) = told(client, mark, "refused", "login-rejected");
    let fix = event["fix"].as_str().unwrap();
    let line = fix.split('`').nth(1).unwrap();
    assert_eq!(line, "hostssl postgres app all cert");
    let status = status(&both.setup);
    assert_eq!(status["consumers"][0]["verdict"], "refused", "{status}");
    assert!(status["ready"] == true && !status["degraded"][0].is_null(), "{status}");
    // The line as printed.
    cluster.set_hba(&format!("{line}\n{LOCAL}"));
    cluster.reload();
    let (_, mark) = admitted(client, mark);

    // A general line stands above.
    cluster.set_hba(&format!("hostssl all all all scram-sha-256\n{HBA}{LOCAL}"));
    cluster.reload();
    let (event, _) = told(client, mark, "password-asked", "login-password");
    let line = event["fix"].as_str().unwrap().split('`').nth(1).unwrap().to_owned();
    cluster.set_hba(&format!("{line}\nhostssl all all all scram-sha-256\n{LOCAL}"));
    cluster.reload();
    admitted(client, next(&both));

    // The map has no line for the certificate's name.
    cluster.set_hba(&format!("hostssl all all all cert map=spiffe\n{LOCAL}"));
    cluster.set_ident("spiffe other app\n");
    cluster.reload();
    told(client, next(&both), "refused", "login-name-refused");
    cluster.set_ident("spiffe app app\n");
    cluster.reload();
    admitted(client, next(&both));

    // The role may not log in, and is gone.
    let sql = |text: &str| cluster.sql("postgres", "postgres", text);
    sql("ALTER ROLE app NOLOGIN");
    told(client, next(&both), "refused", "login-role-refused");
    sql("DROP ROLE app");
    let mark = next(&both);
    client.wait_for_event_after(mark, test_support::LIMIT, |event| {
        event["code"] == "login-role-refused" && event["event"] == "still-not-in-force"
    });
    sql("CREATE ROLE app LOGIN");
    admitted(client, next(&both));
}

#[test]
fn g04_another_name_in_the_certificate_is_refused_and_the_printed_mapping_lets_it_in() {
    let both = running("[client]");
    let (cluster, client) = (&both.setup.cluster, both.client());
    let mark = client.mark();
    // The newest certificate has another CN, as after a change of its registration entry.
    let entries = [
        Entry::new(test_support::Setup::SPIFFE_ID).dns("localhost"),
        Entry::new("spiffe://example.org/ns/test/sa/app").dns("app2"),
    ];
    both.setup.agent.set_entries(entries).unwrap();
    let (event, _) = told(client, mark, "refused", "login-name-refused");
    let parts: Vec<_> = event["fix"].as_str().unwrap().split('`').collect();
    assert_eq!(parts[1], "spiffe app2 app", "{event}");
    cluster.set_ident(&format!("{}\n", parts[1]));
    cluster.set_hba(&format!("{}\n{HBA}{LOCAL}", parts[3]));
    cluster.reload();
    admitted(client, next(&both));
}

#[test]
fn g09_a_limit_that_is_reached_is_no_refusal() {
    let both = running("[client]");
    let (cluster, client) = (&both.setup.cluster, both.client());
    let sql = |text: &str| cluster.sql("postgres", "postgres", text);
    sql("ALTER ROLE app CONNECTION LIMIT 0");
    let (event, _) = told(client, next(&both), "unavailable", "connection-slots");
    assert_eq!(event["level"], "WARN", "{event}");
    sql("ALTER ROLE app CONNECTION LIMIT -1");
    admitted(client, next(&both));
}

#[test]
fn g18_a_refusal_makes_pgsvid_not_ready_where_that_is_asked_for_and_check_says_the_same() {
    let both = running("[client]\nreadiness = true\nname = 'application'");
    let cluster = &both.setup.cluster;
    let check = || {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_pgsvid"))
            .args(["check", "--format", "json", "--config"])
            .arg(configuration(&both.setup))
            .output()
            .unwrap();
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut sections = report["sections"].as_array().unwrap().iter();
        let is_it = |section: &&serde_json::Value| {
            let subject = section["subject"].as_str().unwrap_or_default();
            subject.starts_with("application: app in postgres at localhost:")
        };
        let found = sections.find(is_it).unwrap()["findings"][0].clone();
        [&found["code"], &found["severity"]].map(|text| text.as_str().unwrap().to_owned())
    };
    assert!(status(&both.setup)["ready"] == true);
    assert_eq!(check(), ["client-login", "ok"]);
    cluster.sql("postgres", "postgres", "ALTER ROLE app NOLOGIN");
    told(both.client(), next(&both), "refused", "login-role-refused");
    let status = status(&both.setup);
    assert!(status["ready"] == false, "{status}");
    assert_eq!(check(), ["login-role-refused", "failure"]);
}

/// libpq takes what the service leaves out from the environment.
#[test]
fn g20_the_options_of_the_service_and_of_the_environment_decide() {
    let both = Both::start_with_tables(|setup| tables(setup, ""));
    let file = configuration(&both.setup);
    let failures = |variables: &[(&str, &str)]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_pgsvid"))
            .args(["check", "--as-client", ROLE, "--format", "json", "--config"])
            .arg(&file)
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let sections = report["sections"].as_array().unwrap().iter();
        let logins = sections.filter(|section| section["group"] == "login");
        let findings = logins.flat_map(|section| section["findings"].as_array().unwrap());
        let wrong = findings.filter(|it| it["severity"] != "ok" && it["severity"] != "skipped");
        wrong.map(|found| found["code"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(failures(&[]), [""; 0]);
    assert_eq!(failures(&[("PGTARGETSESSIONATTRS", "standby")]), ["login-session-state"]);
    assert_eq!(failures(&[("PGOPTIONS", "-c nosuch=1")]), ["login-refused"]);

    assert!(both.client().terminate(LIMIT).success());
    let text = std::fs::read_to_string(&file).unwrap();
    both.setup.other.write("client.toml", text + "[client]\n", 0o644);
    let file = file.to_str().unwrap();
    let arguments = ["exec", "--config", file, "--log-format", "json", "--", "sleep", "600"];
    let variables = [("PGOPTIONS", "-c nosuch=1")];
    let exec = Program::spawn(env!("CARGO_BIN_EXE_pgsvid"), arguments, &variables);
    told(&exec, Mark::default(), "refused", "login-refused");
    exec.terminate(LIMIT);
}

/// libpq sends these three variables with each login, and no service can have them.
#[test]
fn b152_what_libpq_sends_of_the_environment_decides() {
    let both = Both::start_with_tables(|setup| tables(setup, ""));
    let file = configuration(&both.setup);
    assert!(both.client().terminate(LIMIT).success());
    let text = std::fs::read_to_string(&file).unwrap();
    both.setup.other.write("client.toml", text + "[client]\n", 0o644);
    let file = file.to_str().unwrap();
    let arguments = ["exec", "--config", file, "--log-format", "json", "--", "sleep", "600"];
    for (value, verdict) in [("default", "admitted"), ("Europe/Berln", "refused")] {
        let exec = Program::spawn(env!("CARGO_BIN_EXE_pgsvid"), arguments, &[("PGTZ", value)]);
        exec.wait_for_event(LIMIT, |event| event["verdict"] == verdict);
        exec.terminate(LIMIT);
    }
}
