//! Replication by certificate: a primary, a standby, a standby behind it, and a subscriber, each with a pgsvid and an identity of its
//! own. What `pgsvid setup replication` prints is run as printed.

mod changes;
mod order;
mod outgoing;
mod planted;
mod shown;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use dev_agent::Entry;
use serde_json::Value;
use test_support::{
    Account, Cluster, Directory, Installation, LIMIT, Pgsvid, Program, Setup, eventually,
};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
/// Reconnects are tried soon, and logical replication is possible.
const CONF: &str = "wal_retrieve_retry_interval = 200ms\nwal_level = logical\nwal_keep_size = 64MB\nmax_wal_senders = 20\n\
                    max_replication_slots = 20\nfull_page_writes = on";

/// A server with a pgsvid and a directory of its own. Its identity comes from the agent of the primary.
struct Node {
    name: &'static str,
    cluster: Cluster,
    files: Directory,
    other: Directory,
}

impl Node {
    /// Nothing runs yet. The CN of its certificates is `name`, and `localhost` is among their DNS names.
    fn new(agent: &dev_agent::DevAgent, name: &'static str) -> Self {
        let files = Directory::new();
        let entry = Entry::new(Self::spiffe_id(name)).dns(name).dns("localhost");
        agent.add_entry(entry).unwrap();
        let cluster = Cluster::builder().tls_files(files.path()).conf(CONF).create();
        Self { name, cluster, files, other: Directory::new() }
    }

    fn spiffe_id(name: &str) -> String {
        format!("spiffe://example.org/ns/test/sa/{name}")
    }

    fn arguments(&self, agent: &dev_agent::DevAgent) -> Vec<String> {
        let listen = self.other.join("status.sock");
        let toml = format!("[health]\nlisten = 'unix:{}'\n", listen.display());
        let config = self.other.write("pgsvid.toml", toml, 0o644).display().to_string();
        let path = |path: &std::path::Path| path.display().to_string();
        let values = [
            ("--config", config),
            ("--endpoint", agent.endpoint()),
            ("--spiffe-id", Self::spiffe_id(self.name)),
            ("--directory", path(self.files.path())),
            ("--postgres", path(self.cluster.socket_directory())),
            ("--port", self.cluster.port().to_string()),
        ];
        values.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
    }

    fn spawn(&self, primary: &Setup) -> Pgsvid {
        let mut arguments = self.arguments(&primary.agent);
        arguments.extend(["--log-format", "json"].map(str::to_owned));
        let pgsvid = primary.spawn_given(&arguments);
        eventually(LIMIT, "a set is published", || self.files.join("svid_bundle.pem").exists());
        pgsvid
    }

    /// `pgsvid setup replication` for it.
    fn setup(&self, agent: &dev_agent::DevAgent, primary: &Cluster, more: &[&str]) -> Parts {
        Parts::print(&self.arguments(agent), primary, self.name, more)
    }

    /// Replaces its data by a copy of the primary's, as printed. Its own configuration stays.
    fn copy(&self, parts: &Parts) {
        let data = self.cluster.data_directory();
        let conf = fs::read_to_string(data.join("postgresql.conf")).unwrap();
        fs::remove_dir_all(&data).unwrap();
        shell(&self.cluster, &parts.of("On the standby, as PostgreSQL's user in a shell"));
        self.cluster.write_file("postgresql.conf", &conf);
    }
}

/// Runs a part in a shell, with the data directory as `PGDATA`.
#[track_caller]
fn shell(cluster: &Cluster, script: &str) {
    let programs = Installation::found().program("pg_basebackup");
    let path = format!("{}:/usr/bin:/bin", programs.parent().unwrap().display());
    let data = cluster.data_directory().display().to_string();
    let variables = [("PATH", path.as_str()), ("PGDATA", data.as_str())];
    let arguments = ["-ec".to_owned(), script.to_owned()];
    let program = Program::spawn_as(Account::server(), "/bin/bash", arguments, &variables);
    let status = program.wait_exit(LIMIT);
    assert!(status.success(), "{script}: {}", program.standard_error());
}

