//! What `pgsvid check` says of hooks; nothing is run by that.

use std::process::Command;

use serde_json::Value;
use test_support::{Account, Program, Setup};

use super::{PGSVID, command, configure, script};

/// The findings about hooks, and whether all is well with them.
fn findings(setup: &Setup, account: &Account) -> Vec<Value> {
    let arguments = setup.arguments();
    let usual = arguments.chunks(2).filter(|pair| pair[0] != "--log-format").flatten();
    let arguments = ["check", "--format", "json"].into_iter().chain(usual.map(String::as_str));
    let check = Program::spawn_as(account, PGSVID, arguments, &[]);
    check.wait_exit(test_support::LIMIT);
    let report: Value = serde_json::from_str(&check.standard_output()).unwrap();
    let sections = report["sections"].as_array().unwrap();
    let hooks = sections.iter().filter(|it| it["group"] == "hooks");
    hooks.flat_map(|it| it["findings"].as_array().unwrap().clone()).collect()
}

/// Code and severity of each.
fn codes(findings: &[Value]) -> Vec<(&str, &str)> {
    let word = |it: &'_ Value, key: &str| it[key].as_str().unwrap().to_owned().leak() as &str;
    findings.iter().map(|it| (word(it, "code"), word(it, "severity"))).collect()
}

#[test]
fn check_looks_at_hooks_and_runs_none() {
    let setup = Setup::new(PGSVID);
    let ran = setup.other.join("ran");
    let good = script(&setup, "good", &format!("echo run >> {}", ran.display()));
    let forbidden = setup.other.write("forbidden", "#!/bin/sh\n", 0o644);
    let empty = setup.other.write("empty.pid", "", 0o644);
    let sleeper = Program::spawn_as(Account::current(), "/bin/sleep", ["600"], &[]);
    let number = sleeper.pid().to_string();
    let own = setup.other.write_owned("own.pid", number, 0o644, 0, 0);
    let signal = |name: &str, file: &std::path::Path| {
        let file = file.display();
        format!("[[hooks]]\nname = '{name}'\nsignal = 'HUP'\npid_file = '{file}'\n")
    };
    let tables = [
        command("good", &good, ""),
        command("forbidden", &forbidden, ""),
        signal("empty", &empty),
        signal("own", &own),
        command("other", &good, "user = 'root'"),
    ];
    configure(&setup, &tables);
    let found = findings(&setup, Account::server());
    let wanted = [
        ("hook-command", "ok"),
        ("hook-not-executable", "failure"),
        ("hook-pid-file", "failure"),
        ("hook-pid-file", "ok"),
        ("hook-user-refused", "failure"),
    ];
    assert_eq!(codes(&found), wanted, "{found:#?}");
    assert!(!ran.exists());
    // The remedy of a command, as it is printed.
    let remedy = found[1]["command"].as_str().unwrap();
    assert!(Command::new("sh").args(["-c", remedy]).status().unwrap().success());
    assert_eq!(codes(&findings(&setup, Account::server()))[1], ("hook-command", "ok"));
}

#[test]
fn check_warns_of_a_program_that_others_can_exchange_and_of_a_pid_file_that_they_can_write() {
    let setup = Setup::new(PGSVID);
    let program = script(&setup, "good", "exit 0");
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o777))
        .unwrap();
    let sleeper = Program::spawn_as(Account::server(), "/bin/sleep", ["600"], &[]);
    let open = setup.other.write("open.pid", sleeper.pid().to_string(), 0o666);
    let open = open.display();
    let signal = format!("[[hooks]]\nname = 'open'\nsignal = 'HUP'\npid_file = '{open}'\n");
    configure(&setup, &[command("good", &program, ""), signal]);
    let found = findings(&setup, Account::server());
    let exposed = found.iter().find(|it| it["code"] == "hook-command-exposed").unwrap();
    assert_eq!(exposed["severity"], "warning");
    let open = found.iter().find(|it| it["code"] == "hook-pid-file").unwrap();
    assert_eq!(open["severity"], "failure", "{open}");
    let remedy = open["command"].as_str().unwrap();
    assert!(Command::new("sh").args(["-c", remedy]).status().unwrap().success());
    let again = findings(&setup, Account::server());
    let open = again.iter().find(|it| it["object"] == "open").unwrap();
    assert_eq!(open["severity"], "ok", "{open}");
}

