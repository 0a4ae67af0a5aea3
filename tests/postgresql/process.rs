//! X03, X05, A89, A92, B25, B30, B31: resources that the process lacks, and outputs that it cannot write to.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Command;

use dev_agent::KeyIdentifier;
use test_support::{LIMIT, Mark, Pgsvid, Program, Setup, Signal, Strace, eventually};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
/// `O_NONBLOCK` of Linux.
const NONBLOCK: i32 = 0o4000;

#[test]
fn x03_exhausted_descriptors_are_reported_and_it_recovers() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    let old = setup.agent.svid();
    let open = pgsvid.process().descriptors();
    // It keeps what it has, and gets nothing more.
    let limit = pgsvid.process().limit_descriptors(0);
    setup.agent.rotate().unwrap();
    let (alarm, mark) = pgsvid.event_after(Mark::default(), "publication-failed");
    assert_eq!(alarm["level"], "ERROR");
    assert!(alarm["error"].as_str().unwrap().contains("Too many open files"), "{alarm}");
    assert!(alarm["next"].as_str().unwrap().contains("the published files stay"), "{alarm}");
    assert_eq!(fs::read_to_string(setup.files.join("svid.pem")).unwrap(), old.chain_pem());
    // Neither can it dial.
    setup.agent.drop_connections();
    let (warning, mark) = pgsvid.wait_for_event_after(mark, LIMIT, |event| {
        event["error"].as_str().is_some_and(|text| {
            text.contains("cannot connect to unix://") && text.contains("oo many open files")
        })
    });
    assert_eq!(warning["message"], "no connection to the agent; retrying");
    assert!(pgsvid.is_running());

    pgsvid.process().limit_descriptors(limit);
    pgsvid.event_after(mark, "agent-connected");
    pgsvid.current(2);
    setup.agent.rotate().unwrap();
    pgsvid.current(3);
    eventually(LIMIT, "no descriptor was lost", || pgsvid.process().descriptors() <= open + 1);
}

#[test]
fn a89_where_no_thread_can_be_made_any_more_rotations_go_on() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    rotate_without_threads(&setup, &pgsvid);
}

#[test]
fn a89_where_no_thread_can_be_made_any_more_the_password_is_read() {
    let setup = Setup::new(PGSVID);
    let file = setup.other.write("password", "correct horse\n", 0o600);
    setup.configure(&format!("[postgres]\npassword_file = '{}'", file.display()));
    setup.cluster.set_hba("local postgres pgsvid scram-sha-256");
    let pgsvid = setup.start();
    setup.cluster.sql("postgres", "postgres", "ALTER ROLE pgsvid PASSWORD 'correct horse'");
    rotate_without_threads(&setup, &pgsvid);
}

#[track_caller]
fn rotate_without_threads(setup: &Setup, pgsvid: &Pgsvid) {
    // tokio's own end when they have had nothing to do for ten seconds.
    eventually(LIMIT, "it is at rest", || pgsvid.process().threads_named("tokio").is_empty());
    let threads = pgsvid.process().threads();
    pgsvid.process().limit_threads();
    for generation in 2..=4 {
        setup.agent.rotate().unwrap();
        let event = pgsvid.current(generation);
        assert!(event["reload_ms"].is_number(), "{event}");
    }
    pgsvid.signal(Signal::HUP);
    pgsvid.current(5);
    assert_eq!(pgsvid.process().threads(), threads);
    assert!(pgsvid.terminate(LIMIT).success());
}

