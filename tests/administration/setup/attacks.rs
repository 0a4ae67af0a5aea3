//! Another process answers on PostgreSQL's socket, or somebody has redirected the paths of its files: root's `setup` must not
//! lead to root's files.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::channel;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;
use test_support::{Account, Directory, LIMIT, Program, Setup, Signal, eventually};

use crate::setup::fake::{Fake, Rows};
use crate::setup::{
    PGSVID, admin, arguments, bare, configure, publish, run, run_as, state, with_cluster,
};

const ALL: [&str; 3] = ["apply", "--hba", "--yes"];
const REVERT: [&str; 2] = ["revert", "--yes"];
/// Where a test's servers listen that are no real ones.
const PORT: u16 = 5432;

/// A directory for everybody, as `/tmp` is.
fn public() -> Directory {
    let directory = Directory::new();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o1777)).unwrap();
    directory
}

/// A file of root's in a directory of root's.
struct Victim(PathBuf, String);

impl Victim {
    fn new(directory: &Directory, name: &str, text: &str) -> Self {
        let place = directory.subdirectory("root");
        chown(&place, Some(0), Some(0)).unwrap();
        let file = directory.write_owned(&format!("root/{name}"), text, 0o644, 0, 0);
        Self(file, text.to_owned())
    }

    fn directory(&self) -> &Path {
        self.0.parent().unwrap()
    }

    #[track_caller]
    fn is_untouched(&self) {
        assert_eq!(fs::read_to_string(&self.0).unwrap(), self.1);
        let found = fs::metadata(&self.0).unwrap();
        assert_eq!((found.uid(), found.mode() & 0o777), (0, 0o644));
        assert_eq!(fs::read_dir(self.directory()).unwrap().count(), 1, "something is beside it");
    }
}

/// What a server says that has everything but lines in its files.
fn answers(
    setup: &Setup,
    data: &Path,
    started: u64,
    files: [&Path; 2],
) -> impl Fn(&str) -> Rows + Send + Sync + use<> {
    let text = |path: &Path| path.display().to_string();
    let [hba, ident] = files.map(text);
    let [data, started] = [text(data), started.to_string()];
    let published = ["svid.pem", "svid_key.pem", "svid_bundle.pem"];
    let [certificate, key, bundle] = published.map(|name| text(&setup.files.join(name)));
    let pairs = |pairs: &[(&str, &str)], more: usize| -> Rows {
        let row = |(name, value): &(&str, &str)| {
            let row = [Some((*name).to_owned()), Some((*value).to_owned())];
            row.into_iter().chain(vec![None; more]).collect()
        };
        pairs.iter().map(row).collect()
    };
    move |statement| {
        if statement.contains("is_superuser") {
            let rows = [
                ("data_directory", data.as_str()),
                ("hba_file", &hba),
                ("ident_file", &ident),
                ("is_superuser", "on"),
                ("started", &started),
                ("recovery", "false"),
            ];
            pairs(&rows, 0)
        } else if statement.contains("'ssl_cert_file'") {
            let rows = [
                ("ssl", "on"),
                ("ssl_cert_file", certificate.as_str()),
                ("ssl_key_file", &key),
                ("ssl_ca_file", &bundle),
                ("listen_addresses", ""),
                ("port", "5432"),
                // What would act on a terminal.
                ("server_version", "15.18\u{1b}[2J"),
                ("server_version_num", "150018"),
                ("may_read_errors", "false"),
                ("may_read_stats", "false"),
            ];
            pairs(&rows, 2)
        } else if statement.contains("rolcanlogin") {
            vec![["pgsvid", "t", "f"].map(|value| Some(value.to_owned())).to_vec()]
        } else if statement.contains("rolname =") {
            vec![vec![Some("t".to_owned()), None]]
        } else {
            Rows::new()
        }
    }
}

/// That user's server is the right one, as where the user owns the socket's directory.
fn believe(setup: &Setup, account: &Account) {
    configure(setup, "", &format!("require_peer = \"{}\"", account.uid()));
}

