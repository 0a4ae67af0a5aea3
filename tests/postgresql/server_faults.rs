//! P07, P08, P13, P20, and the verdicts for a server that serves something else.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use dev_agent::{Authority, Entry, Flaw, Svid};
use serde_json::Value;
use test_support::{Account, Cluster, Directory, LIMIT, Mark, Pgsvid, Setup};

#[test]
fn p08_tls_off_is_an_alarm_until_it_is_on() {
    let (setup, pgsvid) = started();
    let (alarm, mark) = rotate_after(&setup, &pgsvid, "ssl = off");
    assert_eq!(alarm["verdict"], "plaintext");
    assert_text(&alarm, "message", &["has TLS turned off"]);
    assert_text(&alarm, "cause", &["ssl is off"]);
    assert_text(&alarm, "fix", &["put ssl = on into postgresql.conf, then reload"]);
    reload_with(&setup, "ssl = on");
    assert_current(&pgsvid, mark);
}

/// Nobody would be asked to reload, and the certificate would expire in silence.
#[test]
fn p01_a_socket_that_is_looked_for_in_the_wrong_place_is_an_alarm_once_the_server_answers() {
    let (setup, first) = started();
    assert!(first.terminate(LIMIT).success());
    let elsewhere = setup.other.path().to_str().unwrap();
    let pgsvid = setup.spawn_with(&["--postgres", elsewhere]);
    pgsvid.rotated(0);
    setup.agent.rotate().unwrap();
    let (alarm, mark) = pgsvid.alarm_after(Mark::default());
    assert_eq!(alarm["verdict"], "still-old");
    assert_text(
        &alarm,
        "message",
        &["a server answers at 127.0.0.1:", "socket is not at the configured path"],
    );
    let missing = format!("nobody listens on {elsewhere}/.s.PGSQL.{}", setup.cluster.port());
    assert_text(&alarm, "cause", &[&missing]);
    assert_text(&alarm, "fix", &["set postgres.host"]);
    // The next generation is worth a line, but no alarm of its own.
    setup.agent.rotate().unwrap();
    let waits = |event: &Value| {
        let message = event["message"].as_str().unwrap_or_default();
        event["level"] == "INFO" && message.starts_with("published; still: a server answers")
    };
    let (event, _) = pgsvid.wait_for_event_after(mark, LIMIT, waits);
    assert_eq!(event["generation"], 2, "{event}");
    assert_eq!(alarms(&pgsvid), 1);
}

/// `SHOW ssl` says on, and yet the server answers `N`.
#[test]
fn p07_tls_turned_on_with_files_that_cannot_be_loaded() {
    let (setup, pgsvid) = started();
    let (_, mark) = rotate_after(&setup, &pgsvid, "ssl = off");
    let key = setup.other.join("key.pem");
    let log = setup.cluster.log_mark();
    reload_with(&setup, &format!("ssl = on\nssl_key_file = '{}'", key.display()));
    setup.cluster.wait_for_log(log, LIMIT, "could not access private key file");

    let (alarm, mark) = pgsvid.alarm_after(mark);
    assert_eq!(setup.cluster.sql("postgres", "postgres", "SHOW ssl"), "on");
    assert_eq!(alarm["verdict"], "plaintext");
    let missing =
        format!("{} (ssl_key_file) does not exist, or is a link to nothing", key.display());
    assert_text(&alarm, "cause", &[&missing]);
    setup.other.write("key.pem", setup.agent.svid().key_pem(), 0o600);
    assert_current(&pgsvid, mark);
}

#[test]
fn p13_other_paths_are_reported_at_start() {
    let setup = Setup::new(env!("CARGO_BIN_EXE_pgsvid"));
    serve(&setup.cluster, &setup.other, &setup.agent.svid());
    setup.cluster.start();
    let pgsvid = setup.spawn();
    let mut mark = Mark::default();
    for (setting, file, copy) in [
        ("ssl_cert_file", "svid.pem", "cert.pem"),
        ("ssl_key_file", "svid_key.pem", "key.pem"),
        ("ssl_ca_file", "svid_bundle.pem", "ca.pem"),
    ] {
        let (warning, end) = pgsvid.event_after(mark, "settings-lead-elsewhere");
        let (file, copy) = (setup.files.join(file), setup.other.join(copy));
        let (file, copy) = (file.display(), copy.display());
        assert_eq!(warning["level"], "WARN");
        assert_eq!(warning["cause"], format!("{setting} is {copy}, not {file}"));
        let fix = format!("put {setting} = '{file}' into postgresql.conf, then reload");
        assert!(warning["fix"].as_str().unwrap().starts_with(&fix), "{warning}");
        mark = end;
    }
}

