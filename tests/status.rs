//! Health, metrics, status, page and `pgsvid status`: what each says of each verdict, with a real PostgreSQL.

#![allow(clippy::disallowed_methods, reason = "a page of the repository is no published file")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use dev_agent::{Authority, Entry, Flaw, Svid};
use serde_json::Value;
use test_support::{Account, LIMIT, Mode, Pgsvid, Program, Setup, Signal, eventually};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");

#[test]
fn each_verdict_is_seen_in_every_place() {
    let setup = Setup::new(PGSVID);
    let status = Asked::configure(&setup, "");
    let pgsvid = setup.spawn();
    setup.wait_published();
    // Nobody has answered yet, and so nothing is proven.
    status.says("unreachable", false);
    setup.cluster.start();
    pgsvid.current(1);
    status.says("current", true);

    let stranger = Entry::new("spiffe://example.org/pooler").dns("localhost");
    let own = Entry::new(Setup::SPIFFE_ID).dns("localhost");
    let expired = own.clone().with(Flaw::Expired(Duration::from_secs(3600)));
    for (verdict, conf) in [
        ("plaintext", "ssl = off".to_owned()),
        ("foreign", serving(&setup, &setup.agent.issue(&stranger).unwrap())),
        ("expired", serving(&setup, &setup.agent.issue(&expired).unwrap())),
        ("still-old", serving(&setup, &setup.agent.issue(&own).unwrap())),
    ] {
        setup.cluster.set_conf(&conf);
        pgsvid.signal(Signal::HUP);
        status.says(verdict, false);
        serve_published(&setup, &pgsvid);
        status.says("current", true);
    }

    let other = Authority::new("example.org", false).unwrap().root_pem();
    let bundle = setup.agent.authority().root_pem() + &other;
    let file = setup.other.write("ca.pem", bundle, 0o644);
    setup.cluster.set_conf(&format!("ssl_ca_file = '{}'", file.display()));
    pgsvid.signal(Signal::HUP);
    let view = status.says("old-authorities", true);
    assert!(!view["degraded"].as_array().unwrap().is_empty(), "{view}");
    assert!(view["retry"].is_string(), "{view}");
    serve_published(&setup, &pgsvid);
    status.says("current", true);

    // A server that is away stays in service, as far as we are concerned.
    setup.cluster.stop(Mode::Fast);
    pgsvid.signal(Signal::HUP);
    let view = status.says("unreachable", true);
    assert_eq!(view["reload_pending"], true, "{view}");
    assert!(status.metrics().contains("\npgsvid_reload_pending 1\n"));
}

#[test]
fn what_cannot_be_verified_is_ready() {
    let setup = Setup::new(PGSVID);
    let status = Asked::configure(&setup, "[postgres]\nverify = 'none'\n");
    let _pgsvid = setup.spawn();
    setup.wait_published();
    setup.cluster.start();
    status.says("unverifiable", true);
}

#[test]
fn an_agent_that_is_away_or_withdraws_takes_no_database_out_of_service() {
    let setup = Setup::new(PGSVID);
    let status = Asked::configure(&setup, "");
    let _pgsvid = setup.start();
    assert_eq!(status.get("/startupz"), (200, "a valid set is published\n".to_owned()));
    setup.agent.remove_entries();
    setup.agent.drop_connections();
    eventually(LIMIT, "the withdrawal is said", || {
        status.metrics().contains("\npgsvid_withdrawn 1\n")
    });
    let (code, text) = status.get("/readyz");
    assert_eq!(code, 200, "{text}");
    assert!(text.contains("degraded: the agent has withdrawn the identity"), "{text}");
    assert!(status.metrics().contains("pgsvid_agent_connection{state=\"not-registered\"} 1"));
}