/// A data directory of that account's, whose server has started at that time.
fn data_of(account: &Account, place: &Directory, started: u64) -> PathBuf {
    let data = place.subdirectory("data");
    let (uid, gid) = (account.uid(), account.gid());
    chown(&data, Some(uid), Some(gid)).unwrap();
    place.write_owned("data/postmaster.pid", format!("1\n/\n{started}\n{PORT}\n"), 0o600, uid, gid);
    data
}

fn at(socket: &Directory) -> [String; 4] {
    ["--postgres", &socket.path().display().to_string(), "--port", &PORT.to_string()]
        .map(str::to_owned)
}

fn with<'a>(what: &[&'a str], more: &'a [String]) -> Vec<&'a str> {
    what.iter().copied().chain(more.iter().map(String::as_str)).collect()
}

#[test]
fn a04_a_planted_server_leads_root_to_none_of_roots_files() {
    let Some(third) = Account::third() else { return };
    let (setup, socket) = (bare(), public());
    believe(&setup, &third);
    publish(&setup);
    let victim = Victim::new(&setup.other, "file", "# root's\n");
    let data = data_of(&third, &setup.other, 7);
    let (uid, gid) = (third.uid(), third.gid());
    let own = setup.other.write_owned("data/ident", "# mine\n", 0o600, uid, gid);
    let answers = answers(&setup, &data, 7, [&victim.0, &own]);
    let fake = Fake::start(&third, socket.path(), PORT, answers);
    let ended = run_as(Account::current(), &setup, &with(&ALL, &at(&socket)));
    victim.is_untouched();
    assert_eq!(ended.status, 1, "{}{}", ended.output, ended.error);
    assert!(!ended.output.contains('\u{1b}'), "{:?}", ended.output);
    // It was believed as far as a server of that user's is.
    assert!(fake.heard().iter().any(|statement| statement.contains("hba_file")));
    assert!(fs::read_to_string(own).unwrap().contains("BEGIN pgsvid"));
}

#[test]
fn a04_root_takes_the_listeners_uid_and_drops_all_capabilities_before_it_sends_anything() {
    let Some(third) = Account::third() else { return };
    let (setup, socket) = (bare(), public());
    believe(&setup, &third);
    let data = data_of(&third, &setup.other, 7);
    let ((asked, is_asked), (go, may_go)) = (channel(), channel::<()>());
    let may_go = Mutex::new(may_go);
    let answers = answers(&setup, &data, 7, [&data.join("hba"), &data.join("ident")]);
    Fake::start(&third, socket.path(), PORT, move |statement| {
        let _ = asked.send(());
        let _ = may_go.lock().unwrap().recv();
        answers(statement)
    });
    let arguments = arguments(&setup, &with(&ALL, &at(&socket)));
    let program = Program::spawn_as(Account::current(), PGSVID, arguments, &[]);
    is_asked.recv_timeout(LIMIT).unwrap();
    for thread in fs::read_dir(format!("/proc/{}/task", program.pid())).unwrap() {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let fields = |name: &str| -> Vec<String> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(fields("Uid:"), vec![third.uid().to_string(); 4], "{status}");
        assert_eq!(fields("Gid:"), vec![third.gid().to_string(); 4], "{status}");
        assert!(!fields("Groups:").contains(&"0".to_owned()), "{status}");
        for name in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(fields(name), ["0000000000000000"], "{name} {status}");
        }
    }
    // And that user is not the master of the process, which has root's terminal.
    let memory = fs::metadata(format!("/proc/{}/mem", program.pid())).unwrap();
    assert_eq!(memory.uid(), 0);
    drop(go);
    program.wait_exit(LIMIT);
}