#[test]
fn p13_a_certificate_of_somebody_else_is_foreign() {
    let (setup, pgsvid) = started();
    serve(&setup.cluster, &setup.other, &stranger(&setup));
    let (alarm, mark) = rotate_after(&setup, &pgsvid, "");
    assert_eq!(alarm["verdict"], "foreign");
    assert_text(&alarm, "message", &["serves a certificate that is not pgsvid's"]);
    let copy = setup.other.join("cert.pem").display().to_string();
    assert_text(&alarm, "cause", &[&format!("ssl_cert_file is {copy}, not ")]);
    serve_published(&setup);
    assert_current(&pgsvid, mark);
}

#[test]
fn p20_another_server_on_the_probed_port_may_be_a_pooler() {
    let setup = Setup::new(env!("CARGO_BIN_EXE_pgsvid"));
    let pooler = Cluster::builder().create();
    serve(&pooler, &setup.other, &stranger(&setup));
    pooler.start();
    let pgsvid = setup.spawn_with(&["--verify", &pooler.address()]);
    setup.wait_published();
    setup.cluster.start();
    // Until PostgreSQL's own socket is there, that is what is said first.
    let words = format!("the server at {}", pooler.address());
    let (alarm, _) = pgsvid.wait_for_event_after(Mark::default(), LIMIT, |event| {
        event["message"].as_str().is_some_and(|message| message.contains(&words))
    });
    assert_eq!((&alarm["level"], &alarm["verdict"]), (&"ERROR".into(), &"foreign".into()));
    assert_text(&alarm, "cause", &["another server or a pooler"]);
    assert_text(&alarm, "fix", &["set postgres.verify to PostgreSQL's own address"]);
}

/// PostgreSQL loads expired certificates without a word.
#[test]
fn p13_an_expired_certificate_is_distinguished_from_an_old_one() {
    let (setup, pgsvid) = started();
    let entry = Entry::new(Setup::SPIFFE_ID).dns("localhost");
    let hour = std::time::Duration::from_secs(3600);
    let expired = setup.agent.issue(&entry.with(Flaw::Expired(hour))).unwrap();
    serve(&setup.cluster, &setup.other, &expired);
    let (alarm, mark) = rotate_after(&setup, &pgsvid, "");
    assert_eq!(alarm["verdict"], "expired");
    assert_text(&alarm, "message", &["serves a certificate that expired: serial", "1h"]);
    serve_published(&setup);
    assert_current(&pgsvid, mark);
}

#[test]
fn c05_an_expired_certificate_that_is_the_published_one_is_no_fault_of_the_server() {
    let setup = Setup::builder(env!("CARGO_BIN_EXE_pgsvid"))
        .agent(|agent| agent.ttl(std::time::Duration::from_secs(4)))
        .create();
    setup.configure("[postgres]\nverify_every = '1s'");
    let pgsvid = setup.start();
    let alarm = pgsvid.wait_for_event(LIMIT, |event| event["verdict"] == "expired");
    assert_text(&alarm, "message", &["serves the published certificate, which has expired"]);
    assert_text(&alarm, "cause", &["the agent is connected, but has sent no newer identity"]);
    assert_text(&alarm, "fix", &["read the agent's log"]);
    let mark = pgsvid.mark();
    setup.agent.rotate().unwrap();
    assert_current(&pgsvid, mark);
}

