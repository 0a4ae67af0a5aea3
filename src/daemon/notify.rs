//! What systemd is told (`sd_notify(3)`): a datagram for each change of state, over a socket that is opened before the
//! sandbox would forbid it. Without `NOTIFY_SOCKET` nobody is told anything.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use crate::config::Environment;
use crate::status::Status;
use crate::timing;

/// The service manager, if there is one that wants to know.
#[derive(Debug)]
pub struct Notify {
    socket: UnixDatagram,
    /// How often it wants to hear that we are alive.
    watchdog: Option<Duration>,
}

impl Notify {
    /// Opens the socket that the environment names.
    pub fn open(environment: &Environment) -> io::Result<Option<Self>> {
        let Some(path) = environment.get("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else {
            return Ok(None);
        };
        let address = match path.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(path)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        // A manager that does not read must not keep us.
        socket.set_nonblocking(true)?;
        Ok(Some(Self { socket, watchdog: watchdog(environment) }))
    }

    fn say(&self, text: &str) {
        if let Err(error) = self.socket.send(text.as_bytes()) {
            warn!(%error, "cannot tell the service manager");
        }
    }

    /// Tells for as long as it is polled.
    pub(super) async fn run(&self, mut status: watch::Receiver<Status>) {
        let mut ready = false;
        let mut said = String::new();
        let mut ticks = self.watchdog.map(|every| {
            let mut ticks = interval(every / 2);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        loop {
            let (started, sentence) = {
                let status = status.borrow_and_update();
                (status.has_started(timing::now()), sentence(&status))
            };
            let mut lines = Vec::new();
            if started && !ready {
                ready = true;
                lines.push("READY=1".to_owned());
            }
            if sentence != said {
                lines.push(format!("STATUS={sentence}"));
                said = sentence;
            }
            if !lines.is_empty() {
                self.say(&lines.join("\n"));
            }
            let tick = async {
                match &mut ticks {
                    Some(ticks) => {
                        ticks.tick().await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = tick => if status.borrow().pulse.stuck_at().is_none() {
                    self.say("WATCHDOG=1");
                },
                changed = status.changed() => if changed.is_err() {
                    // The loop has ended, and whoever owns it says why.
                    return std::future::pending().await;
                },
            }
        }
    }

    /// That the end has begun.
    pub(super) fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=ending");
    }
}

impl AsRawFd for Notify {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// `sd_watchdog_enabled(3)`: in microseconds, and meant for us unless another process is named.
fn watchdog(environment: &Environment) -> Option<Duration> {
    let number = |name: &str| environment.get(name)?.to_str()?.parse::<u64>().ok();
    if number("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(std::process::id())) {
        return None;
    }
    number("WATCHDOG_USEC").filter(|micros| *micros > 1).map(Duration::from_micros)
}

/// One line, as `systemctl status` shows it.
fn sentence(status: &Status) -> String {
    let set = status.published.as_ref().map_or_else(
        || format!("waiting for an identity: {}", status.agent),
        |set| format!("{}, valid until {}", set.spiffe_id, timing::utc(set.not_after)),
    );
    let verdict = status.verdict.map(|verdict| format!("{verdict}; ")).unwrap_or_default();
    let problem = status.problem.as_ref().map(|problem| format!("; {problem}")).unwrap_or_default();
    // A line break would end the field.
    crate::text::harmless(&format!("{verdict}{set}{problem}")).into_owned()
}