/// What `pgsvid setup replication` has printed.
struct Parts(String);

impl Parts {
    /// `pgsvid setup replication` with these flags of `run`.
    fn print(usual: &[String], primary: &Cluster, name: &str, more: &[&str]) -> Self {
        let address = format!("localhost:{}", primary.port());
        let given = ["setup", "replication", "--primary", &address, "--cn", name];
        let all = given.into_iter().chain(more.iter().copied());
        let all = all.chain(usual.iter().map(String::as_str));
        let program = Program::spawn_as(Account::server(), PGSVID, all, &[]);
        let status = program.wait_exit(LIMIT);
        assert!(status.success(), "{}", program.standard_error());
        Self(program.standard_output())
    }

    /// The part whose heading begins so.
    #[track_caller]
    fn of(&self, heading: &str) -> String {
        let parts = self.0.split("\n## ").skip(1);
        let mut found = parts.filter_map(|part| part.split_once('\n'));
        let (_, part) = found
            .find(|(first, _)| first.starts_with(heading))
            .unwrap_or_else(|| panic!("no part {heading:?}: {}", self.0));
        part.to_owned()
    }
}

/// Lets standbys and subscribers in as the parts say.
fn admit(cluster: &Cluster, parts: &[&Parts]) {
    let all = |heading| {
        let mut lines: Vec<String> = Vec::new();
        for part in parts {
            let part = part.of(heading);
            let new = part.lines().filter(|line| !lines.contains(&(*line).to_owned()));
            let new: Vec<String> = new.map(str::to_owned).collect();
            lines.extend(new);
        }
        lines.join("\n")
    };
    let hba = all("On the primary, in pg_hba.conf");
    cluster.set_hba(&format!("local postgres pgsvid peer map=pgsvid\n{hba}\nlocal all all peer"));
    let ident = all("On the primary, in pg_ident.conf");
    cluster.set_ident(&format!("pgsvid {} pgsvid\n{ident}", Account::server().name()));
    if cluster.is_running() {
        cluster.reload();
    }
}

/// The names of what streams from it.
fn streams(cluster: &Cluster) -> Vec<String> {
    let query =
        "SELECT application_name FROM pg_stat_replication WHERE state = 'streaming' ORDER BY 1";
    let streams = cluster.sql("postgres", "postgres", query);
    streams.lines().map(str::to_owned).collect()
}

#[track_caller]
fn wait_for_streams(cluster: &Cluster, names: &[&str]) {
    eventually(LIMIT, format!("{names:?} stream"), || streams(cluster) == names);
}

/// Ends all replication connections, and waits until they are there again with another process.
fn cut(cluster: &Cluster, names: &[&str]) {
    let pids =
        || cluster.sql("postgres", "postgres", "SELECT pid FROM pg_stat_replication ORDER BY 1");
    let before = pids();
    let ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_replication";
    cluster.sql("postgres", "postgres", ended);
    eventually(LIMIT, "the connections are new", || {
        let now = pids();
        now.lines().all(|pid| !before.lines().any(|old| old == pid)) && streams(cluster) == names
    });
}

/// The serial numbers of the certificates that it sees, in hexadecimal, by application name.
fn serial(cluster: &Cluster, application: &str) -> String {
    cluster.sql(
        "postgres",
        "postgres",
        &format!(
            "WITH RECURSIVE r(n,h) AS (SELECT client_serial, '' FROM pg_stat_ssl JOIN pg_stat_replication USING (pid) \
             WHERE application_name = '{application}' UNION ALL SELECT div(n,16), \
             substr('0123456789abcdef', mod(n,16)::int + 1, 1) || h FROM r WHERE n > 0) SELECT h FROM r WHERE n = 0"
        ),
    )
}

