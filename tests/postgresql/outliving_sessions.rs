//! S01 to S06: sessions that outlive the certificate of their client.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle, sleep};
use std::time::Duration;

use dev_agent::{Entry, Svid};
use serde_json::Value;
use test_support::{
    Directory, LIMIT, Mode, Pgsvid, Program, Psql, PsqlOutput, Setup, Signal, eventually,
};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
/// Any role by any certificate of the bundle, and one role without a certificate.
const HBA: &str = "hostssl postgres plain 127.0.0.1/32 trust\n\
                   hostssl postgres,replication all 127.0.0.1/32 trust clientcert=verify-ca";
const ROLES: &str = "CREATE ROLE app LOGIN; CREATE ROLE plain LOGIN; CREATE ROLE boss SUPERUSER LOGIN; \
                     CREATE ROLE standby REPLICATION LOGIN";
const RIGHTS: &str = "GRANT pg_read_all_stats, pg_signal_backend TO pgsvid";
/// A certificate lives for two seconds, and one second later its sessions are ended.
const ENDING: &str = "verify_every = '1s'\nclient_svid_life = '2s'\nend_sessions = 'after 1s'";

struct World {
    setup: Setup,
    pgsvid: Pgsvid,
    svid: Svid,
    /// The certificate of all clients.
    files: Directory,
}

impl World {
    /// A running pgsvid, with these lines in its table of PostgreSQL, beside a server with the roles.
    fn start(postgres: &str, more: &str) -> Self {
        let setup = Setup::builder(PGSVID)
            .cluster(|cluster| cluster.hba(HBA).conf("log_connections = on"))
            .create();
        let listen = setup.other.join("status.sock");
        setup.configure(&format!(
            "[postgres]\n{postgres}\n[health]\nlisten = 'unix:{}'",
            listen.display()
        ));
        // pgsvid finds the roles as they are: what it logs about them is about this state alone.
        let arguments = setup.arguments();
        let fetch = ["fetch"].into_iter().chain(arguments.iter().map(String::as_str));
        assert!(Program::spawn(PGSVID, fetch, &[]).wait_exit(LIMIT).success());
        setup.cluster.start();
        setup.cluster.sql("postgres", "postgres", &format!("{ROLES}; {more}"));
        let pgsvid = setup.spawn();
        assert_eq!(pgsvid.event("rotated")["verdict"], "current");
        let entry = Entry::new("spiffe://example.org/ns/test/sa/app").dns("app");
        let svid = setup.agent.issue(&entry).unwrap();
        let files = Directory::new();
        files.write("svid.pem", svid.chain_pem(), 0o644);
        files.write("svid_key.pem", svid.key_pem(), 0o600);
        files.write("svid_bundle.pem", svid.bundle_pem(), 0o644);
        Self { setup, pgsvid, svid, files }
    }

    /// A session as this role, with the certificate.
    #[track_caller]
    fn session(&self, role: &str) -> Held {
        self.session_with(role, "")
    }

    #[track_caller]
    fn session_with(&self, role: &str, more: &str) -> Held {
        Held::open(self.setup.cluster.client(self.files.path(), &quoted(role), more))
    }

    /// One as this role, over TLS and without a certificate.
    #[track_caller]
    fn session_without_certificate(&self, role: &str) -> Held {
        let port = self.setup.cluster.port();
        Held::open(Psql::new().arg("-w").arg(format!(
            "host=127.0.0.1 port={port} user={role} dbname=postgres sslmode=require sslcert=/nowhere"
        )))
    }

    /// How many processes serve this role.
    fn count(&self, role: &str) -> usize {
        let query = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}'");
        self.setup.cluster.sql("postgres", "postgres", &query).parse().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> (String, Option<i32>) {
        let settings = self.setup.arguments();
        // The command prints no log.
        let settings = settings.chunks(2).filter(|pair| pair[0] != "--log-format").flatten();
        let all = arguments.iter().copied().chain(settings.map(String::as_str));
        let program = Program::spawn(PGSVID, all, &[]);
        let status = program.wait_exit(LIMIT).code();
        (program.standard_output() + &program.standard_error(), status)
    }

    fn status(&self, more: &[&str]) -> String {
        let socket = format!("unix:{}", self.setup.other.join("status.sock").display());
        let arguments =
            ["status", "--socket", &socket, "--sessions"].into_iter().chain(more.iter().copied());
        let program = Program::spawn(PGSVID, arguments, &[]);
        let status = program.wait_exit(LIMIT);
        assert!(status.success(), "{}", program.standard_error());
        program.standard_output()
    }

    fn outlived(&self) -> Value {
        let status: Value = serde_json::from_str(&self.status(&["--format", "json"])).unwrap();
        status["servers"][0]["sessions"]["outlived"].clone()
    }