#[test]
fn before_an_identity_has_come_it_lives_and_is_not_started() {
    let setup = Setup::new(PGSVID);
    setup.agent.remove_entries();
    let status = Asked::configure(&setup, "");
    let _pgsvid = setup.spawn();
    eventually(LIMIT, "somebody answers", || status.socket.exists());
    assert_eq!(status.get("/livez").0, 200);
    assert_eq!(status.get("/startupz").0, 503);
    let (code, text) = status.get("/readyz");
    assert_eq!(code, 503);
    assert!(text.starts_with("missing: no identity is published yet: "), "{text}");
    let (code, text) = status.get("/nowhere");
    assert_eq!(code, 404);
    assert!(text.contains("/readyz"), "{text}");
    assert_eq!(status.ask("POST /readyz HTTP/1.1\r\nHost: a\r\n\r\n").0, 405);
    let (code, text) = status.command(&["--startup"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.starts_with("no valid set is published yet: "), "{text}");
    assert_eq!(status.command(&["--live"]), (0, "the loop turns\n".to_owned()));

    // Published is enough: there is no PostgreSQL yet.
    setup.agent.add_entry(Entry::new(Setup::SPIFFE_ID).dns("localhost")).unwrap();
    setup.agent.drop_connections();
    setup.wait_published();
    eventually(LIMIT, "the start-up probe passes", || status.command(&["--startup"]).0 == 0);
    assert_eq!(status.command(&["--startup"]).1, "a valid set is published\n");
    assert_eq!(status.command(&[]).0, 1, "nothing is proven yet");
}

#[test]
fn a_probe_believes_the_daemon_and_nobody_else() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let probe = |answer: &'static str| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 1024]);
                stream.write_all(answer.as_bytes()).unwrap();
            });
            let mut command = Command::new(PGSVID);
            let output = command.args(["status", "--live", "--socket", &address]).output().unwrap();
            (output.status.code(), String::from_utf8(output.stdout).unwrap(), output.stderr)
        })
    };
    let stuck = "a rotation has been going on for too long\n";
    let answer =
        "HTTP/1.0 503 Service Unavailable\r\n\r\na rotation has been going on for too long\n";
    assert_eq!(probe(answer), (Some(1), stuck.to_owned(), Vec::new()));
    for strange in ["HTTP/1.0 404 Not Found\r\n\r\nthe loop turns\n", "220 ready\r\n\r\n", ""] {
        let (code, said, error) = probe(strange);
        assert_eq!((code, said.as_str()), (Some(1), ""), "{strange}");
        let error = String::from_utf8_lossy(&error).into_owned();
        assert!(error.contains("answers something else"), "{error}");
    }
    drop(listener);
    let output =
        Command::new(PGSVID).args(["status", "--live", "--socket", &address]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains(&format!("no answer from {address}")), "{error}");
}

#[test]
fn metrics_tell_times_counts_and_sessions_of_a_role_that_may_see_them() {
    let setup = Setup::new(PGSVID);
    let status = Asked::configure(&setup, "");
    let pgsvid = setup.start();
    assert!(!status.metrics().contains("\npgsvid_sessions{"), "{}", status.metrics());
    setup.cluster.sql("postgres", "postgres", "GRANT pg_read_all_stats TO pgsvid");
    setup.agent.rotate().unwrap();
    pgsvid.current(2);
    let metrics = status.metrics();
    for sample in [
        "pgsvid_sessions{protocol=\"TLSv1.3\"} ",
        "pgsvid_sessions_older_than_svid_estimate 0",
        "pgsvid_published_not_after_timestamp_seconds ",
        "pgsvid_served_not_after_timestamp_seconds ",
        "pgsvid_authority_not_after_timestamp_seconds ",
        "pgsvid_verified_timestamp_seconds ",
        "pgsvid_rotation_attempts_total{outcome=\"completed\",step=\"verify\"} 2",
        "pgsvid_rotation_duration_seconds_count 2",
        "pgsvid_step_duration_seconds_count{step=\"publish\"} 2",
        "pgsvid_agent_rejected_messages_total{reason=\"validity\"} 0",
        "process_resident_memory_bytes ",
        "process_start_time_seconds ",
        "pgsvid_build_info{version=\"",
    ] {
        assert!(metrics.contains(&format!("\n{sample}")), "{sample} in {metrics}");
    }
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
}