/// The handshake shows the names of the authorities, so a bundle elsewhere is seen. The fix is another second
/// certificate in the file: nothing but its content has changed.
#[test]
fn p13_other_authorities_are_seen_and_replaced() {
    let setup = Setup::new(env!("CARGO_BIN_EXE_pgsvid"));
    setup.configure("[log]\nlevel = 'debug'");
    let pgsvid = setup.start();
    let other = || Authority::new("example.org", false).unwrap().root_pem();
    let own = setup.agent.authority().root_pem();
    let file = setup.other.write("ca.pem", format!("{own}{}", other()), 0o644);
    let conf = format!("ssl_ca_file = '{}'", file.display());
    let (alarm, mark) = rotate_after(&setup, &pgsvid, &conf);
    assert_eq!(alarm["verdict"], "old-authorities");
    assert_text(&alarm, "message", &["serves the new certificate, but trusts other authorities"]);
    assert_text(&alarm, "cause", &[&format!("ssl_ca_file is {}, not ", file.display())]);

    // The reload has applied the setting itself, which counts as news once.
    let mark = still(&pgsvid, still(&pgsvid, mark));
    let log = setup.cluster.log_mark();
    setup.other.write("ca.pem", format!("{own}{}", other()), 0o644);
    setup.cluster.wait_for_log(log, LIMIT, RELOADS);
    setup.other.write("ca.pem", own, 0o644);
    assert_current(&pgsvid, mark);
}

#[test]
fn p07_no_reload_without_news_and_one_alarm_for_one_trouble() {
    let setup = Setup::new(env!("CARGO_BIN_EXE_pgsvid"));
    setup.configure("[log]\nlevel = 'debug'");
    let pgsvid = setup.start();
    // A link that PostgreSQL follows from now on.
    let copies = Directory::new();
    let link = copies.join("key.pem");
    symlink(setup.files.join("svid_key.pem"), &link).unwrap();
    setup.cluster.set_conf(&format!("ssl_key_file = '{}'", link.display()));
    let mark = pgsvid.mark();
    setup.agent.rotate().unwrap();
    assert_current(&pgsvid, mark);

    fs::remove_file(&link).unwrap();
    let log = setup.cluster.log_mark();
    let reloads = || setup.cluster.log_since(log).matches(RELOADS).count();
    let (alarm, mut mark) = rotate_after(&setup, &pgsvid, "");
    assert_eq!((&alarm["verdict"], reloads()), (&"still-old".into(), 1));

    // Tried again and again, also because something happens beside the file.
    for try_number in 0..4 {
        copies.write("else", try_number.to_string(), 0o644);
        mark = still(&pgsvid, mark);
    }
    assert_eq!((reloads(), alarms(&pgsvid)), (1, 1));

    // Another diagnosis is news, and another alarm.
    let unprotected = copies.write("new", setup.agent.svid().key_pem(), 0o644);
    fs::rename(unprotected, &link).unwrap();
    let wrong_mode = |event: &Value| {
        let cause = event["cause"].as_str().unwrap_or_default();
        event["level"] == "ERROR" && cause.contains("has mode 0644")
    };
    mark = pgsvid.wait_for_event_after(mark, LIMIT, wrong_mode).1;
    // If it came between signal and diagnosis, the next try signals.
    mark = still(&pgsvid, mark);
    assert_eq!((reloads(), alarms(&pgsvid)), (2, 2));
    mark = still(&pgsvid, still(&pgsvid, mark));
    assert_eq!((reloads(), alarms(&pgsvid)), (2, 2));

    fs::set_permissions(&link, fs::Permissions::from_mode(0o600)).unwrap();
    assert_current(&pgsvid, mark);
}