/// `pgsvid check` with these flags of `run`.
fn check(usual: &[String], more: &[&str]) -> Value {
    let usual = usual.chunks(2).filter(|pair| pair[0] != "--log-format").flatten();
    let given = ["check", "--format", "json"].into_iter().chain(more.iter().copied());
    let all = given.chain(usual.map(String::as_str));
    let program = Program::spawn_as(Account::server(), PGSVID, all, &[]);
    program.wait_exit(LIMIT);
    serde_json::from_str(&program.standard_output())
        .unwrap_or_else(|_| panic!("{}", program.standard_error()))
}

/// All findings with that code.
fn all_found<'a>(report: &'a Value, code: &str) -> Vec<&'a Value> {
    let sections = report["sections"].as_array().unwrap().iter();
    let findings = sections.flat_map(|section| section["findings"].as_array().unwrap());
    findings.filter(|found| found["code"] == code).collect()
}

/// The findings with that code: severity and object.
fn found(report: &Value, code: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mine = all_found(report, code).into_iter();
    mine.map(|found| (text(&found["severity"]), text(&found["object"]))).collect()
}

/// Runs the command of the only finding with that code, as printed.
#[track_caller]
fn paste(report: &Value, code: &str) {
    let [finding] = all_found(report, code)[..] else { panic!("not one {code}: {report:#}") };
    let command = finding["command"].as_str().unwrap_or_else(|| panic!("no command: {finding:#}"));
    let arguments = ["-c".to_owned(), command.to_owned()];
    let program = Program::spawn_as(Account::server(), "/bin/bash", arguments, &[]);
    let status = program.wait_exit(LIMIT);
    assert!(status.success(), "{command}: {}", program.standard_error());
}

fn pair(severity: &str, object: &str) -> (String, String) {
    (severity.to_owned(), object.to_owned())
}

/// `pgsvid status --format json` of that node.
fn status(directory: &Directory) -> Value {
    let socket = format!("unix:{}", directory.join("status.sock").display());
    let arguments = ["status", "--format", "json", "--socket", &socket];
    let program = Program::spawn(PGSVID, arguments, &[]);
    program.wait_exit(LIMIT);
    serde_json::from_str(&program.standard_output()).unwrap_or_default()
}

fn metrics(directory: &Directory) -> String {
    get(directory, "/metrics")
}

