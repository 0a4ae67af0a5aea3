//! What is said of files as the source: by the configuration, `check`, `status`, metrics, and `fetch`.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use dev_agent::Entry;
use serde_json::Value;
use test_support::{
    Account, Directory, LIMIT, Mark, Pgsvid, Program, Tmpfs, eventually, with_mounts,
};

use super::place::{NAMES, PGSVID, Place, rejected};

/// `pgsvid` with these arguments: exit status, standard output, standard error.
fn pgsvid(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(PGSVID).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

impl Place {
    /// The path of the configuration.
    pub(super) fn file(&self) -> String {
        self.setup.other.join("pgsvid.toml").display().to_string()
    }

    pub(super) fn listen(&self) -> String {
        format!("unix:{}", self.setup.other.join("status.sock").display())
    }

    fn with_status(&self) {
        self.configure("", &format!("health.listen = '{}'", self.listen()));
    }

    fn metrics(&self) -> String {
        let socket = self.setup.other.join("status.sock");
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// The whole document.
    pub(super) fn status(&self) -> Value {
        let (_, text, _) = pgsvid(&["status", "--socket", &self.listen(), "--format", "json"]);
        serde_json::from_str(&text).unwrap_or_default()
    }
}

#[test]
fn z08_two_sources_are_one_too_many() {
    let place = Place::new();
    let file = place.file();
    let directory = place.setup.files.path().display().to_string();
    let check = ["check", "--offline", "-c", &file, "--directory", &directory];
    let (status, _, error) = pgsvid(&[&check[..], &["--endpoint", "unix:///agent.sock"]].concat());
    assert_eq!(status, Some(2), "{error}");
    assert!(error.contains("--endpoint") && error.contains("[certificates]"), "{error}");
    place.configure("", "workload_api.endpoint = 'unix:///agent.sock'");
    let (status, _, error) = pgsvid(&check);
    assert_eq!(status, Some(2), "{error}");
    assert!(error.contains("workload_api.endpoint") && error.contains("[certificates]"), "{error}");
    // The variable of other programs alone names none.
    place.configure("", "");
    let output = Command::new(PGSVID)
        .args(check)
        .env("SPIFFE_ENDPOINT_SOCKET", "unix:///agent.sock")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    for (more, key) in [
        ("svid.hint = 'db'", "svid.hint"),
        ("files.federated_bundles = true", "files.federated_bundles"),
        ("files.directory = 'x'", "files.directory"),
    ] {
        place.configure("", more);
        let (status, _, error) = pgsvid(&["check", "--offline", "-c", &file]);
        assert_eq!(status, Some(2), "{error}");
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn check_and_status_say_who_writes_the_files_and_what_keeps_them_from_being_used() {
    let place = Place::new();
    place.with_status();
    let first = place.issue();
    place.write(&first);
    let daemon = place.start();
    eventually(LIMIT, "all is well", || {
        let status = place.status();
        status["ready"] == true && status["degraded"] == serde_json::json!([])
    });
    let status = place.status();
    assert!(status["agent"].is_null(), "{status}");
    assert_eq!(status["certificates"]["owner"], place.setup.cluster.uid(), "{status}");
    let report = place.check();
    assert_eq!(failures(&report), Vec::<String>::new(), "{report}");

    let mark = daemon.mark();
    place.certs.write("tls.key", place.issue().key_pem(), 0o600);
    rejected(&daemon, mark, "certificates-pair");
    eventually(LIMIT, "it is degraded", || {
        place.status()["targets"][0]["findings"][0]["code"] == "certificates-pair"
    });
    let status = place.status();
    assert_eq!(status["ready"], true, "{status}");
    let finding = &status["targets"][0]["findings"][0];
    assert!(finding["fix"].as_str().unwrap().contains("owner uid"), "{finding}");
    assert_eq!(failures(&place.check()), ["certificates-pair"]);
    let metrics = place.metrics();
    assert!(metrics.contains("\npgsvid_certificates_rejected_total 1\n"), "{metrics}");
    assert!(metrics.contains("pgsvid_certificates_usable{path="), "{metrics}");
    assert!(!metrics.contains("pgsvid_agent_connection{"), "{metrics}");
    assert_eq!(status["certificates"]["rejected"], 1, "{status}");
}

fn failures(report: &Value) -> Vec<String> {
    let sections = report["sections"].as_array().unwrap();
    let findings = sections.iter().flat_map(|section| section["findings"].as_array().unwrap());
    let failures = findings.filter(|finding| finding["severity"] == "failure");
    failures.map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_late_renewal_is_reported_after_its_time_with_the_program_that_should_have_renewed() {
    let place = Place::new();
    place.configure(
        "",
        &format!("certificates.renewal_percent = 20\nhealth.listen = '{}'", place.listen()),
    );
    let short_lived = place.issue_with(|entry| entry.ttl(Duration::from_secs(60)));
    place.write(&short_lived);
    let daemon = place.start();
    // By a fifth of its life it is due, and it is late a twentieth later: 12 s and 3 s.
    eventually(LIMIT, "the renewal is overdue", || place.status()["overdue"] == true);
    let status = place.status();
    let finding = &status["targets"][0]["findings"][0];
    assert_eq!(finding["code"], "svid-lifetime", "{status}");
    assert!(finding["text"].as_str().unwrap().contains("tls.crt"), "{finding}");
    assert!(finding["fix"].as_str().unwrap().contains("last written"), "{finding}");
    let mark = daemon.mark();
    let next = place.issue();
    place.write(&next);
    place.serves(&daemon, mark, &next);
    eventually(LIMIT, "it is over", || place.status()["overdue"] == false);
}

#[test]
fn fetch_publishes_what_the_files_hold() {
    let place = Place::new();
    let held = place.issue();
    let file = place.file();
    let directory = place.setup.files.path().display().to_string();
    let fetch = |limit: &str| {
        let arguments = ["fetch", "-c", &file, "--directory", &directory, "--timeout", limit];
        let program = Program::spawn_as(Account::server(), PGSVID, arguments, &[]);
        let status = program.wait_exit(LIMIT + LIMIT).code();
        (status, program.standard_output(), program.standard_error())
    };
    let (status, _, error) = fetch("3s");
    assert_eq!(status, Some(1), "{error}");
    assert!(error.contains("tls.crt does not exist"), "{error}");
    place.write(&held);
    let (status, said, error) = fetch("30s");
    assert_eq!(status, Some(0), "{said}{error}");
    assert!(said.starts_with("localhost "), "{said}");
    assert!(place.holds(&held));
}

#[test]
fn with_a_trust_domain_the_rules_of_spiffe_hold() {
    let place = Place::new();
    let wanted = "svid.trust_domain = 'corporate.example'";
    place.configure("", wanted);
    place.write(&place.issue());
    let daemon = place.spawn();
    rejected(&daemon, Mark::default(), "certificates-format");
    let entry = Entry::new("spiffe://corporate.example/db").dns("localhost");
    let svid = place.authority.issue(&entry).unwrap();
    place.write(&svid);
    place.setup.wait_published();
    place.setup.cluster.start();
    current(&daemon);
    assert!(place.holds(&svid));
}

fn current(daemon: &Pgsvid) {
    let event = daemon.rotated(1);
    assert_eq!(event["verdict"], "current", "{event}");
}

/// The findings of `check`, which runs as the server's user: code and severity.
fn found(place: &Place) -> Vec<(String, String)> {
    found_by(&place.setup.arguments())
}

/// The same with other arguments.
fn found_by(arguments: &[String]) -> Vec<(String, String)> {
    let word = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    let findings = findings_of(Account::server(), arguments).into_iter();
    findings.map(|it| (word(&it["code"]), word(&it["severity"]))).collect()
}

/// All findings of `check` as this account.
fn findings_of(account: &Account, arguments: &[String]) -> Vec<Value> {
    let usual =
        arguments.chunks(2).filter(|it| !["--endpoint", "--log-format"].contains(&it[0].as_str()));
    let usual = usual.flatten().map(String::as_str);
    let check = ["check", "--format", "json"].into_iter().chain(usual);
    let check = Program::spawn_as(account, PGSVID, check, &[]);
    check.wait_exit(LIMIT);
    let report: Value = serde_json::from_str(&check.standard_output()).unwrap();
    let sections = report["sections"].as_array().unwrap();
    sections.iter().flat_map(|it| it["findings"].as_array().unwrap()).cloned().collect()
}

fn warns(found: &[(String, String)], code: &str) -> bool {
    found.contains(&(code.to_owned(), "warning".to_owned()))
}

#[test]
fn b88_files_that_others_can_exchange_and_a_key_that_they_can_read_are_reported() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let mode = |path: &std::path::Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    place.write(&place.issue());
    mode(place.certs.path(), 0o755);
    let (exchangeable, readable) = ("certificates-exchangeable", "certificates-key-readable");
    let before = found(&place);
    assert!(!warns(&before, exchangeable) && !warns(&before, readable), "{before:?}");
    // Everybody may replace all three.
    mode(place.certs.path(), 0o777);
    assert!(warns(&found(&place), exchangeable));
    mode(place.certs.path(), 0o755);
    mode(&place.at("tls.key"), 0o644);
    let after = found(&place);
    // As far as the directories above let others pass.
    assert!(warns(&after, readable) && !warns(&after, exchangeable), "{after:?}");
    mode(place.certs.path(), 0o700);
    assert!(!warns(&found(&place), readable));
}

#[test]
fn f72_a_key_in_a_data_volume_on_the_file_system_of_the_machine_that_everybody_can_read_is_reported()
 {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let place = Place::new();
    place.certs.subdirectory("..1");
    place.write_below("..1/", &place.issue());
    symlink("..1", place.at("..data")).unwrap();
    for name in NAMES {
        symlink(format!("..data/{name}"), place.at(name)).unwrap();
    }
    for (path, mode) in [("", 0o755), ("..1", 0o755), ("..1/tls.crt", 0o644)] {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(place.certs.path().join(path), mode).unwrap();
    }
    let code = "certificates-key-readable";
    assert!(!warns(&found(&place), code));
    let key = place.certs.path().join("..1/tls.key");
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(warns(&found(&place), code));
}

/// The writer makes its key a link to a file of root's, which the printed command would change.
#[test]
fn b118_no_command_is_printed_for_a_file_of_roots_to_which_the_writers_key_leads() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let place = Place::new();
    place.write(&place.issue());
    std::fs::set_permissions(place.certs.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let roots = Directory::new();
    let file = roots.write_owned("library.so", "code", 0o644, 0, 0);
    std::fs::remove_file(place.at("tls.key")).unwrap();
    symlink(file, place.at("tls.key")).unwrap();
    let findings = findings_of(Account::current(), &place.setup.arguments());
    let told: Vec<_> =
        findings.iter().filter(|it| it["code"] == "certificates-key-readable").collect();
    assert!(!told.is_empty(), "{findings:#?}");
    assert!(told.iter().all(|it| it["command"].is_null()), "{told:#?}");
}

#[test]
fn b106_a_key_that_a_foreign_group_or_a_user_of_a_list_can_read_is_reported_and_the_remedy_ends_it()
{
    use std::os::unix::fs::{PermissionsExt as _, chown};
    let place = Place::new();
    place.write(&place.issue());
    let key = place.at("tls.key");
    let third = Account::third().expect("this test needs root");
    let open =
        |mode| std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
    let code = "certificates-key-readable";
    open(0o640);
    assert!(!warns(&found(&place), code), "the group is its owner's");
    let before = std::fs::metadata(&key).unwrap();
    chown(&key, None, Some(third.gid())).unwrap();
    assert!(warns(&found(&place), code));
    // What the remedy does.
    open(0o600);
    assert!(!warns(&found(&place), code));
    chown(&key, None, Some(std::os::unix::fs::MetadataExt::gid(&before))).unwrap();
    // The owner, a user by name, the group, the mask, the others (`linux/posix_acl_xattr.h`).
    let entry = |tag: u16, rights: u16, id: u32| {
        [&tag.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let none = u32::MAX;
    let list = [
        2_u32.to_le_bytes().to_vec(),
        entry(0x01, 6, none),
        entry(0x02, 4, third.uid()),
        entry(0x04, 0, none),
        entry(0x10, 4, none),
        entry(0x20, 0, none),
    ];
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(&key, "system.posix_acl_access", &list.concat(), flags).unwrap();
    assert!(warns(&found(&place), code));
}

/// While the daemon is down, another user answers in its place that all is well.
#[test]
fn b92_what_another_user_answers_in_the_daemons_place_is_no_all_clear() {
    let place = Place::new();
    place.with_status();
    place.write(&place.issue());
    let pgsvid = place.start();
    let own = place.setup.other.join("status.sock");
    let answer = {
        let mut stream = UnixStream::connect(&own).unwrap();
        stream.write_all(b"GET /status HTTP/1.0\r\nHost: a\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(!warns(&found(&place), "daemon-status"));
    assert!(pgsvid.terminate(LIMIT).success());
    let stranger = Account::third().expect("this test needs root");
    let file = place.setup.other.write("answer", answer, 0o644);
    let program = "import socket, sys, time\n\
        answer = open(sys.argv[2], 'rb').read()\n\
        where = sys.argv[1]\n\
        if where.isdigit():\n    s = socket.socket(); s.bind(('127.0.0.1', int(where)))\n\
        else:\n    s = socket.socket(socket.AF_UNIX); s.bind(where)\n\
        s.listen(9); print('listens', flush=True)\n\
        while True:\n    c, _ = s.accept(); c.recv(9999); c.sendall(answer); c.close()\n";
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let open = Directory::new();
    std::fs::set_permissions(open.path(), std::os::unix::fs::PermissionsExt::from_mode(0o1777))
        .unwrap();
    let socket = open.join("status.sock").display().to_string();
    for (listen, bound) in [
        (format!("127.0.0.1:{port}"), port.to_string()),
        // A connection to all addresses goes to the loopback.
        (format!("0.0.0.0:{port}"), port.to_string()),
        (format!("unix:{socket}"), socket.clone()),
    ] {
        place.configure("", &format!("health.listen = '{listen}'"));
        let arguments = ["-c", program, &bound, file.to_str().unwrap()];
        let fake = Program::spawn_as(&stranger, "/usr/bin/python3", arguments, &[]);
        fake.wait_for_text(LIMIT, "listens");
        let found = found(&place);
        assert!(warns(&found, "daemon-status"), "{listen}: {found:?}");
    }
}

/// Its `run` cannot start, because the address is taken.
#[test]
fn b115_a_daemon_with_another_configuration_is_no_all_clear_for_this_one() {
    let place = Place::new();
    place.with_status();
    place.write(&place.issue());
    let _pgsvid = place.start();
    assert!(!found(&place).contains(&("daemon-status".to_owned(), "failure".to_owned())));
    let elsewhere = Directory::new();
    let mut arguments = place.setup.arguments();
    let at = arguments.iter().position(|it| it == "--directory").unwrap();
    arguments[at + 1] = elsewhere.path().display().to_string();
    let found = found_by(&arguments);
    assert!(found.contains(&("daemon-status".to_owned(), "failure".to_owned())), "{found:?}");
}

/// What asks the files' file system does so in a thread of its own.
#[test]
fn b91_a_file_system_that_does_not_answer_holds_up_only_what_reads_from_it() {
    with_mounts(|| {
        let place = Place::new();
        place.with_status();
        let memory = Directory::new();
        let _tmpfs = Tmpfs::over(memory.path(), "mode=0755");
        for name in ["lower", "upper", "work"] {
            std::fs::create_dir(memory.join(name)).unwrap();
        }
        std::os::unix::fs::chown(memory.join("upper"), Some(Account::server().uid()), None)
            .unwrap();
        let at = memory.path().display();
        // One of those that count as not telling of changes.
        let mounted = Command::new("mount")
            .args(["-t", "overlay", "overlay", "-o"])
            .arg(format!("lowerdir={at}/lower,upperdir={at}/upper,workdir={at}/work"))
            .arg(place.certs.path())
            .status();
        assert!(mounted.unwrap().success());
        place.write(&place.issue());
        let running = place.start();
        let daemon = running.daemon_pid().to_string();
        let mut arguments = vec!["-f".to_owned()];
        let certs = place.certs.path().display().to_string();
        for name in ["tls.crt", "tls.key", "ca.crt"] {
            arguments.extend(["-P".to_owned(), format!("{certs}/{name}")]);
        }
        let calls = "readlinkat,statx,newfstatat,openat,inotify_add_watch";
        arguments.extend([
            "-P".to_owned(),
            certs.clone(),
            "-e".to_owned(),
            format!("trace={calls}"),
        ]);
        arguments.extend(["-e".to_owned(), format!("inject={calls}:delay_enter=15000000")]);
        arguments.extend(["-p".to_owned(), daemon]);
        let strace = Program::spawn_as(Account::current(), "/usr/bin/strace", arguments, &[]);
        strace.wait_for_text(LIMIT, "attached");
        // The files are looked at every five seconds.
        std::thread::sleep(Duration::from_secs(6));
        for _ in 0..4 {
            let (status, _, error) = self::pgsvid(&["status", "--socket", &place.listen()]);
            assert_eq!(status, Some(0), "{error}");
            std::thread::sleep(Duration::from_secs(2));
        }
        // The calls of that look were held back meanwhile.
        strace.wait_for_text(LIMIT, "(DELAYED)");
    });
}