/// Only root can let pgsvid run as somebody else.
#[test]
fn p07_a_third_uid_publishes_a_key_that_postgresql_refuses_and_root_with_the_group_one_that_it_takes()
 {
    let Some(third) = Account::third() else { return };
    let setup = Setup::new(env!("CARGO_BIN_EXE_pgsvid"));
    let (uid, server) = (third.uid(), setup.cluster.uid());
    let root = Account::current();
    setup.cluster.set_ident(&format!(
        "pgsvid {} pgsvid\npgsvid {} pgsvid",
        third.name(),
        root.name()
    ));
    serve(&setup.cluster, &setup.other, &setup.agent.svid());
    setup.cluster.start();
    serve_published_later(&setup);

    own(setup.files.path(), uid);
    setup.agent.rotate().unwrap();
    let pgsvid = setup.spawn_as(&third, &[]);
    let (alarm, _) = pgsvid.alarm_after(Mark::default());
    assert_eq!(alarm["verdict"], "still-old", "{alarm}");
    let key = setup.files.join("svid_key.pem");
    let cause = format!("{} is owned by uid {uid}, PostgreSQL runs as uid {server}", key.display());
    assert_eq!(alarm["cause"], cause);
    let fix = format!("run pgsvid as uid {server} (securityContext.runAsUser");
    assert_text(&alarm, "fix", &[&fix, "or as root with files.group"]);
    pgsvid.terminate(LIMIT);

    own(setup.files.path(), 0);
    let group = setup.cluster.gid().to_string();
    let pgsvid = setup.spawn_as(root, &["--group", &group]);
    assert_current(&pgsvid, Mark::default());
}

const RELOADS: &str = "received SIGHUP, reloading configuration files";

fn started() -> (Setup, Pgsvid) {
    let setup = Setup::new(env!("CARGO_BIN_EXE_pgsvid"));
    let pgsvid = setup.start();
    (setup, pgsvid)
}

/// Renews the SVID, whose reload applies the lines, and returns the alarm.
#[track_caller]
fn rotate_after(setup: &Setup, pgsvid: &Pgsvid, conf: &str) -> (Value, Mark) {
    setup.cluster.set_conf(conf);
    let mark = pgsvid.mark();
    setup.agent.rotate().unwrap();
    pgsvid.alarm_after(mark)
}

fn reload_with(setup: &Setup, conf: &str) {
    setup.cluster.set_conf(conf);
    setup.cluster.sighup();
}

/// Lets a server serve this SVID from copies, from its next reload or start on.
fn serve(cluster: &Cluster, directory: &Directory, svid: &Svid) {
    let certificate = directory.write("cert.pem", svid.chain_pem(), 0o644);
    let key = directory.write("key.pem", svid.key_pem(), 0o600);
    let bundle = directory.write("ca.pem", svid.bundle_pem(), 0o644);
    cluster.set_conf(&settings(&certificate, &key, &bundle));
}

fn serve_published_later(setup: &Setup) {
    let path = |name| setup.files.join(name);
    let lines = settings(&path("svid.pem"), &path("svid_key.pem"), &path("svid_bundle.pem"));
    setup.cluster.set_conf(&lines);
}

fn serve_published(setup: &Setup) {
    serve_published_later(setup);
    setup.cluster.sighup();
}

fn settings(certificate: &Path, key: &Path, bundle: &Path) -> String {
    format!(
        "ssl = on\nssl_cert_file = '{}'\nssl_key_file = '{}'\nssl_ca_file = '{}'",
        certificate.display(),
        key.display(),
        bundle.display()
    )
}

fn stranger(setup: &Setup) -> Svid {
    setup.agent.issue(&Entry::new("spiffe://example.org/pooler").dns("localhost")).unwrap()
}

/// Waits for the next try that changes nothing.
#[track_caller]
fn still(pgsvid: &Pgsvid, mark: Mark) -> Mark {
    let is_repetition = |event: &Value| {
        let message = event["message"].as_str().unwrap_or_default();
        event["level"] == "DEBUG" && message.starts_with("still: ")
    };
    pgsvid.wait_for_event_after(mark, LIMIT, is_repetition).1
}

fn alarms(pgsvid: &Pgsvid) -> usize {
    pgsvid.lines().iter().filter(|line| line.contains("\"level\":\"ERROR\"")).count()
}

#[track_caller]
fn assert_text(event: &Value, field: &str, texts: &[&str]) {
    let found = event[field].as_str().unwrap_or_default();
    for text in texts {
        assert!(found.contains(text), "{field} lacks {text:?}: {event}");
    }
}

#[track_caller]
fn assert_current(pgsvid: &Pgsvid, mark: Mark) {
    let (event, _) = pgsvid.event_after(mark, "rotated");
    assert_eq!(event["verdict"], "current", "{event}");
}

fn own(path: &Path, uid: u32) {
    std::os::unix::fs::chown(path, Some(uid), None).unwrap();
}
