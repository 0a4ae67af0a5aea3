//! The daemon's end of the channel. The daemon finds it as its standard input.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd as _, IntoRawFd as _};
use std::os::unix::net::UnixStream;

use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::io::AsyncReadExt as _;

use super::channel::{Order, Predecessor, READY, VARIABLE};
use super::signals;

/// The way to the parent, and what it has told at the start.
#[derive(Debug)]
pub struct Channel {
    stream: UnixStream,
    predecessor: Option<Predecessor>,
}

impl Channel {
    /// The one that the parent has left: to be called before any other thread is started. From here on the kernel kills this
    /// process when its parent dies.
    pub fn inherited(variable: Option<&OsString>) -> io::Result<Self> {
        let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        if stream.peer_addr().is_err() {
            return Err(io::Error::other(format!(
                "{VARIABLE} is set, and standard input is not its parent's socket; unset {VARIABLE}"
            )));
        }
        stream.set_nonblocking(true)?;
        // Should the parent be dead by now, the end of the channel says so.
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent has started it by a path that ends with another name.
        let _ = rustix::thread::set_name(c"pgsvid");
        // The channel ends with the process, which may have last words to say, and not before: the parent would kill it.
        let _ = stream.try_clone()?.into_raw_fd();
        signals::release();
        let predecessor = variable.and_then(|text| Predecessor::of(text.to_str()?));
        Ok(Self { stream, predecessor })
    }

    /// From here on SIGTERM, SIGINT and SIGHUP are the parent's affair, whoever else they are sent to: a service manager sends
    /// them to every process of the service, and a terminal to every one in its foreground. To be called before any other
    /// thread is started.
    pub fn listen(&self) {
        signals::hold();
    }

    /// The daemon before this one, if there was one.
    #[must_use]
    pub fn predecessor(&self) -> Option<&Predecessor> {
        self.predecessor.as_ref()
    }

    /// Within the runtime that will read from it.
    pub fn open(self) -> io::Result<Orders> {
        tokio::net::UnixStream::from_std(self.stream).map(Orders)
    }
}

/// What the parent says.
#[derive(Debug)]
pub struct Orders(tokio::net::UnixStream);

impl Orders {
    /// Waits for the next one; an error if there is no parent any more.
    pub async fn next(&mut self) -> io::Result<Order> {
        Order::of(self.0.read_u8().await?)
    }

    /// Tells the parent that a valid set is published.
    pub fn tell_ready(&self) {
        // It is the first byte that goes this way: there is room.
        let _ = self.0.try_write(&[READY]);
    }
}
