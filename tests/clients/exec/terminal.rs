//! J07: under a terminal, of which pgsvid is the first program, or in a shell with job control.

use test_support::{LIMIT, Program};

use super::{Exec, PGSVID};

const TERMINAL: &str = include_str!("terminal.py");

/// Runs the program on a terminal, with `(text to wait for, keys)`, and returns what the terminal has shown.
fn on_terminal(steps: &[(&str, &str)], arguments: &[String]) -> String {
    let steps = serde_json::to_string(steps).unwrap();
    let own = ["-c", TERMINAL, &steps].map(str::to_owned);
    let all = own.into_iter().chain(arguments.iter().cloned());
    let program = Program::spawn("/usr/bin/python3", all, &[("TERM", "dumb")]);
    program.wait_for_text(LIMIT * 2, "ended ");
    program.wait_exit(LIMIT);
    program.lines().join("\n")
}

fn pgsvid(exec: &Exec, application: &[&str]) -> Vec<String> {
    let program = Program::reachable(PGSVID).display().to_string();
    [program].into_iter().chain(exec.arguments(&[], application)).collect()
}

/// Counts SIGINT for a second after the first.
const COUNTS: &str = "import signal, time\n\
    got = []\n\
    signal.signal(signal.SIGINT, lambda *_: got.append(1))\n\
    print('ready', flush=True)\n\
    while not got: time.sleep(0.01)\n\
    time.sleep(1)\n\
    print(f'interrupts: {len(got)}', flush=True)\n";

#[test]
fn j07_a_key_of_the_terminal_reaches_the_application_once() {
    let exec = Exec::new();
    let shown =
        on_terminal(&[("ready", "\u{3}")], &pgsvid(&exec, &["/usr/bin/python3", "-c", COUNTS]));
    assert!(shown.lines().any(|line| line.trim().ends_with("interrupts: 1")), "{shown}");
    assert!(shown.contains("ended 0"), "{shown}");
    assert!(!shown.contains("daemon-restarted"), "{shown}");
}

#[test]
fn j07_the_application_reads_from_the_terminal() {
    let exec = Exec::new();
    let script = "echo ready; read word; echo \"<$word>\"; exit 4";
    let shown = on_terminal(
        &[("ready", "hello\n"), ("<hello>", "\n")],
        &pgsvid(&exec, &["/bin/sh", "-c", script]),
    );
    assert!(shown.contains("ended 4"), "{shown}");
}

#[test]
fn j07_the_shell_stops_it_and_continues_it() {
    let exec = Exec::new();
    let command =
        pgsvid(&exec, &["/bin/sh", "-c", "'echo rea\"\"dy; read word; echo \"<$word>\"; exit 4'"]);
    let shell = ["/bin/bash", "--norc", "--noprofile", "-i"].map(str::to_owned);
    let shown = on_terminal(
        &[
            ("$ ", &format!("{}\n", command.join(" "))),
            ("ready", "\u{1a}"),
            // The application may read a little more before it stops: blanks, which mean nothing to it or to the shell.
            ("Stopped|$ ", "        fg\n"),
            ("sh -c", "hello\n"),
            ("<hello>", "echo \"status $?\"\n"),
            ("status 4|$ ", "exit\n"),
        ],
        &shell,
    );
    assert!(shown.contains("ended 0"), "{shown}");
}

#[test]
fn j07_the_end_of_the_terminal_ends_the_application() {
    let exec = Exec::new();
    let mark = exec.other.join("hung-up");
    exec.other.write("hung-up", "", 0o666);
    let script = format!(
        "trap 'echo hup > {}; exit 0' HUP; echo ready; while :; do sleep 0.1; done",
        mark.display()
    );
    let shown = on_terminal(&[("ready", "")], &pgsvid(&exec, &["/bin/sh", "-c", &script]));
    assert!(shown.contains("ended 0"), "{shown}");
    assert_eq!(std::fs::read_to_string(mark).unwrap(), "hup\n");
}
