//! The daemon's end of the channel, which is its standard input.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, IntoRawFd as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};

use super::channel::{
    APPLICATION, HOOK, HookNumbers, ParentMessage, Predecessor, READY, TABLE, VARIABLE,
};
use super::settings::Settings;
use super::signals;
use crate::hooks::{MOST, Request, SetSum, Table};
use crate::sandbox::Descriptors;

/// How long the parent may take to send the numbers of hooks. It has no other work at that time.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// Most bytes to read from the parent at a time.
const AT_A_TIME: usize = 4096;

/// The connection to the parent, and what the parent passed at the start.
#[derive(Debug)]
pub struct Channel {
    stream: UnixStream,
    predecessor: Option<Predecessor>,
}

impl Channel {
    /// Takes over the channel that this process inherited from its parent, and closes what else it inherited: with `exec` that
    /// is the application's, such as sockets that systemd has opened. Call it before any other thread is started, and before
    /// anything is opened. From here on the kernel kills this process when its parent dies.
    pub fn inherited(variable: Option<&OsString>) -> io::Result<Self> {
        Descriptors::inherited().close();
        let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        if stream.peer_addr().is_err() {
            return Err(io::Error::other(format!(
                "{VARIABLE} is set, but standard input is not its parent's socket; unset {VARIABLE}"
            )));
        }
        stream.set_nonblocking(true)?;
        // If the parent is dead by now, the channel has ended.
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent started it as /proc/self/exe, so the kernel calls it `exe`.
        let _ = rustix::thread::set_name(c"pgsvid");
        // Keeps the channel open until the process ends: if the channel ended earlier, the parent would kill the process, which may
        // still write a final message.
        let _ = stream.try_clone()?.into_raw_fd();
        signals::release();
        let predecessor = variable.and_then(|text| Predecessor::of(text.to_str()?));
        Ok(Self { stream, predecessor })
    }

    /// From here on the parent handles SIGTERM, SIGINT and SIGHUP: a service manager sends them to every process of the
    /// service, and a terminal to every process in the foreground. Call it before any other thread is started.
    pub fn ignore_signals(&self) {
        signals::hold();
    }

    /// The daemon before this one, if there was one.
    #[must_use]
    pub fn predecessor(&self) -> Option<&Predecessor> {
        self.predecessor.as_ref()
    }

    /// Sends the parent the table of hooks, and returns the number of each; `None` for one that is not in the table of the first
    /// daemon.
    ///
    /// Call it before reading any data of others except the configuration: only these hooks can run from then on.
    pub fn agree(&self, table: &Table) -> io::Result<Vec<Option<u8>>> {
        let mut stream = &self.stream;
        stream.set_nonblocking(false)?;
        stream.write_all(&[&[TABLE], &table.bytes()[..]].concat())?;
        let mut answer = [0; 1 + MOST];
        if !table.0.is_empty() {
            stream.set_read_timeout(Some(ANSWER_LIMIT))?;
            // An order that arrives before the answer is ignored; its sender has to repeat the signal.
            while answer[0] != TABLE {
                stream.read_exact(&mut answer[..1])?;
            }
            stream.read_exact(&mut answer[1..])?;
            stream.set_read_timeout(None)?;
        }
        stream.set_nonblocking(true)?;
        let [_, numbers @ ..] = answer;
        let numbers: HookNumbers = numbers;
        let known = |number: &u8| (*number != u8::MAX).then_some(*number);
        Ok(numbers.iter().take(table.0.len()).map(known).collect())
    }

    /// Sends the parent the settings of the application, after the table of hooks. Returns whether they are those of the first
    /// daemon; if not, they have no effect.
    pub fn agree_on_application(&self, settings: &Settings) -> io::Result<bool> {
        let mut stream = &self.stream;
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.write_all(&[&[APPLICATION], &settings.bytes()[..]].concat())?;
        let mut answer = [0; 1];
        // An order that arrives before the answer is ignored, as above.
        while answer != [APPLICATION] {
            stream.read_exact(&mut answer)?;
        }
        stream.read_exact(&mut answer)?;
        stream.set_read_timeout(None)?;
        stream.set_nonblocking(true)?;
        Ok(answer == [1])
    }

    /// The connection on which the daemon requests hooks.
    pub fn asker(&self) -> io::Result<Asker> {
        self.stream.try_clone().map(Asker)
    }

    /// Turns the channel into a stream of the parent's orders. Call it within the tokio runtime that reads from it. Fails if
    /// the runtime cannot register the socket.
    pub fn open(self) -> io::Result<Orders> {
        let stream = tokio::net::UnixStream::from_std(self.stream)?;
        Ok(Orders { stream, received: Vec::new() })
    }
}

/// Asks the parent for hooks.
#[derive(Debug)]
pub struct Asker(UnixStream);

impl Asker {
    /// Requests a run. Returns false if the channel to the parent is full.
    #[must_use]
    pub fn ask(&self, request: &Request) -> bool {
        let bytes = [&[HOOK], &request.bytes()[..]].concat();
        // All bytes are written or none, because they fit into one buffer of the kernel.
        (&self.0).write(&bytes).is_ok_and(|written| written == bytes.len())
    }
}

/// The parent's orders.
#[derive(Debug)]
pub struct Orders {
    stream: tokio::net::UnixStream,
    /// Bytes that have arrived and are not handled yet.
    received: Vec<u8>,
}

impl Orders {
    /// Waits for the next message. Fails if the parent is gone. Safe to cancel.
    pub async fn next(&mut self) -> io::Result<ParentMessage> {
        loop {
            if let Some(received) = ParentMessage::take(&mut self.received)? {
                return Ok(received);
            }
            self.stream.readable().await?;
            let mut part = [0; AT_A_TIME];
            match self.stream.try_read(&mut part) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => {
                    self.received.extend_from_slice(part.get(..length).unwrap_or_default());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Tells the parent that a valid set is published.
    pub fn tell_ready(&self, set: &SetSum) {
        // There are few messages in this direction, so there is room.
        let _ = self.stream.try_write(&[&[READY], &set[..]].concat());
    }
}