#[test]
fn a04_a_planted_server_cannot_name_the_data_directory_of_another_user() {
    let Some(third) = Account::third() else { return };
    let (setup, socket) = (bare(), public());
    believe(&setup, &third);
    publish(&setup);
    setup.cluster.start();
    let before = state(&setup);
    let data = setup.cluster.data_directory();
    let pid = fs::read_to_string(data.join("postmaster.pid")).unwrap();
    let started = pid.lines().nth(2).unwrap().parse().unwrap();
    let files = ["pg_hba.conf", "pg_ident.conf"].map(|name| data.join(name));
    let [hba, ident] = files.each_ref().map(PathBuf::as_path);
    let answers = answers(&setup, &data, started, [hba, ident]);
    Fake::start(&third, socket.path(), PORT, answers);
    // Closed to others as PostgreSQL has it, and open.
    for (mode, words) in [(0o700, "cannot reach"), (0o755, "belongs to uid")] {
        fs::set_permissions(&data, Permissions::from_mode(mode)).unwrap();
        run_as(Account::current(), &setup, &with(&ALL, &at(&socket))).badly(words);
        assert_eq!(state(&setup), before);
    }
}

#[test]
fn a04_nothing_is_sent_to_a_server_of_another_user_or_of_roots() {
    let Some(third) = Account::third() else { return };
    let setup = bare();
    configure(&setup, "", "");
    let data = data_of(&third, &setup.other, 7);
    for (listener, we) in [
        (&third, Account::server()),
        (&third, Account::current()),
        (Account::current(), Account::current()),
    ] {
        let socket = public();
        let answers = answers(&setup, &data, 7, [&data.join("hba"), &data.join("ident")]);
        let fake = Fake::start(listener, socket.path(), PORT, answers);
        // Whatever the socket's mode lets in.
        let path = socket.join(&format!(".s.PGSQL.{PORT}"));
        fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
        for what in [ALL.as_slice(), &REVERT] {
            let ended = run_as(we, &setup, &with(what, &at(&socket)));
            assert_eq!(ended.status, 1, "{}{}", ended.output, ended.error);
            assert_eq!(fake.heard(), Vec::<String>::new());
        }
    }
}

#[test]
fn a05_a_directory_that_is_swapped_while_root_reverts_leads_to_none_of_roots_files() {
    if Account::third().is_none() {
        return;
    }
    let setup = with_cluster(|cluster| cluster);
    configure(&setup, "", "");
    publish(&setup);
    let data = setup.cluster.data_directory();
    let (inner, link) = (data.join("inner"), data.join("link"));
    fs::create_dir(&inner).unwrap();
    fs::rename(data.join("pg_hba.conf"), inner.join("pg_hba.conf")).unwrap();
    chown(&inner, Some(setup.cluster.uid()), Some(setup.cluster.gid())).unwrap();
    setup.cluster.set_conf(&format!("hba_file = '{}/pg_hba.conf'", inner.display()));
    // So that root could log in without becoming anybody.
    let root = Account::current();
    setup.cluster.set_ident(&format!("administration {} postgres", root.name()));
    let victim = Victim::new(&setup.other, "pg_hba.conf", "# root's\n");
    symlink(victim.directory(), &link).unwrap();
    setup.cluster.start();
    let exchange = || renameat_with(CWD, &inner, CWD, &link, RenameFlags::EXCHANGE).unwrap();

    // The swap comes when the directory, or what is in it, was opened for the first time, the second … Also where the
    // kernel, or a container's filter, has no openat2.
    for without in [None, Some("inject=openat2:error=ENOSYS"), Some("inject=openat2:error=EPERM")] {
        let mut stops = 0;
        for number in 1.. {
            run(&setup, &ALL).well();
            let calls = if without.is_some() { "openat" } else { "openat,openat2" };
            let inject = format!("inject={calls}:signal=STOP:when={number}");
            let hba = inner.join("pg_hba.conf").display().to_string();
            let mut strace = vec!["-D", "-P", inner.to_str().unwrap(), "-P", &hba];
            strace.extend(["-e", "trace=openat,openat2", "-e", &inject]);
            strace.extend(without.iter().flat_map(|without| ["-e", without]));
            strace.extend(["--", PGSVID]);
            let strace = strace.into_iter().map(str::to_owned);
            let arguments = strace.chain(arguments(&setup, &REVERT));
            let program = Program::spawn_as(root, "/usr/bin/strace", arguments, &[]);
            let is_stopped =
                || program.lines().iter().any(|line| line.contains("stopped by SIGSTOP"));
            eventually(LIMIT, "it stops or ends", || is_stopped() || !program.is_running());
            if !is_stopped() {
                assert!(program.wait_exit(LIMIT).success(), "{:?}", program.lines());
                let injected = program.lines().iter().any(|line| line.contains("(INJECTED)"));
                assert_eq!(injected, without.is_some(), "{:?}", program.lines());
                break;
            }
            stops += 1;
            exchange();
            program.signal(Signal::CONT);
            program.wait_exit(LIMIT);
            exchange();
            victim.is_untouched();
        }
        assert!(stops >= 3, "{stops} {without:?}");
    }
}

