//! The service manager's socket (`sd_notify(3)`).

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Connects to the socket that `NOTIFY_SOCKET` names, if it names one. Sending to it never waits.
pub fn connect(address: Option<&OsString>) -> io::Result<Option<UnixDatagram>> {
    let Some(path) = address.filter(|path| !path.is_empty()) else { return Ok(None) };
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    // A manager that does not read must not block this process.
    socket.set_nonblocking(true)?;
    Ok(Some(socket))
}

/// Sends one notification while there is no daemon to do it, so that the manager knows that somebody is there.
pub(super) fn say(address: Option<&OsString>, sentence: &str) {
    if let Ok(Some(socket)) = connect(address) {
        // The next daemon reports if the socket does not work.
        let _ = socket.send(format!("WATCHDOG=1\nSTATUS={sentence}").as_bytes());
    }
}
