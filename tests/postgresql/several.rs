//! Two servers that read the same files.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use test_support::{Cluster, LIMIT, Mark, Mode, Pgsvid, Program, Setup, Signal, eventually};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
/// What the tables say.
const FLAGS: [&str; 2] = ["--postgres", "--port"];

/// A setup whose configuration names its cluster `main`, and another one `other`; none of them runs.
fn two() -> (Setup, Cluster) {
    let setup = Setup::new(PGSVID);
    let other = Cluster::builder().tls_files(setup.files.path()).create();
    other.prepare_role();
    let table = |name: &str, cluster: &Cluster| {
        let host = cluster.socket_directory().display();
        format!("[[postgres]]\nname = '{name}'\nhost = '{host}'\nport = {}\n", cluster.port())
    };
    let listen = setup.other.join("status.sock");
    setup.configure(&format!(
        "{}{}[health]\nlisten = 'unix:{}'\n",
        table("main", &setup.cluster),
        table("other", &other),
        listen.display()
    ));
    (setup, other)
}

fn current(pgsvid: &Pgsvid, consumer: &str, generation: u64) -> Value {
    let is_it = |event: &Value| {
        event["event"] == "rotated"
            && event["consumer"] == consumer
            && event["generation"] == generation
    };
    let event = pgsvid.wait_for_event(LIMIT, is_it);
    assert_eq!(event["verdict"], "current", "{event}");
    event
}

fn assert_serves(cluster: &Cluster, setup: &Setup) {
    assert_eq!(cluster.served().leaf, setup.agent.svid().leaf());
}

/// The same, with pgsvid, and the first set in force at both.
fn in_force() -> (Setup, Cluster, Pgsvid) {
    let (setup, other) = two();
    let pgsvid = setup.spawn_leaving_out(&FLAGS);
    setup.wait_published();
    setup.cluster.start();
    other.start();
    current(&pgsvid, "main", 1);
    current(&pgsvid, "other", 1);
    (setup, other, pgsvid)
}

