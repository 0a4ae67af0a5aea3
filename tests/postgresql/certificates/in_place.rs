//! Without `[files]`: PostgreSQL reads the files of another program where they are, and pgsvid only reloads and proves.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use dev_agent::Svid;
use test_support::{Account, Installation, LIMIT, Mark, Mode, Pgsvid, Program, eventually};

use super::place::{NAMES, PGSVID, Place, short, texts};

/// Longer than pgsvid waits for a set that is written file by file.
const SETTLED: Duration = Duration::from_secs(3);

impl Place {
    /// PostgreSQL reads the files in this directory.
    pub(super) fn read_in_place(below: &str) -> Self {
        let place = Self::new();
        place.configure(below, &place.server());
        let at = |name: &str| place.certs.path().join(below).join(name).display().to_string();
        let [certificate, key, bundle] = NAMES.map(at);
        place.setup.cluster.set_conf(&format!(
            "ssl_cert_file = '{certificate}'\nssl_key_file = '{key}'\nssl_ca_file = '{bundle}'\n"
        ));
        place
    }

    pub(super) fn server(&self) -> String {
        let cluster = &self.setup.cluster;
        let host = cluster.socket_directory().display();
        format!("postgres.host = '{host}'\npostgres.port = {}", cluster.port())
    }

    pub(super) fn spawn_in_place(&self) -> Pgsvid {
        self.setup.spawn_leaving_out(&["--endpoint", "--directory"])
    }

    /// Waits until this set is proven to be served.
    #[track_caller]
    fn proven(&self, pgsvid: &Pgsvid, mark: Mark, svid: &Svid) -> serde_json::Value {
        let short = short(svid);
        let (event, _) = pgsvid.wait_for_event_after(mark, LIMIT, |event| {
            event["event"] == "rotated"
                && event["verdict"] == "current"
                && event["serial"] == short.as_str()
        });
        assert_eq!(self.setup.cluster.served().leaf, svid.leaf());
        event
    }

    /// A command of PostgreSQL's user, with the configuration alone: exit status, and all that it prints.
    pub(super) fn command(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let file = self.setup.other.join("pgsvid.toml").display().to_string();
        let arguments = [arguments, &["--config", &file]].concat();
        let program = Program::spawn_as(Account::server(), PGSVID, arguments, &[]);
        let status = program.wait_exit(LIMIT).code();
        (status, program.standard_output() + &program.standard_error())
    }
}

/// A PostgreSQL that is proven to serve this set, which it reads in place.
fn in_force() -> (Place, Pgsvid, Svid) {
    let place = Place::read_in_place("");
    let first = place.issue();
    place.write(&first);
    place.setup.cluster.start();
    let pgsvid = place.spawn_in_place();
    place.proven(&pgsvid, Mark::default(), &first);
    (place, pgsvid, first)
}

#[test]
fn z14_files_that_postgresql_reads_where_they_are_are_reloaded_when_they_belong_together() {
    let (place, pgsvid, first) = in_force();
    let next = place.issue();
    let before = entries(&place);

    // A new key, and for a while no certificate of its own: PostgreSQL is not asked to read that.
    let (mark, log) = (pgsvid.mark(), place.setup.cluster.log_mark());
    let [certificate, key, _] = texts(&next);
    place.certs.write("tls.key", key, 0o600);
    thread::sleep(SETTLED);
    assert!(!place.setup.cluster.log_since(log).contains("SIGHUP"));
    assert_eq!(place.setup.cluster.served().leaf, first.leaf());
    place.certs.write("tls.crt", certificate, 0o600);
    place.proven(&pgsvid, mark, &next);
    assert!(pgsvid.events("certificates-rejected").is_empty());
    assert!(pgsvid.events("not-in-force").is_empty());
    // pgsvid has written nothing.
    assert_eq!(entries(&place), before);

    // The same files again, with other times: nothing to reload.
    let log = place.setup.cluster.log_mark();
    place.write(&next);
    thread::sleep(SETTLED);
    assert!(!place.setup.cluster.log_since(log).contains("SIGHUP"));
}

