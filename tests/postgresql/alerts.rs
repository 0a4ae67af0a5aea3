//! An alert that somebody between the probe and PostgreSQL sends: seven bytes, which nobody has signed.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use test_support::{LIMIT, Setup, Signal, eventually};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
/// `handshake_failure`, fatal.
const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 40];

/// Passes everything on, or answers each handshake with an alert.
struct Relay {
    address: SocketAddr,
    answers: Arc<AtomicBool>,
}

impl Relay {
    fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Self {
            address: listener.local_addr().unwrap(),
            answers: Arc::new(AtomicBool::new(false)),
        };
        let answers = Arc::clone(&relay.answers);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (server, answers) = (server.clone(), Arc::clone(&answers));
                thread::spawn(move || {
                    if answers.load(Ordering::SeqCst) {
                        answer(stream)
                    } else {
                        pass(stream, &server)
                    }
                });
            }
        });
        relay
    }
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.read_exact(&mut [0; 8])?;
    stream.write_all(b"S")?;
    stream.read_exact(&mut [0; 5])?;
    stream.write_all(&ALERT)?;
    io::copy(&mut stream, &mut io::sink()).map(drop)
}

fn pass(stream: TcpStream, server: &str) -> io::Result<()> {
    let there = TcpStream::connect(server)?;
    let (mut here, mut back) = (stream.try_clone()?, there.try_clone()?);
    let answers = thread::spawn(move || {
        let _ = io::copy(&mut back, &mut here);
        let _ = here.shutdown(Shutdown::Write);
    });
    let (mut stream, mut there) = (stream, there);
    let _ = io::copy(&mut stream, &mut there);
    let _ = there.shutdown(Shutdown::Write);
    let _ = answers.join();
    Ok(())
}

fn with_relay() -> (Setup, Relay) {
    let setup = Setup::new(PGSVID);
    let relay = Relay::to(setup.cluster.address());
    setup.configure(&format!("[postgres]\nverify = '{}'", relay.address));
    (setup, relay)
}

#[test]
fn b57_an_alert_does_not_take_back_an_alarm() {
    let (setup, relay) = with_relay();
    let pgsvid = setup.start();
    // PostgreSQL refuses what comes next.
    setup.cluster.set_conf("ssl_ecdh_curve = 'nosuch'");
    setup.agent.rotate().unwrap();
    pgsvid.wait_for_event(LIMIT, |event| event["verdict"] == "still-old");
    let mark = pgsvid.mark();
    relay.answers.store(true, Ordering::SeqCst);
    pgsvid.signal(Signal::HUP);
    let (told, _) =
        pgsvid.wait_for_event_after(mark, LIMIT, |event| event["verdict"] == "unreachable");
    assert_eq!(told["code"], "verdict-unreachable", "{told:#}");
    assert!(pgsvid.events("handshake-refused").is_empty());
    assert_eq!(pgsvid.events("rotated").len(), 1, "the first generation alone is in force");
}

/// The settings are all known, and they are what they were at the last handshake.
#[test]
fn b57_an_alert_says_nothing_of_a_server_that_has_completed_a_handshake() {
    let (setup, relay) = with_relay();
    let pgsvid = setup.start();
    setup.cluster.sql("postgres", "postgres", "GRANT pg_read_all_settings TO pgsvid");
    setup.agent.rotate().unwrap();
    pgsvid.current(2);
    relay.answers.store(true, Ordering::SeqCst);
    let mark = pgsvid.mark();
    setup.agent.rotate().unwrap();
    pgsvid.wait_for_event_after(mark, LIMIT, |event| event["verdict"] == "unreachable");
    relay.answers.store(false, Ordering::SeqCst);
    pgsvid.current(3);
}

/// A setting has changed since: the server speaks otherwise now.
#[test]
fn b57_a_server_whose_settings_have_changed_may_speak_otherwise() {
    let (setup, _relay) = with_relay();
    let pgsvid = setup.start();
    setup.cluster.sql("postgres", "postgres", "GRANT pg_read_all_settings TO pgsvid");
    // All settings are queried after the second handshake, so at the third they are known. With two handshakes they might
    // already contain the change below.
    for generation in [2, 3] {
        setup.agent.rotate().unwrap();
        pgsvid.current(generation);
    }
    setup.cluster.set_conf(
        "ssl_max_protocol_version = 'TLSv1.2'\nssl_ciphers = 'ECDHE-ECDSA-AES256-SHA384'",
    );
    let mark = pgsvid.mark();
    setup.agent.rotate().unwrap();
    let (told, _) =
        pgsvid.wait_for_event_after(mark, LIMIT, |event| event["event"] == "handshake-refused");
    assert_eq!(told["code"], "verdict-unverifiable", "{told:#}");
    eventually(LIMIT, "it counts", || {
        pgsvid.events("rotated").iter().any(|event| event["verdict"] == "unverifiable")
    });
}
