//! Which tables of `[[hooks]]` are accepted, and which key the error names if one is refused.

use super::super::tests::config;
use super::*;

fn with(hook: &str) -> Result<Vec<Hook>, String> {
    let text = format!(
        "workload_api.endpoint = 'unix:///a'\nfiles.directory = '/svids'\n[postgres]\n[[hooks]]\n{hook}"
    );
    config(&text).map(|config| config.rotation.hooks)
}

#[track_caller]
fn refused(hook: &str, key: &str, word: &str) {
    let error = with(hook).unwrap_err();
    assert!(error.contains(key) && error.contains(word), "{hook}: {error}");
}

#[test]
fn a_hook_has_a_command_or_a_signal_and_defaults_for_the_rest() {
    let hooks = with("name = 'a'\ncommand = ['/bin/true', '']").unwrap();
    let [hook] = &hooks[..] else { panic!("{hooks:?}") };
    assert_eq!(hook.action, Action::Command(vec!["/bin/true".to_owned(), String::new()]));
    assert_eq!(
        (hook.when, hook.timeout, hook.barrier),
        (When::Published, Duration::from_secs(30), false)
    );
    assert_eq!((&hook.user, hook.number), (&None, None));
    for signal in ["HUP", "SIGHUP"] {
        let hooks = with(&format!("name = 'a'\nsignal = '{signal}'\npid_file = '/a.pid'")).unwrap();
        let Action::Signal { signal, process, .. } = &hooks[0].action else { panic!("{hooks:?}") };
        assert_eq!((signal.as_str(), process), ("HUP", &None));
    }
    let hooks = with("name = 'a'\ncommand = ['/b']\nuser = 'root'\nwhen = 'proven'").unwrap();
    let user = hooks[0].user.as_ref().unwrap();
    assert_eq!((user.uid, user.gid, hooks[0].when), (0, 0, When::Proven));
    // What the runner reads is what was configured.
    let sent = &Table::new(&hooks).unwrap().0[0].bytes;
    assert_eq!(serde_json::from_slice::<Hook>(sent).unwrap(), hooks[0]);
}

#[test]
fn what_is_no_hook_is_reported_by_its_key() {
    refused("name = 'a'", "hooks.command", "either");
    refused("name = 'a'\ncommand = ['/a']\nsignal = 'HUP'", "hooks.command", "either");
    refused("name = 'a'\ncommand = []", "hooks.command", "empty");
    refused("name = 'a'\ncommand = ['true']", "hooks.command", "relative");
    refused("name = 'a'\ncommand = ['/a', \"\\u0000\"]", "hooks.command", "NUL");
    refused("name = 'a'\ncommand = ['/a']\nprocess = 'b'", "hooks.command", "leave them out");
    refused("name = 'a'\nsignal = 'KILL'\npid_file = '/a'", "hooks.signal", "HUP");
    refused("name = 'a'\nsignal = 'HUP'", "hooks.signal", "pid_file");
    refused("name = 'a'\nsignal = 'HUP'\npid_file = 'a'", "hooks.pid_file", "relative");
    refused(
        "name = 'a'\nsignal = 'HUP'\npid_file = '/a'\nprocess = '/b'",
        "hooks.process",
        "file name",
    );
    refused("name = 'a b'\ncommand = ['/a']", "hooks.name", "letters");
    refused("name = 'postgres'\ncommand = ['/a']", "hooks.name", "its own");
    refused(
        "name = 'a'\ncommand = ['/a']\n[[hooks]]\nname = 'a'\ncommand = ['/b']",
        "hooks.name",
        "its own",
    );
    refused("name = 'a'\ncommand = ['/a']\nwhen = 'later'", "hooks.when", "proven");
    refused("name = 'a'\ncommand = ['/a']\ntimeout = '0s'", "hooks.timeout", "second");
    refused("name = 'a'\ncommand = ['/a']\ntimeout = '2h'", "hooks.timeout", "hour");
    refused("name = 'a'\ncommand = ['/a']\nuser = 'nobody-of-that-name'", "hooks.user", "number");
    refused(
        "name = 'a'\ncommand = ['/a']\nenvironment = { 'A=B' = 'c' }",
        "hooks.environment",
        "letters",
    );
    refused(
        "name = 'a'\ncommand = ['/a']\nenvironment = { PGSVID_X = 'c' }",
        "hooks.environment",
        "another",
    );
    refused(&format!("name = 'a'\ncommand = ['/a', '{}']", "x".repeat(20_000)), "hooks", "16 KiB");
    let many: String = ('a'..='q')
        .flat_map(|n| {
            ["[[hooks]]\ncommand = ['/a']\nname = '", &n.to_string(), "'\n"].map(str::to_owned)
        })
        .collect();
    refused(many.trim_start_matches("[[hooks]]"), "hooks", "more than 16");
}

#[test]
fn h10_nothing_waits_for_a_proof_that_cannot_come() {
    let hook = "[[hooks]]\nname = 'a'\ncommand = ['/a']\nwhen = 'proven'";
    for (servers, word) in [
        ("", "is configured"),
        ("[postgres]\nverify = 'none'\n", "never verified"),
        ("[pgbouncer]\nverify = 'none'\n", "never verified"),
    ] {
        let text = format!(
            "workload_api.endpoint = 'unix:///a'\nfiles.directory = '/svids'\n{servers}{hook}"
        );
        let error = config(&text).map(drop).unwrap_err();
        assert!(error.contains("hooks.when") && error.contains(word), "{error}");
    }
}
