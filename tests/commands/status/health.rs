//! `/livez`, `/startupz` and `/readyz`, for any client and any request.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use dev_agent::Entry;
use test_support::{LIMIT, Mark, Process, Setup, Signal, eventually, free_address};

use super::PGSVID;
use super::asked::Asked;

#[test]
fn an_agent_that_is_away_or_withdraws_takes_no_database_out_of_service() {
    let setup = Setup::new(PGSVID);
    let status = Asked::configure(&setup, "");
    let _pgsvid = setup.start();
    assert_eq!(status.get("/startupz"), (200, "a valid set is published\n".to_owned()));
    setup.agent.remove_entries();
    setup.agent.drop_connections();
    eventually(LIMIT, "the withdrawal is said", || {
        status.metrics().contains("\npgsvid_withdrawn 1\n")
    });
    let (code, text) = status.get("/readyz");
    assert_eq!(code, 200, "{text}");
    assert!(text.contains("degraded: the agent has withdrawn the identity"), "{text}");
    assert!(status.metrics().contains("pgsvid_agent_connection{state=\"not-registered\"} 1"));
}

#[test]
fn before_an_identity_has_come_it_lives_and_is_not_started() {
    let setup = Setup::new(PGSVID);
    setup.agent.remove_entries();
    let status = Asked::configure(&setup, "");
    let _pgsvid = setup.spawn();
    eventually(LIMIT, "somebody answers", || status.listens());
    assert_eq!(status.get("/livez").0, 200);
    assert_eq!(status.get("/startupz").0, 503);
    let (code, text) = status.get("/readyz");
    assert_eq!(code, 503);
    assert!(text.starts_with("missing: no identity is published yet: "), "{text}");
    let (code, text) = status.get("/nowhere");
    assert_eq!(code, 404);
    assert!(text.contains("/readyz"), "{text}");
    assert_eq!(status.ask("POST /readyz HTTP/1.1\r\nHost: a\r\n\r\n").0, 405);
    let command = |more: &[&str]| {
        let output = status.command(more);
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = command(&["--startup"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.starts_with("no valid set is published yet: "), "{text}");
    assert_eq!(command(&["--live"]), (0, "alive\n".to_owned()));

    // Published is enough: there is no PostgreSQL yet.
    setup.agent.add_entry(Entry::new(Setup::SPIFFE_ID).dns("localhost")).unwrap();
    setup.agent.drop_connections();
    setup.wait_published();
    eventually(LIMIT, "the start-up probe passes", || command(&["--startup"]).0 == 0);
    assert_eq!(command(&["--startup"]).1, "a valid set is published\n");
    assert_eq!(command(&[]).0, 1, "nothing is proven yet");
}

#[test]
fn b26_a_probe_believes_the_daemon_and_nobody_else() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let probe = |answer: &'static str| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 1024]);
                stream.write_all(answer.as_bytes()).unwrap();
            });
            let mut command = Command::new(PGSVID);
            let output = command.args(["status", "--live", "--socket", &address]).output().unwrap();
            (output.status.code(), String::from_utf8(output.stdout).unwrap(), output.stderr)
        })
    };
    let stuck = "stuck while writing files\n";
    let answer =
        "HTTP/1.0 503 Service Unavailable\r\nX-Pgsvid: 1\r\n\r\nstuck while writing files\n";
    assert_eq!(probe(answer), (Some(1), stuck.to_owned(), Vec::new()));
    for strange in [
        "HTTP/1.0 404 Not Found\r\nX-Pgsvid: 1\r\n\r\nalive\n",
        "HTTP/1.1 200 OK\r\nServer: nginx\r\n\r\nok\n",
        "HTTP/1.1 200 OK\r\n\r\nX-Pgsvid: 1\r\n",
        "220 ready\r\n\r\n",
        "",
    ] {
        let (code, said, error) = probe(strange);
        assert_eq!((code, said.as_str()), (Some(1), ""), "{strange}");
        let error = String::from_utf8_lossy(&error).into_owned();
        assert!(error.contains("does not answer like pgsvid"), "{error}");
    }
    drop(listener);
    let output =
        Command::new(PGSVID).args(["status", "--live", "--socket", &address]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains(&format!("no answer from {address}")), "{error}");
}

#[test]
fn hostile_clients_do_not_hold_up_a_rotation() {
    let setup = Setup::new(PGSVID);
    let port = free_address();
    setup.configure(&format!("[health]\nlisten = '{port}'"));
    let pgsvid = setup.start();
    // Many that say nothing, many that stop amid a header, and one that never ends its first line.
    let mut clients: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(port).unwrap()).collect();
    for client in clients.iter_mut().take(100) {
        let _ = client.write_all(b"GET /status HTTP/1.1\r\nX-Slow: ");
    }
    let mut endless = TcpStream::connect(port).unwrap();
    let _ = endless.write_all(&vec![b'x'; 256 * 1024]);
    setup.agent.rotate().unwrap();
    pgsvid.current(2);
    let mut probe = TcpStream::connect(port).unwrap();
    probe.write_all(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut answer = String::new();
    probe.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // The slow ones are ended, not waited for.
    for client in [&mut endless, clients.last_mut().unwrap()] {
        client.set_read_timeout(Some(LIMIT)).unwrap();
        let ended = client.read_to_end(&mut Vec::new());
        let reset = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
        assert!(ended.as_ref().is_ok() || ended.as_ref().is_err_and(reset), "{ended:?}");
    }
}

#[test]
fn x07_a_port_that_is_taken_is_an_error_at_start() {
    let setup = Setup::new(PGSVID);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    setup.configure(&format!("[health]\nlisten = '{address}'"));
    let output = Command::new(PGSVID).arg("run").args(setup.arguments()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains(&format!("cannot listen on {address}: another process already does")),
        "{text}"
    );
    assert!(!setup.files.join("svid.pem").exists(), "nothing has begun");
}

/// Another user has the port in the moment between two daemons: the new one renews all the same.
#[test]
fn b108_a_port_that_is_taken_between_two_daemons_stops_no_renewal() {
    let setup = Setup::new(PGSVID);
    let status = Asked::for_a_browser(&setup, "");
    let pgsvid = setup.start();
    eventually(LIMIT, "it is ready", || status.get("/readyz").0 == 200);
    for daemon in Process(pgsvid.pid()).same_children() {
        daemon.signal(Signal::KILL);
    }
    let taken = eventually(LIMIT, "the port is free", || TcpListener::bind(status.name()).ok());
    pgsvid.event_after(Mark::default(), "status-not-listening");
    let mark = pgsvid.mark();
    setup.agent.rotate().unwrap();
    pgsvid.event_after(mark, "rotated");
    assert_eq!(setup.cluster.served().leaf, setup.agent.svid().leaf());
    drop(taken);
}
