//! B84-B86: a hook of another user, which must not get at what pgsvid was started with: its terminal, its descriptors, its
//! capabilities.

use std::path::Path;

use test_support::{Account, LIMIT, Process, Program, Setup, Signal, eventually};

use super::{PGSVID, command, configure, lines, read, script};

/// The hook that runs as another user than pgsvid, which runs as root.
fn as_root(setup: &Setup, body: &str) {
    let server = Account::server();
    assert_eq!(Account::current().uid(), 0, "this test needs root");
    std::os::unix::fs::chown(setup.files.path(), Some(0), Some(0)).unwrap();
    let more = format!("user = {:?}", server.name());
    let group = format!("[files]\ngroup = \"{}\"\n", setup.cluster.gid());
    configure(setup, &[group, command("other", &script(setup, "hook", body), &more)]);
}

/// `pgsvid run` within a shell's line, in the place of RUN.
fn within(setup: &Setup, line: &str) -> String {
    let words: Vec<_> = setup.arguments().iter().map(|word| format!("'{word}'")).collect();
    let program = Program::reachable(PGSVID);
    line.replace("RUN", &format!("exec '{}' run {}", program.display(), words.join(" ")))
}

/// Where every user can write.
fn open_to_all(setup: &Setup, name: &str) -> std::path::PathBuf {
    let file = setup.other.write(name, "", 0o666);
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    file
}

/// A program that has started pgsvid, which ends with the value.
struct Starter(Program);

impl Drop for Starter {
    fn drop(&mut self) {
        for child in Process(self.0.pid()).children() {
            child.signal(Signal::TERM);
        }
    }
}

#[test]
fn b84_a_hook_does_not_reach_the_terminal_that_pgsvid_was_started_from() {
    let setup = Setup::new(PGSVID);
    let out = open_to_all(&setup, "out");
    let body = format!(
        "if (printf 'forged' > /dev/tty) 2>/dev/null; then echo terminal; else echo none; fi >> {}",
        out.display()
    );
    as_root(&setup, &body);
    let inner = within(&setup, "RUN");
    let arguments = ["-qec", &inner, "/dev/null"];
    let terminal =
        Starter(Program::spawn_as(Account::current(), "/usr/bin/script", arguments, &[]));
    assert_eq!(lines(&out, 1)[0], "none");
    assert!(!terminal.0.standard_output().contains("forged"));
}

#[test]
fn b85_a_hook_inherits_no_descriptor_that_pgsvid_was_started_with() {
    let setup = Setup::new(PGSVID);
    let out = open_to_all(&setup, "out");
    let secret = setup.other.write_owned("secret", "of root alone\n", 0o600, 0, 0);
    as_root(&setup, &format!("(cat <&7) >> {0} 2>&1; echo end >> {0}", out.display()));
    let inner = within(&setup, &format!("exec 7<'{}'; RUN", secret.display()));
    let pgsvid = Program::spawn_as(Account::current(), "/bin/sh", ["-c", &inner], &[]);
    eventually(LIMIT, "it has run", || read(&out).contains("end"));
    assert!(!read(&out).contains("of root alone"), "{}", read(&out));
    assert!(pgsvid.terminate(LIMIT).success());
}

#[test]
fn b86_a_hook_of_another_user_keeps_no_capability() {
    let setup = Setup::new(PGSVID);
    let out = open_to_all(&setup, "out");
    let (server, nobody) = (Account::server(), "nobody");
    let body = format!(
        "id -un >> {0}; grep -E '^Cap(Inh|Prm|Eff|Amb)' /proc/self/status >> {0}",
        out.display()
    );
    let more = format!("user = '{nobody}'");
    configure(&setup, &[command("other", &script(&setup, "hook", &body), &more)]);
    let user = server.uid().to_string();
    let group = server.gid().to_string();
    let given = "+setuid,+setgid";
    let inner = within(&setup, "RUN");
    let arguments = [
        "--reuid",
        &user,
        "--regid",
        &group,
        "--clear-groups",
        "--inh-caps",
        given,
        "--ambient-caps",
        given,
        "/bin/sh",
        "-c",
        &inner,
    ];
    let pgsvid =
        Program::spawn_as(Account::current(), Path::new("/usr/bin/setpriv"), arguments, &[]);
    let seen = lines(&out, 5);
    assert_eq!(seen[0], nobody);
    for line in &seen[1..5] {
        assert!(line.ends_with("\t0000000000000000"), "{seen:?}");
    }
    assert!(pgsvid.terminate(LIMIT).success());
}