#[test]
fn texts_of_others_are_text_on_the_page() {
    let setup = Setup::new(PGSVID);
    let status = Asked::configure(&setup, "");
    let _pgsvid = setup.start();
    let text = "<script>alert(1)</script><img src=x onerror='alert(2)'>";
    setup.agent.misbehave(dev_agent::Misbehaviour::Refuse(tonic::Status::unavailable(text)));
    setup.agent.drop_connections();
    eventually(LIMIT, "the agent's words are on the page", || {
        status.get("/").1.contains("&lt;script&gt;alert(1)")
    });
    let (_, page) = status.get("/");
    assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
}

#[test]
fn hostile_clients_do_not_hold_up_a_rotation() {
    let setup = Setup::new(PGSVID);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    setup.configure(&format!("[health]\nlisten = '{port}'"));
    let pgsvid = setup.start();
    // Many that say nothing, many that stop amid a header, and one that never ends its first line.
    let mut clients: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(port).unwrap()).collect();
    for client in clients.iter_mut().take(100) {
        let _ = client.write_all(b"GET /status HTTP/1.1\r\nX-Slow: ");
    }
    let mut endless = TcpStream::connect(port).unwrap();
    let _ = endless.write_all(&vec![b'x'; 256 * 1024]);
    setup.agent.rotate().unwrap();
    pgsvid.current(2);
    let mut probe = TcpStream::connect(port).unwrap();
    probe.write_all(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut answer = String::new();
    probe.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // The slow ones are ended, not waited for.
    for client in [&mut endless, clients.last_mut().unwrap()] {
        client.set_read_timeout(Some(LIMIT)).unwrap();
        let ended = client.read_to_end(&mut Vec::new());
        let reset = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
        assert!(ended.as_ref().is_ok() || ended.as_ref().is_err_and(reset), "{ended:?}");
    }
}

#[test]
fn x07_a_port_that_is_taken_is_an_error_at_start() {
    let setup = Setup::new(PGSVID);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    setup.configure(&format!("[health]\nlisten = '{address}'"));
    let output = Command::new(PGSVID).arg("run").args(setup.arguments()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&format!("cannot listen on {address}: another process does")), "{text}");
    assert!(!setup.files.join("svid.pem").exists(), "nothing has begun");
}

#[test]
fn systemd_hears_when_a_set_is_published_what_is_served_and_the_end() {
    let setup = Setup::new(PGSVID);
    let path = setup.other.join("notify.sock");
    let manager = UnixDatagram::bind(&path).unwrap();
    Command::new("chmod").arg("0777").arg(&path).status().unwrap();
    manager.set_read_timeout(Some(LIMIT)).unwrap();
    let hear = |wanted: &str| {
        let mut buffer = [0; 4096];
        let mut heard = String::new();
        loop {
            let length = manager.recv(&mut buffer).unwrap_or_else(|_| panic!("{wanted}: {heard}"));
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            heard += &text;
            heard.push('\n');
            if text.contains(wanted) {
                return heard;
            }
        }
    };
    let arguments = setup.arguments();
    let arguments = ["run"].into_iter().chain(arguments.iter().map(String::as_str));
    let notify = path.display().to_string();
    let variables = [("NOTIFY_SOCKET", notify.as_str()), ("WATCHDOG_USEC", "400000")];
    let pgsvid = Program::spawn_as(Account::server(), Path::new(PGSVID), arguments, &variables);
    let before = hear("READY=1");
    assert!(!setup.cluster.is_running() && !before.contains("STATUS=current"), "{before}");
    setup.cluster.start();
    hear("STATUS=current; spiffe://example.org/ns/test/sa/db, valid until ");
    hear("WATCHDOG=1");
    pgsvid.signal(Signal::TERM);
    hear("STOPPING=1");
}