#[test]
fn a05_files_that_a_record_names_are_no_more_than_the_servers_two() {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    setup.cluster.set_ident(&format!("administration {} postgres", Account::current().name()));
    setup.cluster.start();
    run(&setup, &ALL).well();
    let block = "# BEGIN pgsvid setup\nx\n# END pgsvid setup\nkept\n";
    let of_root = Victim::new(&setup.other, "file", block);
    let of_the_server = setup.other.write("file", block, 0o600);
    change_record(&setup, |record| {
        for path in [&of_root.0, &of_the_server] {
            record["files"][path.to_str().unwrap()] = json!("/nowhere");
        }
    });
    run_as(Account::current(), &setup, &REVERT).well();
    of_root.is_untouched();
    assert_eq!(fs::read_to_string(of_the_server).unwrap(), block);
    assert!(!state(&setup)[0].contains("BEGIN pgsvid"));
}

#[test]
fn a05_statements_and_settings_of_a_record_are_no_others_than_setups_own() {
    let setup = bare();
    configure(&setup, "", "");
    publish(&setup);
    setup.cluster.start();
    admin(&setup.cluster, "CREATE ROLE weak LOGIN; CREATE ROLE other");
    run(&setup, &ALL).well();
    // The last is executed first.
    let statements = [
        "DROP ROLE pgsvid; DROP ROLE other",
        "DROP ROLE IF EXISTS other",
        "ALTER ROLE weak SUPERUSER",
    ];
    let names = ["archive_command", "work_mem = '5MB'; ALTER ROLE weak SUPERUSER; --"];
    // A value cannot be more than one.
    let value = "x'; ALTER ROLE weak SUPERUSER; --";
    change_record(&setup, |record| {
        for statement in statements {
            let undo = json!({"database": "postgres", "statement": statement, "done": true});
            record["undo"].as_array_mut().unwrap().push(undo);
        }
        record["altering"] = json!(true);
        record["settings"]["ssl_ca_file"]["before"] = json!(value);
        record["settings"][names[0]] = json!({"before": "touch /tmp/planted", "after": "x"});
    });
    let ended = run(&setup, &REVERT);
    let roles = "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND NOT rolsuper ORDER BY 1";
    assert_eq!(admin(&setup.cluster, roles), "other\nweak");
    ended.well();
    let settings = "ssl_ca_file = 'x''; ALTER ROLE weak SUPERUSER; --'";
    assert_eq!(state(&setup)[2], settings);
    setup.cluster.write_file("postgresql.auto.conf", "");
    run(&setup, &["apply", "--yes"]).well();
    change_record(&setup, |record| {
        record["altering"] = json!(true);
        record["settings"]["ssl_ca_file"]["before"] = json!(value);
        record["settings"][names[1]] = json!({"before": "x", "after": "x"});
    });
    run(&setup, &REVERT).well();
    assert_eq!(state(&setup)[2], settings);
    assert_eq!(admin(&setup.cluster, roles), "other\nweak");
}

fn change_record(setup: &Setup, change: impl FnOnce(&mut serde_json::Value)) {
    let path = setup.cluster.data_directory().join("pgsvid-setup.json");
    let mut record = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    change(&mut record);
    setup.cluster.write_file("pgsvid-setup.json", &record.to_string());
}
