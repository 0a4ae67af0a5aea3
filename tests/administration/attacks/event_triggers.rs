//! B74: after one server had refused the option that turns event triggers off, `check` sent it to no other server, and did not look
//! whether they are off in a superuser's session.

use std::path::Path;

use test_support::{Account, LIMIT, Program, Setup};

use crate::attacks::PGSVID;
use crate::attacks::endless::started;
use crate::setup::fake::{Fake, Rows};

const PORT: u16 = 5432;
/// The query that tells whether they run.
const QUERY: &str = "'event_triggers'";

/// A server of version 17, and whether event triggers run in its sessions.
fn of_version_17(directory: &Path, triggers: &'static str) -> Fake {
    let account = Account::server();
    Fake::start_of_version(account, directory, PORT, "17.2", move |statement| {
        let row = vec![Some("on".to_owned()), Some(triggers.to_owned())];
        if statement.contains(QUERY) { vec![row] } else { Rows::new() }
    })
}

fn check(setup: &Setup) -> String {
    let arguments = setup.arguments();
    let usual = arguments[..arguments.len() - 2].chunks(2);
    let usual = usual.filter(|pair| !["--postgres", "--port"].contains(&pair[0].as_str()));
    let usual = usual.flatten().map(String::as_str);
    let all = ["check"].into_iter().chain(usual);
    let program = Program::spawn_as(Account::server(), PGSVID, all, &[]);
    program.wait_exit(LIMIT);
    program.standard_output() + &program.standard_error()
}

fn server(name: &str, host: &Path, port: u16) -> String {
    let host = host.display();
    format!("[[postgres]]\nname = '{name}'\nhost = '{host}'\nport = {port}\nuser = 'postgres'\n")
}

#[test]
fn b74_a_superusers_session_with_event_triggers_is_refused() {
    let setup = Setup::new(PGSVID);
    for (triggers, is_refused) in [("on", true), ("off", false)] {
        let place = setup.other.subdirectory(triggers);
        let fake = of_version_17(&place, triggers);
        setup.configure(&server("one", &place, PORT));
        let report = check(&setup);
        let heard = fake.heard();
        assert!(heard.iter().any(|statement| statement.contains(QUERY)), "{heard:?} {report}");
        let more = |statement: &String| statement.contains("('ssl_cert_file')");
        assert_eq!(!heard.iter().any(more), is_refused, "{heard:?}");
    }
}

#[test]
fn b74_the_refusal_of_one_server_does_not_count_for_another() {
    let setup = started();
    let place = setup.other.subdirectory("new");
    let fake = of_version_17(&place, "off");
    // Before 17 it knows no such option.
    let old = server("old", setup.cluster.socket_directory(), setup.cluster.port());
    setup.configure(&(old + &server("new", &place, PORT)));
    let report = check(&setup);
    let heard = fake.heard();
    assert_eq!(heard.first().map(String::as_str), Some("startup, event_triggers=off"), "{report}");
}