fn entries(place: &Place) -> Vec<String> {
    let entries = fs::read_dir(place.certs.path()).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

#[test]
fn z15_a_set_in_place_that_postgresql_refuses_is_reported_with_the_file_of_the_other_program() {
    let (place, pgsvid, _) = in_force();
    let next = place.issue();
    let mark = pgsvid.mark();
    let [certificate, key, bundle] = texts(&next);
    place.certs.write("tls.key", key, 0o644);
    place.certs.write("tls.crt", certificate, 0o600);
    place.certs.write("ca.crt", bundle, 0o600);
    let (event, mark) =
        pgsvid.wait_for_event_after(mark, LIMIT, |event| event["event"] == "not-in-force");
    assert_eq!(
        (&event["verdict"], &event["code"]),
        (&"still-old".into(), &"key-mode-refused".into())
    );
    let key = place.at("tls.key").display().to_string();
    assert!(event["cause"].as_str().unwrap().contains(&key), "{event}");
    let command = event["fix"].as_str().unwrap();
    let status = Command::new("/bin/sh").args(["-c", command]).status().unwrap();
    assert!(status.success(), "{command}");
    place.proven(&pgsvid, mark, &next);
}

#[test]
fn z16_the_commands_work_with_files_in_place() {
    let place = Place::read_in_place("");
    place.write(&place.issue());
    place.setup.cluster.start();
    let pgsvid = place.spawn_in_place();
    pgsvid.current(1);
    let (status, text) = place.command(&["check"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("serves the published certificate"), "{text}");
    assert!(!text.contains("  failure "), "{text}");

    let (status, text) = place.command(&["setup", "postgresql-conf"]);
    assert_eq!(status, Some(0), "{text}");
    for (setting, name) in ["ssl_cert_file", "ssl_key_file", "ssl_ca_file"].iter().zip(NAMES) {
        let line = format!("{setting} = '{}'", place.at(name).display());
        assert!(text.contains(&line), "{text}");
    }
    let (status, text) = place.command(&["inspect"]);
    assert_eq!(status, Some(0), "{text}");
    let (status, text) = place.command(&["fetch"]);
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("nothing is published: without files.directory"), "{text}");
    // Nothing is published, so nothing has to be before the settings.
    let (_, text) = place.command(&["setup", "postgresql-conf"]);
    assert!(!text.contains("fetch"), "{text}");

    // What has no meaning without a directory is an error that names the key.
    place.configure("", &format!("files.extra_authorities = ['/a.pem']\n{}", place.server()));
    let (status, text) = place.command(&["check", "--offline"]);
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("files.extra_authorities"), "{text}");
    // Nothing would read the files.
    let alone = "[certificates]\ncertificate = '/c'\nprivate_key = '/k'\nbundle = '/b'\n";
    place.setup.configure(alone);
    let (status, text) = place.command(&["check", "--offline"]);
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("set files.directory"), "{text}");
}

/// PostgreSQL keeps the key that it has loaded, and does not start with this one.
#[test]
fn b127_a_key_in_place_with_a_mode_that_postgresql_refuses_is_a_failure() {
    let (place, _pgsvid, _) = in_force();
    let check = || place.command(&["check", "--format", "json"]);
    let (_, report) = check();
    assert!(!report.contains("\"key-mode-refused\""), "{report}");
    assert!(report.contains("\"tls-files-readable\""), "{report}");
    let key = place.certs.path().join(NAMES[1]);
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o660)).unwrap();
    let (status, report) = check();
    assert_eq!(status, Some(1), "{report}");
    assert!(report.contains("\"key-mode-refused\""), "{report}");
}