    fn metrics(&self) -> String {
        let mut stream = UnixStream::connect(self.setup.other.join("status.sock")).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// What `check` finds about the rights, and its remedy.
    fn rights(&self) -> Option<(String, Value)> {
        let (report, _) = self.command(&["check", "--format", "json"]);
        let report: Value = serde_json::from_str(&report).unwrap();
        let sections = report["sections"].as_array().unwrap().iter();
        let mut findings = sections.flat_map(|section| section["findings"].as_array().unwrap());
        let found = findings.find(|found| found["code"] == "session-rights")?;
        Some((found["severity"].as_str().unwrap().to_owned(), found["command"].clone()))
    }
}

/// A value of a connection string.
fn quoted(role: &str) -> String {
    format!("'{}'", role.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// A session that stays open until it is closed, or ended by the server.
struct Held {
    running: JoinHandle<PsqlOutput>,
    place: Directory,
}

impl Held {
    #[track_caller]
    fn open(psql: Psql) -> Self {
        let place = Directory::new();
        let (ready, go) = (place.join("ready"), place.join("go"));
        let wait = format!(
            "\\! touch {}; until [ -e {} ]; do sleep 0.05; done\n",
            ready.display(),
            go.display()
        );
        let psql = psql.script(&format!("SELECT 1;\n{wait}SELECT 2;\n"));
        let running = thread::spawn(move || psql.run());
        eventually(LIMIT, "a session is open", || ready.exists() || running.is_finished());
        Self { running, place }
    }

    /// Whether it still works; closes it.
    fn works(self) -> bool {
        self.place.write("go", "", 0o644);
        let output = self.running.join().unwrap();
        assert!(output.stdout.starts_with('1'), "{output:?}");
        let works = output.stdout == "1\n2" && output.status.success();
        let ended = output.stderr.contains("terminating connection due to administrator command");
        assert!(works != ended, "{output:?}");
        works
    }
}

/// Waits until pgsvid has looked three times more.
fn wait_for_more_looks(world: &World) {
    let logins = |log: String| log.matches("connection authorized: user=pgsvid").count();
    let mark = world.setup.cluster.log_mark();
    eventually(LIMIT, "pgsvid has looked again", || {
        logins(world.setup.cluster.log_since(mark)) >= 3
    });
}

#[test]
fn s01_s02_a_session_outlives_its_certificate_and_is_ended_and_those_that_must_not_be_stay() {
    let world = World::start(ENDING, RIGHTS);
    let stay = [
        world.session("boss"),
        world.session("pgsvid"),
        world.session_with("standby", "replication=database"),
        world.session_without_certificate("plain"),
    ];
    let app = world.session("app");
    let pid = world.setup.cluster.sql(
        "postgres",
        "postgres",
        "SELECT pid FROM pg_stat_activity WHERE usename = 'app'",
    );
    let ended = world.pgsvid.event("session-ended");
    assert_eq!(ended["role"], "app", "{ended}");
    assert_eq!(ended["pid"].to_string(), pid, "{ended}");
    let serial = ended["serial"].as_str().unwrap().replace(':', "");
    assert!(serial.eq_ignore_ascii_case(&world.svid.serial_hex().replace(':', "")), "{ended}");
    assert!(!app.works());
    // Those that stay are older than that by now.
    wait_for_more_looks(&world);
    let outlived = world.outlived();
    assert_eq!(outlived["ended"], 1, "{outlived}");
    // Sessions of replication are not counted.
    assert_eq!(outlived["certified"], 2, "{outlived}");
    let roles: Vec<_> =
        outlived["by_role"].as_array().unwrap().iter().map(|it| &it["role"]).collect();
    assert_eq!(roles, ["boss", "pgsvid"], "{outlived}");
    assert!(world.metrics().contains("\npgsvid_sessions_ended_total{consumer=\"postgres\"} 1\n"));
    assert_eq!(world.pgsvid.events("session-ended").len(), 1);
    assert_eq!(world.pgsvid.events("sessions-not-ended").len(), 0);
    for session in stay {
        assert!(session.works());
    }
}

/// PostgreSQL lets the session of a role go on after the role was dropped.
#[test]
fn b99_the_session_of_a_role_that_was_dropped_is_ended_like_others() {
    let world = World::start(
        "verify_every = '1s'\nclient_svid_life = '5s'\nend_sessions = 'after 1s'",
        RIGHTS,
    );
    let app = world.session("app");
    world.setup.cluster.sql("postgres", "postgres", "DROP ROLE app");
    let ended = world.pgsvid.event("session-ended");
    assert_eq!(ended["role"], "a role that was dropped", "{ended}");
    assert!(!app.works());
    assert_eq!(world.pgsvid.events("sessions-not-ended").len(), 0);
}

/// Nothing is ended by default, and nothing more is asked than before.
#[test]
fn s01_sessions_are_counted_by_role_and_age_and_stay_by_default() {
    let world = World::start("verify_every = '1s'\nclient_svid_life = '1s'", RIGHTS);
    let names = "CREATE ROLE other LOGIN; CREATE ROLE \"o'd\"\"d\\r\" LOGIN";
    world.setup.cluster.sql("postgres", "postgres", names);
    let sessions = ["app", "app", "other", "o'd\"d\\r"].map(|role| world.session(role));
    sleep(Duration::from_millis(1500));
    // The first count of the new sessions follows a rotation.
    let mark = world.pgsvid.mark();
    world.setup.agent.rotate().unwrap();
    world.pgsvid.event_after(mark, "rotated");
    eventually(LIMIT, "the sessions are counted", || world.outlived()["certified"] == 4);
    let young = world.session("app");

    let outlived = world.outlived();
    assert_eq!(outlived["life_s"], 1);
    assert_eq!(outlived["ended"], 0);
    let roles = outlived["by_role"].as_array().unwrap();
    let counts: Vec<_> = roles
        .iter()
        .map(|it| (it["role"].as_str().unwrap(), it["count"].as_u64().unwrap()))
        .collect();
    assert_eq!(counts, [("app", 2), ("o'd\"d\\r", 1), ("other", 1)], "{outlived}");
    assert_eq!(roles[0]["by_age"][0], serde_json::json!(["1h", 2]), "{outlived}");
    let metrics = world.metrics();
    for sample in [
        "pgsvid_sessions_certified{consumer=\"postgres\"} 4",
        "pgsvid_sessions_outlived{consumer=\"postgres\",role=\"app\",age=\"1h\"} 2",
        "pgsvid_sessions_outlived{consumer=\"postgres\",role=\"app\",age=\"more\"} 0",
        "pgsvid_sessions_outlived{consumer=\"postgres\",role=\"o'd\\\"d\\\\r\",age=\"1h\"} 1",
        "pgsvid_sessions_ended_total{consumer=\"postgres\"} 0",
    ] {
        assert!(metrics.contains(&format!("\n{sample}\n")), "{sample} in {metrics}");
    }
    let text = world.status(&[]);
    assert!(text.lines().count() == 4, "{text}");

    // A settled server is not asked for anything.
    let mark = world.setup.cluster.log_mark();
    sleep(Duration::from_secs(4));
    let log = world.setup.cluster.log_since(mark);
    assert!(!log.contains("user=pgsvid"), "{log}");
    assert_eq!(world.pgsvid.events("session-ended").len(), 0);
    assert_eq!(world.rights(), None);
    for session in sessions.into_iter().chain([young]) {
        assert!(session.works());
    }
}

#[test]
fn s03_a_role_without_the_rights_causes_one_warning_and_its_remedy_is_enough() {
    let world = World::start(ENDING, "SELECT 1");
    let app = world.session("app");
    let warning = world.pgsvid.event("sessions-not-ended");
    assert_eq!(
        (warning["level"].as_str(), &warning["code"]),
        (Some("WARN"), &"session-rights".into())
    );
    wait_for_more_looks(&world);
    assert_eq!(world.pgsvid.events("sessions-not-ended").len(), 1);
    let (severity, command) = world.rights().unwrap();
    assert_eq!((severity.as_str(), &command), ("warning", &warning["command"]));
    let text = world.status(&[]);
    assert!(text.contains(command.as_str().unwrap()), "{text}");

    // It sees them now, and may still not end them.
    let cluster = &world.setup.cluster;
    cluster.sql("postgres", "postgres", "GRANT pg_read_all_stats TO pgsvid");
    eventually(LIMIT, "it says what is still missing", || {
        world.pgsvid.events("sessions-not-ended").len() == 2
    });
    eventually(LIMIT, "they are counted", || world.outlived()["by_role"][0]["role"] == "app");
    assert_eq!(world.count("app"), 1);
    wait_for_more_looks(&world);
    let warnings = world.pgsvid.events("sessions-not-ended");
    assert_eq!(warnings.len(), 2);
    let granted = "GRANT pg_signal_backend TO pgsvid";
    assert!(warnings[1]["command"].as_str().unwrap().contains(granted), "{warnings:?}");

    // The printed script is enough, and can be run again.
    let (script, status) = world.command(&["setup", "sql", "--sessions"]);
    assert_eq!(status, Some(0), "{script}");
    for _ in 0..2 {
        cluster.sql("postgres", "postgres", &script);
    }
    world.pgsvid.event("session-ended");
    assert!(!app.works());
    assert_eq!(world.rights().unwrap().0, "ok");
    let (plain, _) = world.command(&["setup", "sql"]);
    assert!(
        !plain.contains("pg_signal_backend") && !plain.contains("pg_read_all_stats"),
        "{plain}"
    );
}

#[test]
fn s03_a_role_that_may_not_see_sessions_is_reported_how_and_nothing_is_wrong() {
    let world = World::start("", "SELECT 1");
    let rights = || {
        let status: Value = serde_json::from_str(&world.status(&["--format", "json"])).unwrap();
        status["servers"][0].clone()
    };
    eventually(LIMIT, "the rights are known", || rights()["rights"]["code"] == "session-rights");
    assert_eq!(rights()["sessions"], Value::Null);
    assert_eq!(rights()["rights"]["severity"], "skipped");
    let text = world.status(&[]);
    let (lines, grant) = (text.lines().count(), "GRANT pg_read_all_stats TO pgsvid");
    assert!(lines == 2 && text.contains(grant) && !text.contains("pg_signal_backend"), "{text}");
    assert_eq!(world.rights(), None);
    let (script, _) = world.command(&["setup", "sql", "--sessions"]);
    assert!(
        script.contains("pg_read_all_stats") && !script.contains("pg_signal_backend"),
        "{script}"
    );
    assert_eq!(world.pgsvid.events("sessions-not-ended").len(), 0);
}

/// The right to execute the function was taken from everybody: PostgreSQL refuses, and pgsvid says so once.
#[test]
fn s03_a_refusal_is_logged_once() {
    let world = World::start(ENDING, RIGHTS);
    let revoke = "REVOKE EXECUTE ON FUNCTION pg_terminate_backend(int, bigint) FROM PUBLIC";
    world.setup.cluster.sql("postgres", "postgres", revoke);
    let app = world.session("app");
    let warning = world.pgsvid.event("sessions-not-ended");
    assert!(warning["cause"].as_str().unwrap().contains("42501"), "{warning}");
    wait_for_more_looks(&world);
    assert_eq!(world.pgsvid.events("sessions-not-ended").len(), 1);
    let grant = "GRANT EXECUTE ON FUNCTION pg_terminate_backend(int, bigint) TO PUBLIC";
    world.setup.cluster.sql("postgres", "postgres", grant);
    world.pgsvid.event("session-ended");
    assert!(!app.works());
}

/// Their clients would connect again, and could not.
#[test]
fn s04_no_session_is_ended_while_the_published_set_is_not_in_force() {
    let ending = "verify_every = '1s'\nclient_svid_life = '8s'\nend_sessions = 'after 0s'";
    let world = World::start(ending, RIGHTS);
    let cluster = &world.setup.cluster;
    let app = world.session("app");
    let revoke = "REVOKE EXECUTE ON FUNCTION pg_reload_conf() FROM pgsvid";
    cluster.sql("postgres", "postgres", revoke);
    let mark = world.pgsvid.mark();
    world.setup.agent.rotate().unwrap();
    world.pgsvid.event_after(mark, "not-in-force");
    sleep(Duration::from_secs(9));
    // The session is old enough now, and pgsvid looks.
    let later = world.pgsvid.mark();
    world.pgsvid.signal(Signal::HUP);
    world.pgsvid.event_after(later, "still-not-in-force");
    sleep(Duration::from_secs(2));
    assert_eq!(world.count("app"), 1);
    assert_eq!(world.pgsvid.events("session-ended").len(), 0);
    cluster.sql("postgres", "postgres", "GRANT EXECUTE ON FUNCTION pg_reload_conf() TO pgsvid");
    world.pgsvid.signal(Signal::HUP);
    world.pgsvid.event_after(mark, "session-ended");
    assert!(!app.works());
    // Nothing is left open.
    cluster.stop(Mode::Smart);
}

/// The age is judged by the statement that ends a session: a process that serves another one by now is as young as that.
#[test]
fn s05_a_younger_session_of_the_same_role_and_certificate_stays() {
    let ending = "verify_every = '1s'\nclient_svid_life = '12s'\nend_sessions = 'after 0s'";
    let world = World::start(ending, RIGHTS);
    let old = world.session("app");
    sleep(Duration::from_secs(10));
    let young = world.session("app");
    assert_eq!(world.pgsvid.events("session-ended").len(), 0);
    world.pgsvid.event("session-ended");
    wait_for_more_looks(&world);
    assert!(!old.works());
    assert!(young.works());
    assert_eq!(world.pgsvid.events("session-ended").len(), 1);
}
