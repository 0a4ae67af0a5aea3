//! P09, P10: the server on the probed port answers with something other than `S` or `N`.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde_json::Value;
use test_support::{LIMIT, Mark, Setup};

/// What no line of pgsvid's may contain.
const TEXT: &str = "grant-all-to-mallory";

#[test]
fn p09_an_error_instead_of_an_answer() {
    let reason = "the server answered with an error instead of S or N";
    refuses_to_believe(format!("ESFATAL\0M{TEXT}\0\0").as_bytes(), "", reason);
}

#[test]
fn p09_garbage_instead_of_an_answer() {
    let answer = format!("HTTP/1.1 400 {TEXT}\r\n\r\n");
    refuses_to_believe(answer.as_bytes(), "", "the server there is not PostgreSQL");
}

#[test]
fn p09_an_end_instead_of_an_answer() {
    refuses_to_believe(b"", "", "the server ended the connection");
}

#[test]
fn p10_bytes_between_the_answer_and_tls() {
    let answer = format!("S{TEXT}");
    refuses_to_believe(answer.as_bytes(), "", "bytes were injected before the TLS handshake");
}

/// They come after our first TLS bytes: TLS itself has to notice.
#[test]
fn p10_garbage_instead_of_tls() {
    refuses_to_believe(b"S", TEXT, "received corrupt message");
}

/// Lets pgsvid probe a server that says `answer`, and `more` once it was sent something again, and ends.
#[track_caller]
fn refuses_to_believe(answer: &[u8], more: &str, reason: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (answer, more) = (answer.to_owned(), more.to_owned());
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            // A client that goes away early is the test's subject.
            let _ = serve(client, &answer, more.as_bytes());
        }
    });

    let setup = Setup::new(env!("CARGO_BIN_EXE_pgsvid"));
    setup.configure("[log]\nlevel = 'trace'");
    let pgsvid = setup.spawn_with(&["--verify", &address]);
    setup.wait_published();
    setup.cluster.start();
    // Before the server is there nothing is alarming: quieter lines than this one say so.
    let unproven = |event: &Value| event["verdict"] == "unreachable" && event["level"] == "WARN";
    let (event, mark) = pgsvid.wait_for_event_after(Mark::default(), LIMIT, unproven);
    let message = format!("published; cannot see what PostgreSQL at {address} serves");
    assert_eq!(event["message"], message);
    let cause = event["cause"].as_str().unwrap();
    assert!(cause.contains(reason), "{event}");
    // The next identity does not wait for the proof.
    setup.agent.rotate().unwrap();
    let again = |event: &Value| event["generation"] == 2 && event["verdict"] == "unreachable";
    pgsvid.wait_for_event_after(mark, LIMIT, again);
    let lines = pgsvid.lines();
    let spoken = lines.iter().find(|line| line.contains(&TEXT[..8]));
    assert_eq!(spoken, None, "the server's text was logged");
    assert!(pgsvid.is_running());
}

fn serve(mut client: TcpStream, answer: &[u8], more: &[u8]) -> std::io::Result<()> {
    let mut request = [0; 8];
    client.read_exact(&mut request)?;
    client.write_all(answer)?;
    if !more.is_empty() {
        client.read_exact(&mut request)?;
        client.write_all(more)?;
    }
    Ok(())
}