#[test]
fn b25_where_no_process_or_thread_can_be_made_the_start_says_what_helps() {
    let setup = Setup::new(PGSVID);
    let file = setup.other.write("password", "correct horse\n", 0o600);
    setup.configure(&format!("[postgres]\npassword_file = '{}'", file.display()));
    let arguments: Vec<_> = ["run".to_owned()].into_iter().chain(setup.arguments()).collect();
    let says = |pgsvid: &Program, words: &str| {
        assert_eq!(pgsvid.wait_exit(LIMIT).code(), Some(1), "{words}");
        let said = pgsvid.standard_error();
        assert!(said.contains(words) && said.contains("raise the limit of processes"), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    };
    let new = |which: u32| format!("clone,clone3,fork,vfork:error=EAGAIN:when={which}");
    says(&Strace::around(PGSVID, &arguments, &new(1)), "cannot start the daemon");
    for (which, words) in
        [(1, "writes the log"), (2, "reads the password and looks up names"), (4, "writes files")]
    {
        let (daemon, _parent) = Strace::around_daemon(PGSVID, &arguments, &new(which));
        says(&daemon, &format!("cannot start the thread that {words}"));
    }
}

/// tokio panics where it gets no thread, and here it gets none right after one was to be had: a fault that can be made in any build.
#[test]
fn b14_a_panic_is_logged_by_name_before_the_process_ends() {
    let setup = Setup::new(PGSVID);
    let file = setup.other.write("password", "correct horse\n", 0o600);
    setup.configure(&format!("[postgres]\npassword_file = '{}'", file.display()));
    let arguments: Vec<_> = ["run".to_owned()].into_iter().chain(setup.arguments()).collect();
    let fault = "clone,clone3,fork,vfork:error=EAGAIN:when=3";
    let (daemon, _parent) = Strace::around_daemon(PGSVID, &arguments, fault);
    let event = daemon.wait_for_event(LIMIT, |event| event["event"] == "panicked");
    assert_eq!((&event["level"], &event["task"]), (&"ERROR".into(), &"main".into()), "{event}");
    assert!(event["cause"].as_str().unwrap().contains("OS can't spawn worker thread"), "{event}");
    assert!(event["place"].as_str().unwrap().contains(".rs:"), "{event}");
    assert!(!daemon.wait_exit(LIMIT).success());
}

#[test]
fn b30_watches_that_the_kernel_had_not_are_asked_for_again_without_any_event() {
    let setup = Setup::new(PGSVID);
    setup.configure("postgres.verify_every = '1h'");
    let arguments: Vec<_> = ["run".to_owned()].into_iter().chain(setup.arguments()).collect();
    // Until another process has given its own back.
    let pgsvid = Strace::quietly(PGSVID, &arguments, "inotify_add_watch:error=ENOSPC:when=1..40");
    let after =
        |mark, name: &str| pgsvid.wait_for_event_after(mark, LIMIT, |event| event["event"] == name);
    after(Mark::default(), "watches-exhausted");
    setup.wait_published();
    setup.cluster.start();
    let (_, mark) = after(Mark::default(), "rotated");
    let (_, mark) = after(mark, "watches-restored");
    fs::remove_file(setup.files.join("svid.pem")).unwrap();
    let (_, mark) = after(mark, "files-changed");
    after(mark, "rotated");
}

#[test]
fn a92_where_the_kernel_watches_no_more_directories_that_is_reported_and_timers_find_changes() {
    for (fault, said) in [
        ("inotify_add_watch:error=ENOSPC", "watches-exhausted"),
        ("inotify_init1:error=EMFILE", "watching-failed"),
    ] {
        let setup = Setup::new(PGSVID);
        let bundle = |number| {
            let agents = setup.agent.authority().twin(KeyIdentifier::OfItsKey);
            setup.other.write("extra.pem", agents.unwrap().root_pem().repeat(number), 0o644)
        };
        let extra = bundle(1);
        setup.configure(&format!(
            "files.extra_authorities = ['{}']\npostgres.verify_every = '1s'",
            extra.display()
        ));
        let arguments: Vec<_> = ["run".to_owned()].into_iter().chain(setup.arguments()).collect();
        let pgsvid = Strace::quietly(PGSVID, &arguments, fault);
        let after = |mark, name: &str| {
            pgsvid.wait_for_event_after(mark, LIMIT, |event| event["event"] == name)
        };
        let (event, _) = after(Mark::default(), said);
        assert_eq!(event["level"], "WARN", "{event}");
        assert!(event.to_string().contains("raise fs.inotify.max_user_"), "{event}");
        setup.wait_published();
        setup.cluster.start();
        let (_, mark) = after(Mark::default(), "rotated");
        fs::remove_file(setup.files.join("svid.pem")).unwrap();
        let (_, mark) = after(mark, "files-changed");
        let (_, mark) = after(mark, "rotated");
        bundle(2);
        let (_, mark) = after(mark, "extra-authorities-changed");
        let (event, _) = after(mark, "rotated");
        assert_eq!(event["verdict"], "current", "{event}");
        let times = pgsvid.lines().iter().filter(|line| line.contains(said)).count();
        assert_eq!(times, 1, "said once");
    }
}

#[test]
fn x05_a_full_pipe_on_both_outputs_hinders_no_rotation() {
    let setup = Setup::new(PGSVID);
    let (path, _reader) = pipe(&setup);
    fill(&path);
    let pgsvid = run(&setup, &format!(">{path} 2>{path}"));
    rotates(&setup);
    // Nor does what it could not say hold up its end.
    assert!(pgsvid.terminate(LIMIT).success());
}

#[test]
fn x05_outputs_that_are_closed_or_whose_reader_goes_away_hinder_no_rotation() {
    let setup = Setup::new(PGSVID);
    let pgsvid = run(&setup, "<&- >&- 2>&-");
    rotates(&setup);
    assert!(pgsvid.terminate(LIMIT).success());

    let setup = Setup::new(PGSVID);
    let (path, reader) = pipe(&setup);
    let pgsvid = run(&setup, &format!(">{path} 2>{path}"));
    setup.wait_published();
    drop(reader);
    rotates(&setup);
    assert!(pgsvid.terminate(LIMIT).success());
}

/// pgsvid with its outputs somewhere else, and every line that it has to say.
fn run(setup: &Setup, outputs: &str) -> Program {
    let pgsvid = Program::reachable(PGSVID).display().to_string();
    let script = format!("exec \"$0\" \"$@\" {outputs}");
    let mut arguments = vec!["-c".to_owned(), script, pgsvid, "run".to_owned()];
    arguments.extend(setup.arguments());
    arguments.extend(["--log-level", "trace"].map(str::to_owned));
    Program::spawn("/bin/sh", arguments, &[])
}

/// A named pipe, and its end that nobody reads from.
fn pipe(setup: &Setup) -> (String, File) {
    let path = setup.other.join("pipe");
    assert!(Command::new("mkfifo").args(["-m", "666"]).arg(&path).status().unwrap().success());
    let reader = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(&path).unwrap();
    (path.display().to_string(), reader)
}

/// Fills a pipe to the last byte.
fn fill(path: &str) {
    let mut writer = OpenOptions::new().write(true).custom_flags(NONBLOCK).open(path).unwrap();
    for size in [4096, 1] {
        loop {
            match writer.write(&vec![b'x'; size]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// A server that starts gets the set, and each that follows.
#[track_caller]
fn rotates(setup: &Setup) {
    setup.wait_published();
    setup.cluster.start();
    for _ in 0..20 {
        setup.agent.rotate().unwrap();
        let svid = setup.agent.svid();
        eventually(LIMIT, "the newest certificate is served", || {
            setup.cluster.try_served().is_ok_and(|served| served.leaf == svid.leaf())
        });
    }
}
