//! A PostgreSQL that an attacker has planted: it sends any answer, and reports what it is asked.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use test_support::{Account, LIMIT};

/// Rows of texts, `None` for NULL.
pub(crate) type Rows = Vec<Vec<Option<String>>>;
type Answer = Arc<dyn Fn(&str) -> Rows + Send + Sync>;

#[derive(Clone, Copy)]
struct Manner {
    version: &'static str,
    /// How long each answer takes.
    delay: Duration,
}

/// The server. It lives as long as the test process.
pub(crate) struct Fake {
    heard: Receiver<String>,
}

impl Fake {
    /// Listens on the socket of that port in `directory` under that account, and lets everybody log in.
    pub(crate) fn start(
        account: &Account,
        directory: &Path,
        port: u16,
        answer: impl Fn(&str) -> Rows + Send + Sync + 'static,
    ) -> Self {
        Self::start_of_version(account, directory, port, "15.18", answer)
    }

    /// The same, and it says that it has that version.
    pub(crate) fn start_of_version(
        account: &Account,
        directory: &Path,
        port: u16,
        version: &'static str,
        answer: impl Fn(&str) -> Rows + Send + Sync + 'static,
    ) -> Self {
        let manner = Manner { version, delay: Duration::ZERO };
        Self::listen(account, directory, port, manner, answer)
    }

    /// The same, and each answer takes that long.
    pub(crate) fn start_slowly(
        account: &Account,
        directory: &Path,
        port: u16,
        delay: Duration,
        answer: impl Fn(&str) -> Rows + Send + Sync + 'static,
    ) -> Self {
        let manner = Manner { version: "15.18", delay };
        Self::listen(account, directory, port, manner, answer)
    }

    fn listen(
        account: &Account,
        directory: &Path,
        port: u16,
        manner: Manner,
        answer: impl Fn(&str) -> Rows + Send + Sync + 'static,
    ) -> Self {
        let socket = directory.join(format!(".s.PGSQL.{port}"));
        let (account, answer): (_, Answer) = (account.clone(), Arc::new(answer));
        let ((ready, is_ready), (says, heard)) = (channel(), channel());
        thread::spawn(move || {
            // The kernel keeps users for each thread; a new one has that of who starts it.
            if account != *Account::current() {
                let (uid, gid) = (Uid::from_raw(account.uid()), Gid::from_raw(account.gid()));
                set_thread_groups(&[]).unwrap();
                set_thread_res_gid(gid, gid, gid).unwrap();
                set_thread_res_uid(uid, uid, uid).unwrap();
            }
            let listener = UnixListener::bind(&socket).unwrap();
            ready.send(()).unwrap();
            for stream in listener.incoming() {
                let (answer, says) = (Arc::clone(&answer), says.clone());
                thread::spawn(move || serve(stream.unwrap(), port, manner, &answer, &says));
            }
        });
        is_ready.recv_timeout(LIMIT).unwrap();
        Self { heard }
    }

    /// What has come in since the last time: `startup`, with `event_triggers=off` if that was among the options, and statements.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.try_iter().collect()
    }
}

fn serve(
    mut stream: UnixStream,
    port: u16,
    manner: Manner,
    answer: &Answer,
    says: &Sender<String>,
) -> io::Result<()> {
    let startup = String::from_utf8_lossy(&message(&mut stream)?).into_owned();
    let token = startup.split("pgsvid.session=").nth(1).and_then(|rest| rest.split(' ').next());
    let triggers = if startup.contains("event_triggers=off") { ", event_triggers=off" } else { "" };
    let _ = says.send(format!("startup{triggers}"));
    let version = framed(b'S', format!("server_version\0{}\0", manner.version).as_bytes());
    stream
        .write_all(&[framed(b'R', &0_i32.to_be_bytes()), version, framed(b'Z', b"I")].concat())?;
    loop {
        let mut kind = [0];
        stream.read_exact(&mut kind)?;
        let body = message(&mut stream)?;
        if kind != *b"Q" {
            return Ok(());
        }
        let statement = String::from_utf8_lossy(&body).trim_end_matches('\0').to_owned();
        // How a session begins: with the options that it has asked for, as a superuser.
        let rows = if statement.contains("current_setting('search_path')") {
            let row = ["", "none", token.unwrap_or_default(), "on", &port.to_string()];
            vec![row.map(|value| Some(value.to_owned())).to_vec()]
        } else {
            answer(&statement)
        };
        let _ = says.send(statement);
        let mut reply = Vec::new();
        if let Some(first) = rows.first() {
            let mut description = count(first.len());
            for number in 0..first.len() {
                description.extend(format!("c{number}\0").bytes());
                // No table, no column; text; of any length; as text.
                description
                    .extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 25, 255, 255, 255, 255, 255, 255, 0, 0]);
            }
            reply.extend(framed(b'T', &description));
        }
        for row in &rows {
            let mut data = count(row.len());
            for value in row {
                match value {
                    None => data.extend((-1_i32).to_be_bytes()),
                    Some(text) => {
                        data.extend(i32::try_from(text.len()).unwrap().to_be_bytes());
                        data.extend(text.bytes());
                    }
                }
            }
            reply.extend(framed(b'D', &data));
        }
        reply.extend(framed(b'C', b"SELECT\0"));
        reply.extend(framed(b'Z', b"I"));
        thread::sleep(manner.delay);
        stream.write_all(&reply)?;
    }
}

/// The body that a length goes before, which counts itself.
fn message(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut body = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap() - 4];
    stream.read_exact(&mut body)?;
    Ok(body)
}

fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[kind], length.as_slice(), body].concat()
}

fn count(number: usize) -> Vec<u8> {
    u16::try_from(number).unwrap().to_be_bytes().to_vec()
}