/// `pgsvid status`, as JSON.
fn status(setup: &Setup) -> Value {
    let socket = format!("unix:{}", setup.other.join("status.sock").display());
    let arguments = ["status", "--format", "json", "--socket", &socket];
    let output = Command::new(PGSVID).args(arguments).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// Another command with the configuration, and no flag that says anything about a PostgreSQL.
fn command(setup: &Setup, arguments: &[&str]) -> Output {
    Command::new(PGSVID)
        .args(arguments)
        .arg("--config")
        .arg(setup.other.join("pgsvid.toml"))
        .env("SPIFFE_ENDPOINT_SOCKET", setup.agent.endpoint())
        .env("PGSVID_DIRECTORY", setup.files.path())
        .output()
        .unwrap()
}

#[test]
fn both_are_reloaded_and_verified_and_distinguished() {
    let (setup, other, pgsvid) = in_force();
    for generation in [1, 2] {
        current(&pgsvid, "main", generation);
        current(&pgsvid, "other", generation);
        assert_serves(&setup.cluster, &setup);
        assert_serves(&other, &setup);
        if generation == 1 {
            setup.agent.rotate().unwrap();
        }
    }
    let view = status(&setup);
    let named: Vec<_> = view["consumers"].as_array().unwrap().iter().collect();
    assert_eq!(named.len(), 2, "{view}");
    for (consumer, name) in named.into_iter().zip(["main", "other"]) {
        assert_eq!((&consumer["name"], &consumer["verdict"]), (&name.into(), &"current".into()));
        assert_eq!(consumer["served"]["serial"], view["targets"][0]["published"]["serial"]);
    }
    assert_eq!((&view["ready"], &view["completed"]), (&true.into(), &4.into()), "{view}");

    // What is wrong with one is said of it.
    other.set_conf("ssl = off");
    pgsvid.signal(Signal::HUP);
    eventually(LIMIT, "it is known", || status(&setup)["ready"] == false);
    let view = status(&setup);
    let missing = view["missing"][0].as_str().unwrap();
    assert!(missing.starts_with("other: "), "{missing}");
    assert_eq!(view["consumers"][0]["verdict"], "current", "{view}");
}

#[test]
fn one_that_is_down_keeps_nothing_from_the_other() {
    let (setup, other) = two();
    let pgsvid = setup.spawn_leaving_out(&FLAGS);
    setup.wait_published();
    setup.cluster.start();
    current(&pgsvid, "main", 1);
    for generation in 2..=4 {
        setup.agent.rotate().unwrap();
        current(&pgsvid, "main", generation);
        assert_serves(&setup.cluster, &setup);
    }
    // A start reads what is published then.
    other.start();
    current(&pgsvid, "other", 4);
    assert_serves(&other, &setup);
    other.stop(Mode::Fast);
    setup.agent.rotate().unwrap();
    current(&pgsvid, "main", 5);
}

#[test]
fn one_that_answers_nothing_keeps_the_next_set_back_for_its_deadline_alone() {
    let (setup, other, pgsvid) = in_force();
    other.signal(Signal::STOP);
    for generation in 2..=3 {
        setup.agent.rotate().unwrap();
        current(&pgsvid, "main", generation);
        assert_serves(&setup.cluster, &setup);
    }
    other.signal(Signal::CONT);
    current(&pgsvid, "other", 3);
    assert_serves(&other, &setup);
    assert!(pgsvid.terminate(LIMIT).success());
}

#[test]
fn one_that_refuses_the_files_is_alarmed_about_alone() {
    let (setup, other, pgsvid) = in_force();
    other.set_conf("ssl_crl_file = '/nonexistent'");
    setup.agent.rotate().unwrap();
    current(&pgsvid, "main", 2);
    let (alarm, _) = pgsvid.alarm_after(Mark::default());
    assert_eq!((&alarm["consumer"], &alarm["verdict"]), (&"other".into(), &"still-old".into()));
}

#[test]
fn commands_examine_both_and_set_up_the_one_that_is_named() {
    let (setup, other, _pgsvid) = in_force();
    let text = |output: &Output| {
        let out = String::from_utf8_lossy(&output.stdout);
        format!("{out}{}", String::from_utf8_lossy(&output.stderr))
    };
    let check = command(&setup, &["check"]);
    for cluster in [&setup.cluster, &other] {
        let socket = format!(".s.PGSQL.{}", cluster.port());
        let path = Path::new(cluster.socket_directory()).join(socket);
        assert!(text(&check).contains(&path.display().to_string()), "{}", text(&check));
    }
    let unnamed = command(&setup, &["setup", "sql"]);
    assert_eq!(unnamed.status.code(), Some(2), "{}", text(&unnamed));
    assert!(text(&unnamed).contains("(main, other): choose one with --name"), "{}", text(&unnamed));
    let named = command(&setup, &["setup", "sql", "--name", "other"]);
    assert!(named.status.success(), "{}", text(&named));
    let alone = command(&setup, &["check", "--name", "other"]);
    let main = format!("PGSQL.{}", setup.cluster.port());
    assert!(!text(&alone).contains(&main), "{}", text(&alone));
}

/// What is first said of one of the servers and a generation.
fn first_reported(pgsvid: &Pgsvid, consumer: &str, generation: u64) -> Value {
    pgsvid.wait_for_event(LIMIT, |event| {
        let said = ["rotated", "reload-pending", "not-in-force", "unproven", "still-not-in-force"];
        event["consumer"] == consumer
            && event["generation"] == generation
            && said.iter().any(|name| event["event"] == *name)
    })
}

/// Two servers with one port, on other addresses: what one serves was taken for the other's.
#[test]
fn b36_a_server_is_not_current_by_the_answer_of_another_one() {
    let setup = Setup::new(PGSVID);
    let before = setup.spawn();
    setup.wait_published();
    assert!(before.terminate(LIMIT).success());
    setup.cluster.start();
    let port = setup.cluster.port();
    let other = Cluster::builder()
        .tls_files(setup.files.path())
        .conf("listen_addresses = '127.0.0.2'")
        .arg("-p", &port.to_string())
        .create();
    other.prepare_role();
    let table = |name: &str, cluster: &Cluster, more: &str| {
        let host = cluster.socket_directory().display();
        format!("[[postgres]]\nname = '{name}'\nhost = '{host}'\nport = {port}\n{more}\n")
    };
    let listen = setup.other.join("status.sock");
    let tables = |more: &str| {
        let (main, other) = (table("main", &setup.cluster, more), table("other", &other, more));
        format!("{main}{other}[health]\nlisten = 'unix:{}'\n", listen.display())
    };
    // The same address twice is a mistake.
    for more in ["127.0.0.1", "localhost"] {
        setup.configure(&tables(&format!("verify = '{more}:{port}'")));
        let refused = command(&setup, &["check"]);
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert!(
            String::from_utf8_lossy(&refused.stderr).contains("two tables name"),
            "{refused:?}"
        );
    }

    setup.configure(&tables(""));
    let pgsvid = setup.spawn_leaving_out(&FLAGS);
    current(&pgsvid, "main", 0);
    let said = first_reported(&pgsvid, "other", 0);
    assert_eq!(
        (&said["event"], &said["verdict"]),
        (&"reload-pending".into(), &"unreachable".into())
    );
    eventually(LIMIT, "it is known", || status(&setup)["ready"] == false);
    other.start();
    current(&pgsvid, "other", 0);
    setup.agent.rotate().unwrap();
    current(&pgsvid, "main", 1);
    assert_eq!(current(&pgsvid, "other", 1)["verdict"], "current");
    // Its role may not log in any more, and it is another one's certificate that is seen.
    other.set_hba("local all pgsvid reject\nlocal all all peer");
    other.sighup();
    setup.agent.rotate().unwrap();
    current(&pgsvid, "main", 2);
    assert_eq!(first_reported(&pgsvid, "other", 2)["event"], "not-in-force");
    eventually(LIMIT, "it is known", || status(&setup)["consumers"][1]["verdict"] == "unreachable");
    let configuration = setup.other.join("pgsvid.toml");
    let arguments = ["check", "--format", "json", "--config", configuration.to_str().unwrap()];
    let endpoint = setup.agent.endpoint();
    let variables = [
        ("SPIFFE_ENDPOINT_SOCKET", endpoint.as_str()),
        ("PGSVID_DIRECTORY", setup.files.path().to_str().unwrap()),
    ];
    let check = Program::spawn(PGSVID, arguments, &variables);
    check.wait_exit(LIMIT);
    let report: Value = serde_json::from_str(&check.standard_output()).unwrap();
    let served = report.to_string().matches("verdict-current").count();
    assert_eq!(served, 1, "{report:#}");
    other.stop(Mode::Fast);
    setup.agent.rotate().unwrap();
    current(&pgsvid, "main", 3);
    assert_ne!(first_reported(&pgsvid, "other", 3)["event"], "rotated");
}
