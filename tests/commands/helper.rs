//! E12: a helper.conf of spiffe-helper, as it stands and translated.

use std::fs;

use dev_agent::{DevAgent, Entry};
use test_support::{Directory, LIMIT, Program, eventually};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");

fn run(arguments: &[&str]) -> Program {
    let program = Program::spawn(PGSVID, arguments, &[]);
    program.wait_exit(LIMIT);
    program
}

#[test]
fn e12_a_helper_conf_is_run_fetched_and_translated() {
    let (files, other) = (Directory::new(), Directory::new());
    let entry = Entry::new("spiffe://example.org/db").dns("db");
    let agent = DevAgent::builder(other.join("agent.sock")).entry(entry).automatic(false);
    let agent = agent.start().unwrap();
    let marker = other.join("marker").display().to_string();
    let touched = format!("{marker} of a command");
    let text = format!(
        "agent_address = \"{}\"\ncert_dir = \"{}\"\nsvid_file_name = \"tls.crt\"\nsvid_key_file_name = \"tls.key\"\n\
         svid_bundle_file_name = \"ca.crt\"\nkey_file_mode = 0400\ncmd = \"/usr/bin/touch\"\ncmd_args = \"\\\"{touched}\\\"\"\n",
        other.join("agent.sock").display(),
        files.path().display()
    );
    let helper = other.write("helper.conf", &text, 0o644).display().to_string();

    let daemon = Program::spawn(PGSVID, ["run", "--helper-config", &helper], &[]);
    eventually(LIMIT, "the set is published, and the command has run", || {
        files.join("ca.crt").exists() && fs::exists(&touched).unwrap()
    });
    assert_eq!(fs::read_to_string(files.join("tls.key")).unwrap(), agent.svid().key_pem());
    assert!(daemon.terminate(LIMIT).success());

    // What is printed is the same configuration.
    let printed = run(&["setup", "from-helper", &helper]);
    let toml = other.write("pgsvid.toml", printed.standard_output(), 0o644).display().to_string();
    agent.rotate().unwrap();
    let fetched = run(&["fetch", "--config", &toml, "--fresh"]);
    assert_eq!(fetched.wait_exit(LIMIT).code(), Some(0), "{}", fetched.standard_error());
    assert_eq!(fs::read_to_string(files.join("tls.crt")).unwrap(), agent.svid().chain_pem());

    // What cannot be honoured ends the command before anything is published, and is a comment in what is printed.
    for (more, key) in [
        ("daemon_mode = false\n", "daemon_mode"),
        ("jwt_svids = [{}]\n", "jwt_svids"),
        ("cert_file_mode = 640\n", "cert_file_mode"),
    ] {
        other.write("helper.conf", format!("{text}{more}"), 0o644);
        let ended = run(&["run", "--helper-config", &helper]);
        assert_eq!(ended.wait_exit(LIMIT).code(), Some(2), "{more}");
        assert!(ended.standard_error().contains(key), "{}", ended.standard_error());
        let printed = run(&["setup", "from-helper", &helper]);
        assert_eq!(printed.wait_exit(LIMIT).code(), Some(0), "{more}");
        assert!(printed.standard_output().contains(key), "{}", printed.standard_output());
    }
    // Its tokens are written beside the certificates, with the whole audience.
    let tokens = "jwt_svids = [{jwt_audience=\"a\", jwt_extra_audiences=[\"b\"], jwt_svid_file_name=\"t\"}]\njwt_bundle_file_name = \"keys\"\n";
    other.write("helper.conf", format!("{text}{tokens}"), 0o644);
    let fetched = run(&["fetch", "--helper-config", &helper]);
    assert_eq!(fetched.wait_exit(LIMIT).code(), Some(0), "{}", fetched.standard_error());
    assert_eq!(fs::read_to_string(files.join("t")).unwrap().split('.').count(), 3);
    assert!(fs::read_to_string(files.join("keys")).unwrap().starts_with("{\"example.org\":\""));
    // To fetch once is what fetch does.
    other.write("helper.conf", format!("{text}daemon_mode = false\n"), 0o644);
    let fetched = run(&["fetch", "--helper-config", &helper]);
    assert_eq!(fetched.wait_exit(LIMIT).code(), Some(0), "{}", fetched.standard_error());
    // Each of the two alone would run.
    other.write("helper.conf", &text, 0o644);
    let ended = run(&["run", "--helper-config", &helper, "--config", &toml]);
    assert_eq!(ended.wait_exit(LIMIT).code(), Some(2));
    assert!(ended.standard_error().contains("--config"), "{}", ended.standard_error());
}