fn get(directory: &Directory, path: &str) -> String {
    let mut stream = UnixStream::connect(directory.join("status.sock")).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A primary, a standby, a standby behind it, and a subscriber, all of which run and stream.
struct World {
    primary: Setup,
    standby: Node,
    cascade: Node,
    subscriber: Node,
    /// In this order.
    pgsvids: [Pgsvid; 4],
}

impl World {
    fn start() -> Self {
        let primary = Setup::builder(PGSVID).cluster(|cluster| cluster.conf(CONF)).create();
        let listen = primary.other.join("status.sock");
        let health = format!(
            "[postgres]\nclient_svid_life = '1h'\n[health]\nlisten = 'unix:{}'\n",
            listen.display()
        );
        primary.configure(&format!("[svid]\nspiffe_id = '{}'\n{health}", Setup::SPIFFE_ID));
        let agent = &primary.agent;
        let [standby, cascade, subscriber] =
            ["standby", "cascade", "subscriber"].map(|name| Node::new(agent, name));
        let first = primary.start();
        let cluster = &primary.cluster;
        cluster.sql(
            "postgres",
            "postgres",
            "GRANT pg_read_all_stats TO pgsvid; CREATE TABLE t (n int PRIMARY KEY)",
        );
        cluster.sql(
            "postgres",
            "postgres",
            "CREATE PUBLICATION pub FOR TABLE t; INSERT INTO t VALUES (1)",
        );

        let second = standby.spawn(&primary);
        let third = cascade.spawn(&primary);
        let fourth = subscriber.spawn(&primary);
        let of_standby = standby.setup(agent, cluster, &["--slot", "standby"]);
        let of_cascade = cascade.setup(agent, &standby.cluster, &[]);
        let logical = ["--publication", "pub", "--publication-database", "postgres"];
        let of_subscriber = subscriber.setup(agent, cluster, &logical);
        for parts in [&of_standby, &of_subscriber, &of_standby] {
            cluster.sql(
                "postgres",
                "postgres",
                &parts.of("On the primary, in psql as a superuser"),
            );
        }
        admit(cluster, &[&of_standby, &of_subscriber]);

        standby.copy(&of_standby);
        admit(&standby.cluster, &[&of_cascade]);
        standby.cluster.start();
        wait_for_streams(cluster, &["standby"]);
        // The role has come with the copy, so this changes nothing.
        let prepare = of_cascade.of("On the primary, in psql as a superuser");
        standby.cluster.sql("postgres", "postgres", &prepare);
        cascade.copy(&of_cascade);
        cascade.cluster.start();
        wait_for_streams(&standby.cluster, &["cascade"]);

        subscriber.cluster.prepare_role();
        subscriber.cluster.start();
        let create = of_subscriber.of("On the subscriber, in psql as a superuser");
        let grant = "GRANT pg_read_all_stats TO pgsvid; CREATE TABLE t (n int PRIMARY KEY)";
        subscriber.cluster.sql("postgres", "postgres", grant);
        subscriber.cluster.sql("postgres", "postgres", &create);
        let world =
            Self { primary, standby, cascade, subscriber, pgsvids: [first, second, third, fourth] };
        wait_for_streams(&world.primary.cluster, &["standby", "subscriber"]);
        for (at, pgsvid) in world.pgsvids.iter().enumerate() {
            eventually(LIMIT, format!("the first set is served by {at}"), || {
                pgsvid.events("rotated").last().is_some_and(|it| it["verdict"] == "current")
            });
        }
        world.assert_replicates(2);
        world
    }

    /// A row that is written to the primary arrives everywhere.
    #[track_caller]
    fn assert_replicates(&self, row: u32) {
        let insert = format!("INSERT INTO t VALUES ({row})");
        self.primary.cluster.sql("postgres", "postgres", &insert);
        let has = format!("SELECT count(*) FROM t WHERE n = {row}");
        for node in [&self.standby, &self.cascade, &self.subscriber] {
            eventually(LIMIT, format!("{} has row {row}", node.name), || {
                node.cluster.sql("postgres", "postgres", &has) == "1"
            });
        }
    }

    /// Cuts each connection, and waits until all stream again; each shows the newest certificate.
    #[track_caller]
    fn cut(&self) {
        cut(&self.primary.cluster, &["standby", "subscriber"]);
        cut(&self.standby.cluster, &["cascade"]);
        let (primary, standby) = (&self.primary.cluster, &self.standby.cluster);
        for (cluster, name) in [(primary, "standby"), (primary, "subscriber"), (standby, "cascade")]
        {
            let svids = self.primary.agent.svids();
            let svid = svids.iter().find(|svid| svid.spiffe_id == Node::spiffe_id(name)).unwrap();
            let wanted = svid.serial_hex();
            assert_eq!(serial(cluster, name), wanted.trim_start_matches('0'), "{name}");
        }
    }

    /// Waits until each has the agent's newest set in force.
    #[track_caller]
    fn converge(&self) {
        let names = [Setup::SPIFFE_ID.to_owned()].into_iter();
        let names = names.chain(["standby", "cascade", "subscriber"].map(Node::spiffe_id));
        let svids = self.primary.agent.svids();
        for (name, pgsvid) in names.zip(&self.pgsvids) {
            let svid = svids.iter().find(|svid| svid.spiffe_id == name).unwrap();
            let hex = svid.serial_hex();
            let wanted = format!("{}:{}:{}", &hex[..2], &hex[2..4], &hex[4..6]);
            eventually(LIMIT, format!("{name} serves the newest set"), || {
                pgsvid
                    .events("rotated")
                    .last()
                    .is_some_and(|event| event["serial"] == wanted && event["verdict"] == "current")
            });
        }
    }
}
