//! The steps of the README, as they are written there. What differs: the paths, the port, and who runs them.

use std::time::Duration;

use dev_agent::{DevAgent, Entry};
use test_support::{Cluster, Directory, Program, Psql, eventually};

use crate::documentation::{commands, read};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn a_database_and_a_client_by_the_commands_of_the_readme() {
    let readme = read("README.md");
    let [files, published, client_files] = [(); 3].map(|()| Directory::new());
    let agent = DevAgent::builder(files.subdirectory("agent").join("api.sock"))
        .entry(Entry::new("spiffe://example.org/ns/applications/sa/dbserver").dns("dbserver-svc"))
        .entry(Entry::new("spiffe://example.org/ns/applications/sa/dbclient").dns("dbclient"))
        .start()
        .unwrap();
    let cluster = Cluster::builder().conf("listen_addresses = '127.0.0.1'").start();
    let port = cluster.port().to_string();
    let here = |text: &str| {
        text.replace("unix:///run/spire/agent/public/api.sock", &agent.endpoint())
            .replace("/var/lib/pgsvid", published.path().to_str().unwrap())
            .replace("/var/lib/dbclient", client_files.path().to_str().unwrap())
            .replace("/var/run/postgresql", cluster.socket_directory().to_str().unwrap())
            .replace("port = 5432", &format!("port = {port}"))
            .replace(
                "host = \"dbserver-svc\"",
                &format!("host = \"dbserver-svc\"\nhostaddr = \"127.0.0.1\"\nport = {port}"),
            )
    };
    let installed = |example: &str, name: &str| {
        assert!(readme.contains(&format!("install -D -m 0644 {example} ")), "{example}");
        files.write(name, here(&read(example)), 0o644).display().to_string()
    };
    let database = installed("examples/database/pgsvid.toml", "pgsvid.toml");
    let client = installed("examples/client/pgsvid.toml", "client.toml");
    // The database's commands read the configuration from its usual place.
    let environment = [("PGSVID_CONFIG", database.as_str()), ("PGSVID_LOG_FORMAT", "json")];
    let mut steps = commands(&readme).into_iter().filter(|step| step[0] != "check");
    let mut step = |name: &str| {
        let step = steps.next().unwrap_or_default();
        assert_eq!(step.first().map(String::as_str), Some(name), "{step:?}");
        step
    };

    let fetched = Program::spawn(PGSVID, step("fetch"), &environment);
    assert!(fetched.wait_exit(LIMIT).success());
    // Nobody is there to be asked.
    let apply = step("setup").into_iter().chain(["--yes".to_owned()]);
    let applied = Program::spawn(PGSVID, apply, &environment);
    assert!(applied.wait_exit(LIMIT).success(), "{}", cluster.log());
    let database = Program::spawn(PGSVID, step("run"), &environment);
    database.wait_for_event(LIMIT, |event| event["verdict"] == "current");
    let mark = database.mark();
    agent.rotate().unwrap();
    database.wait_for_event_after(mark, LIMIT, |event| event["verdict"] == "current");

    // What `setup apply` leaves to the reader.
    let code = |begins: &str| {
        let mut codes = readme.split('`').filter(|code| code.starts_with(begins));
        codes.next().unwrap_or_else(|| panic!("the README has {begins}")).to_owned()
    };
    let hba = std::fs::read_to_string(cluster.data_directory().join("pg_hba.conf")).unwrap();
    cluster.write_file("pg_hba.conf", &format!("{}\n{hba}", code("hostssl products")));
    let psql = readme.lines().find(|line| line.starts_with("sudo -u postgres psql")).unwrap();
    let statements: Vec<_> =
        psql.split("-c '").skip(1).map(|text| text.trim_end_matches("' ")).collect();
    assert_eq!(statements.len(), 3, "{psql}");
    for statement in statements {
        cluster.sql("postgres", "postgres", statement.trim_end_matches('\''));
    }

    let mut run = step("run");
    assert_eq!(run.pop().as_deref(), Some("/etc/pgsvid/client.toml"));
    run.push(client);
    let client = Program::spawn(PGSVID, run, &environment[1..]);
    client.wait_for_event(LIMIT, |event| event["event"] == "published");
    let line = readme.lines().find(|line| line.starts_with("PGSERVICEFILE=")).unwrap();
    let variables = line.split_whitespace().filter_map(|word| word.split_once('='));
    let psql = variables.fold(Psql::new(), |psql, (name, value)| psql.env(name, here(value)));
    let psql = psql
        .script("SELECT current_user, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        .env("PGCONNECT_TIMEOUT", "10");
    eventually(LIMIT, "the client is let in", || psql.run().stdout == "dbclient|t");
    let elsewhere = psql.clone().arg("host=elsewhere").run();
    assert!(elsewhere.stderr.contains("does not match host name"), "{elsewhere:?}");
    let other_role = psql.arg("user=postgres").run();
    assert!(other_role.stderr.contains("no pg_hba.conf entry"), "{other_role:?}");

    // The way back.
    let revert = step("setup").into_iter().chain(["--yes".to_owned()]);
    let reverted = Program::spawn(PGSVID, revert, &environment);
    assert!(reverted.wait_exit(LIMIT).success(), "{}", cluster.log());
    assert_eq!(cluster.sql("postgres", "postgres", "SHOW ssl_cert_file"), "server.crt");
}