/// Each of these runs a file that another user can change, though the program itself is root's.
#[test]
fn b87_a_script_or_an_interpreter_that_others_can_exchange_is_reported() {
    let setup = Setup::new(PGSVID);
    let open = script(&setup, "open", "exit 0");
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let open = open.display();
    let interpreted = setup.other.write("interpreted", format!("#! {open} -x\n"), 0o755);
    let commands = [
        ("shell", format!("['/bin/sh', '-e', '{open}']")),
        ("env", format!("['/usr/bin/env', '{open}']")),
        ("option", format!("['/bin/sh', '--rcfile={open}']")),
        ("interpreter", format!("['{}']", interpreted.display())),
    ];
    let tables =
        commands.map(|(name, words)| format!("[[hooks]]\nname = '{name}'\ncommand = {words}\n"));
    configure(&setup, &tables);
    let found = findings(&setup, Account::server());
    for name in ["shell", "env", "option", "interpreter"] {
        let told =
            found.iter().find(|it| it["code"] == "hook-command-exposed" && it["object"] == name);
        let told = told.unwrap_or_else(|| panic!("{name}: {found:#?}"));
        assert_eq!(told["severity"], "warning");
        assert!(told["text"].as_str().unwrap().contains("/open"), "{told}");
    }
}

/// What the text of a shell, an option or the environment names is executed as well.
#[test]
fn b98_what_the_environment_or_the_text_of_a_shell_names_is_judged() {
    let setup = Setup::new(PGSVID);
    let open = script(&setup, "open", "exit 0");
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let bin = setup.other.subdirectory("bin");
    std::fs::set_permissions(&bin, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let tools = setup.other.subdirectory("our tools");
    std::fs::set_permissions(&tools, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let (open, bin, tools) = (open.display(), bin.display(), tools.display());
    let hooks = [
        ("text", format!("['/bin/sh', '-c', 'exec {open} --now; true']"), String::new()),
        ("quoted", format!("['/bin/sh', '-c', 'test -x \"{open}\"&&\"{open}\"']"), String::new()),
        ("at", format!("['/bin/true', '@{open}']"), String::new()),
        ("letter", format!("['/bin/true', '-c{open}']"), String::new()),
        ("modules", format!("['/bin/true', '-I{bin}']"), String::new()),
        ("later", format!("['/usr/bin/env', '{bin}/none.sh']"), String::new()),
        ("shell", "['/bin/true']".to_owned(), format!("BASH_ENV = '{open}'")),
        ("missing", "['/bin/true']".to_owned(), format!("ENV = '{bin}/later'")),
        ("library", "['/bin/true']".to_owned(), format!("LD_PRELOAD = 'libc.so.6:{open}'")),
        ("path", "['/bin/true']".to_owned(), format!("PATH = '{bin}:/usr/bin'")),
        ("blank", "['/bin/true']".to_owned(), format!("PATH = '{tools}:/usr/bin'")),
        ("perl", "['/bin/true']".to_owned(), format!("PERL5OPT = '-w -I{bin}'")),
        ("python", "['/bin/true']".to_owned(), format!("PYTHONPATH = '{bin}'")),
    ];
    let tables: Vec<String> = hooks
        .iter()
        .map(|(name, words, environment)| {
            format!(
                "[[hooks]]\nname = '{name}'\ncommand = {words}\nenvironment = {{ {environment} }}\n"
            )
        })
        .collect();
    configure(&setup, &tables);
    let found = findings(&setup, Account::server());
    for (name, ..) in hooks {
        let told =
            found.iter().find(|it| it["code"] == "hook-command-exposed" && it["object"] == name);
        assert!(told.is_some(), "{name}: {found:#?}");
    }
    // What others cannot change.
    let fine = "[[hooks]]\nname = 'fine'\ncommand = ['/bin/sh', '-c', 'exec /bin/true /dev/null']\n\
        environment = { PATH = '/usr/bin:/bin', TZ = ':/etc/localtime', URL = 'http://127.0.0.1/x' }\n";
    configure(&setup, &[fine.to_owned()]);
    let found = findings(&setup, Account::server());
    assert!(found.iter().all(|it| it["severity"] == "ok"), "{found:#?}");
}

#[test]
fn h17_a_hook_that_reloads_patroni_is_reported_and_one_that_only_asks_it_is_not() {
    let setup = Setup::new(PGSVID);
    let sleeper = Program::spawn_as(Account::server(), "/bin/sleep", ["600"], &[]);
    let file = setup.other.write("patroni.pid", sleeper.pid().to_string(), 0o644);
    let file = file.display();
    let signal = |name: &str, signal: &str| {
        format!("[[hooks]]\nname = '{name}'\nsignal = '{signal}'\npid_file = '{file}'\n")
    };
    let run = |name: &str, words: &str| {
        format!("[[hooks]]\nname = '{name}'\ncommand = ['/bin/true', {words}]\n")
    };
    configure(
        &setup,
        &[
            signal("hup", "HUP"),
            signal("usr1", "USR1"),
            run("reload", "'patronictl', 'reload', 'main'"),
            run("list", "'patronictl', 'list'"),
        ],
    );
    let found = findings(&setup, Account::server());
    let wanted = [
        ("hook-pid-file", "ok"),
        ("hook-reloads-patroni", "warning"),
        ("hook-pid-file", "ok"),
        ("hook-command", "ok"),
        ("hook-reloads-patroni", "warning"),
        ("hook-command", "ok"),
    ];
    assert_eq!(codes(&found), wanted, "{found:#?}");
}
