//! What `check` says about Patroni, and what `setup` prints.

use test_support::{Program, eventually};

use super::{PART, PGSVID, Patroni, STRICT, check, is, prepared, running, started};

#[test]
fn r13_check_says_what_is_right_and_what_is_wrong() {
    let node = running(STRICT, PART, "");
    let found = check(&node.setup);
    for code in ["verdict-current", "patroni-loop-wait"] {
        assert!(is(&found, code, "ok"), "{code} {found:?}");
    }
    assert!(found.iter().all(|(code, _)| code != "patroni-files-mix"), "{found:?}");
    assert!(found.iter().all(|(_, severity)| severity != "failure"), "{found:?}");

    // Patroni may not have stored its configuration yet.
    let edit = ["edit-config", "--set", "loop_wait=11", "--force"];
    eventually(test_support::LIMIT, "it is edited", || node.patroni.ctl(&edit).is_ok());
    // The next loop knows it.
    eventually(test_support::LIMIT, "check sees it", || {
        is(&check(&node.setup), "patroni-loop-wait", "warning")
    });
    node.patroni.kill();
    let found = check(&node.setup);
    assert!(is(&found, "verdict-unreachable", "failure"), "{found:?}");
    // A process that accepts connections, and answers nothing.
    let port = node.patroni.rest_port();
    let silent = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let found = check(&node.setup);
    assert!(is(&found, "patroni-silent", "failure"), "{found:?}");
    drop(silent);
}

#[test]
fn r14_check_warns_of_files_that_can_mix_and_names_the_files_that_patroni_owns() {
    let (setup, patroni, etcd) = prepared("", "", "");
    let files = Patroni::with_files(setup.files.path());
    let postgresql = format!(
        "{}\npg_hba: ['local all postgres peer map=superuser', 'local postgres pgsvid peer map=pgsvid']",
        patroni.alone()
    );
    let hba = std::fs::read_to_string(setup.cluster.data_directory().join("pg_hba.conf")).unwrap();
    let first = hba.lines().next().unwrap();
    let postgresql = postgresql.replace("local all postgres peer map=superuser", first);
    patroni.configure(&files, &postgresql, "");
    let node = started(setup, patroni, etcd);
    node.current("patroni", 1);
    let found = check(&node.setup);
    assert!(is(&found, "patroni-files-mix", "warning"), "{found:?}");
    assert!(is(&found, "patroni-owns-file", "ok"), "{found:?}");
    // Without the table it is said that pgsvid does not know of Patroni.
    node.setup.configure("[postgres]");
    let found = check(&node.setup);
    assert!(is(&found, "patroni-unwatched", "warning"), "{found:?}");
    assert!(is(&found, "patroni-owns-file", "ok"), "{found:?}");
}

#[test]
fn r15_setup_prints_yaml_for_each_node_and_needs_the_table() {
    let (setup, _patroni, _etcd) = prepared("", PART, "");
    let usual = setup.arguments();
    let usual = usual.chunks(2).filter(|pair| pair[0] != "--log-format").flatten();
    let usual: Vec<_> = usual.map(String::as_str).collect();
    let print = |arguments: &[&str]| {
        let all = ["setup", "patroni-yaml"].iter().chain(arguments).copied();
        let program = Program::spawn(PGSVID, all, &[]);
        let status = program.wait_exit(test_support::LIMIT);
        (status.code(), program.standard_output(), program.standard_error())
    };
    let (status, yaml, said) = print(&usual);
    assert_eq!(status, Some(0), "{said}");
    for line in [
        "postgresql:",
        "  parameters:",
        "  pg_hba:",
        "  pg_ident:",
        "  authentication:",
        "restapi:",
        "ctl:",
        "# etcd3:",
    ] {
        assert!(yaml.lines().any(|it| it == line), "{line}: {yaml}");
    }
    setup.configure("[postgres]");
    let (status, _, said) = print(&usual);
    assert_eq!(status, Some(2), "{said}");
}