/// PostgreSQL refuses the file at its next start, and libpq at each login.
#[test]
fn b130_a_bundle_in_place_with_a_broken_list_is_rejected_and_a_good_one_is_reported() {
    let (place, pgsvid, first) = in_force();
    let bundle = fs::read_to_string(place.at("ca.crt")).unwrap();
    let broken = "-----BEGIN X509 CRL-----\nMIIB\n-----END X509 CRL-----\n";
    let (mark, log) = (pgsvid.mark(), place.setup.cluster.log_mark());
    place.certs.write("ca.crt", format!("{broken}{bundle}"), 0o600);
    let (event, mark) =
        pgsvid.wait_for_event_after(mark, LIMIT, |event| event["event"] == "certificates-rejected");
    assert_eq!(event["code"], "certificates-format", "{event}");
    assert!(event["reason"].as_str().unwrap().contains("X509 CRL"), "{event}");
    let (status, text) = place.command(&["check", "--format", "json"]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("\"certificates-format\""), "{text}");
    // What PostgreSQL makes of it.
    place.setup.cluster.sighup();
    place.setup.cluster.wait_for_log(log, LIMIT, "could not load root certificate file");

    let list = place.authority.revocation_list(&[]).unwrap();
    place.certs.write("ca.crt", format!("{bundle}{list}"), 0o600);
    let (event, _) =
        pgsvid.wait_for_event_after(mark, LIMIT, |event| event["event"] == "certificate-warning");
    assert_eq!(event["code"], "certificates-revocation-lists", "{event}");
    let loaded = || place.setup.cluster.sql("postgres", "postgres", "SELECT pg_conf_load_time()");
    let before = loaded();
    place.setup.cluster.sighup();
    eventually(LIMIT, "PostgreSQL has loaded its files", || loaded() != before);
    let (status, text) = place.command(&["check", "--format", "json"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("\"certificates-revocation-lists\""), "{text}");
    assert_eq!(place.setup.cluster.served().leaf, first.leaf());
}

#[test]
fn f74_a_server_that_cannot_start_from_a_mixed_pair_is_reported_with_how_it_starts() {
    let (place, pgsvid, _) = in_force();
    drop(pgsvid);
    // The printed command knows no options of the command line.
    let (port, socket) =
        (place.setup.cluster.port(), place.setup.cluster.socket_directory().display().to_string());
    place.setup.cluster.set_conf(&format!("port = {port}\nunix_socket_directories = '{socket}'"));
    place.setup.cluster.stop(Mode::Immediate);
    let key = place.issue().key_pem();
    place.certs.write("tls.key", key, 0o600);
    assert!(place.setup.cluster.try_start().is_err());
    let (status, report) = place.command(&["check", "--format", "json"]);
    assert_eq!(status, Some(1), "{report}");
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let sections = report["sections"].as_array().unwrap();
    let mut findings = sections.iter().flat_map(|it| it["findings"].as_array().unwrap());
    let found = findings.find(|it| it["code"] == "postgresql-not-running").unwrap();
    assert!(
        found["cause"].as_str().unwrap().contains("does not belong to the certificate"),
        "{found}"
    );
    let command = found["command"].as_str().unwrap();
    let cluster = &place.setup.cluster;
    let programs = Installation::found().program("pg_ctl");
    let path = format!("{}:/usr/bin:/bin", programs.parent().unwrap().display());
    let data = cluster.data_directory().display().to_string();
    let log = place.setup.other.join("log").display().to_string();
    let command = format!("{command} -l {log}");
    let environment = [("PATH", path.as_str()), ("PGDATA", data.as_str())];
    let pg_ctl = Program::spawn_as(Account::server(), "/bin/sh", ["-c", &command], &environment);
    assert!(pg_ctl.wait_exit(LIMIT).success(), "{}", pg_ctl.standard_error());
    assert_eq!(cluster.sql("postgres", "postgres", "SHOW ssl"), "off");
    let stop = ["-c", "pg_ctl -m immediate stop"];
    let pg_ctl = Program::spawn_as(Account::server(), "/bin/sh", stop, &environment);
    assert!(pg_ctl.wait_exit(LIMIT).success(), "{}", pg_ctl.standard_error());
}