/// `docs/metrics.md` lists what the binary exposes; `PGSVID_WRITE_DOCS=1` writes it anew.
#[test]
fn the_page_of_metrics_is_the_registrys() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- generated -->\n", "<!-- end -->\n");
    let (before, rest) = text.split_once(begin).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    let table =
        "| metric | type | meaning |\n|---|---|---|\n".to_owned() + &pgsvid::status::reference();
    let wanted = format!("{before}{begin}\n{table}\n{end}{after}");
    if std::env::var_os("PGSVID_WRITE_DOCS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
        return;
    }
    assert!(
        text == wanted,
        "docs/metrics.md is stale: PGSVID_WRITE_DOCS=1 cargo test --test status page_of_metrics"
    );
}

/// A listener, and everything that can be asked of it.
struct Asked {
    socket: PathBuf,
}

impl Asked {
    fn configure(setup: &Setup, more: &str) -> Self {
        let socket = setup.other.join("status.sock");
        setup.configure(&format!("{more}\n[health]\nlisten = 'unix:{}'", socket.display()));
        Self { socket }
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
    }

    fn ask(&self, request: &str) -> (u16, String) {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// Exit status and standard output of `pgsvid status`.
    fn command(&self, more: &[&str]) -> (i32, String) {
        let socket = format!("unix:{}", self.socket.display());
        let mut command = Command::new(PGSVID);
        let output = command.args(["status", "--socket", &socket]).args(more).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    }

    fn metrics(&self) -> String {
        self.get("/metrics").1
    }

    fn view(&self) -> Value {
        serde_json::from_str(&self.get("/status").1).unwrap()
    }

    /// Waits for a verdict, and looks at every place.
    #[track_caller]
    fn says(&self, verdict: &str, ready: bool) -> Value {
        eventually(LIMIT, verdict, || self.socket.exists() && self.view()["verdict"] == verdict);
        let view = self.view();
        assert_eq!(view["ready"], ready, "{view}");
        let (code, text) = self.get("/readyz");
        assert_eq!(code, if ready { 200 } else { 503 }, "{verdict}: {text}");
        assert_eq!(text.starts_with("ready\n"), ready, "{text}");
        let metrics = self.metrics();
        for sample in [
            format!("\npgsvid_verdict{{verdict=\"{verdict}\"}} 1\n"),
            format!("\npgsvid_ready {}\n", u8::from(ready)),
        ] {
            assert!(metrics.contains(&sample), "{sample} in {metrics}");
        }
        assert_eq!(metrics.matches("\npgsvid_verdict{").count(), 8, "{metrics}");
        let (code, page) = self.get("/");
        assert_eq!(code, 200);
        let degraded = !view["degraded"].as_array().unwrap().is_empty();
        let word = if !ready {
            "Not ready"
        } else if degraded {
            "Degraded"
        } else {
            "Ready"
        };
        assert!(page.contains(&format!("<p class=word>{word}</p>")), "{page}");
        assert!(page.contains(&format!("<dt>PostgreSQL</dt><dd>{verdict}")), "{page}");
        let output = Command::new(PGSVID)
            .args(["status", "--socket", &format!("unix:{}", self.socket.display())])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(i32::from(!ready)), "{text}");
        assert!(text.starts_with(if ready { "ready" } else { "not ready" }), "{text}");
        assert!(text.contains(verdict), "{text}");
        view
    }
}

/// The settings that let the server serve this instead of what is published.
fn serving(setup: &Setup, svid: &Svid) -> String {
    let serial = svid.serial_hex();
    let file = |name: &str, text: String, mode| {
        setup.other.write(&format!("{serial}{name}"), text, mode).display().to_string()
    };
    format!(
        "ssl = on\nssl_cert_file = '{}'\nssl_key_file = '{}'",
        file("cert.pem", svid.chain_pem(), 0o644),
        file("key.pem", svid.key_pem(), 0o600)
    )
}

fn serve_published(setup: &Setup, pgsvid: &Pgsvid) {
    let path = |name| setup.files.join(name).display().to_string();
    setup.cluster.set_conf(&format!(
        "ssl = on\nssl_cert_file = '{}'\nssl_key_file = '{}'\nssl_ca_file = '{}'",
        path("svid.pem"),
        path("svid_key.pem"),
        path("svid_bundle.pem")
    ));
    pgsvid.signal(Signal::HUP);
}
