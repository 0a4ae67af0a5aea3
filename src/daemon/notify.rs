//! Notifies systemd (`sd_notify(3)`) of changes of the state, at most once a second, over a socket that is opened before the
//! sandbox forbids it. Without `NOTIFY_SOCKET` there are no notifications.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::{info, warn};

use crate::config::Environment;
use crate::parent;
use crate::status::Status;
use crate::timing;

/// Shortest time between two notifications, and between two attempts.
const PAUSE: Duration = Duration::from_secs(1);

/// The service manager, if it wants notifications.
#[derive(Debug)]
pub struct Notify {
    socket: UnixDatagram,
    /// How often it expects a watchdog notification.
    watchdog: Option<Duration>,
}

impl Notify {
    /// Opens the socket that the environment names.
    pub fn open(environment: &Environment) -> io::Result<Option<Self>> {
        let socket = parent::connect(environment.get("NOTIFY_SOCKET"))?;
        Ok(socket.map(|socket| Self { socket, watchdog: watchdog(environment) }))
    }

    /// Sends notifications for as long as it is polled.
    pub(super) async fn run(&self, mut status: watch::Receiver<Status>) {
        let mut sent = Sent::new();
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
            let wait = sent.send(started, sentence, |text| self.send(text));
            let again = async {
                match wait {
                    Some(moment) => sleep_until(moment).await,
                    None => std::future::pending().await,
                }
            };
            let tick = async {
                match &mut ticks {
                    Some(ticks) => {
                        ticks.tick().await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = again => {}
                () = tick => if status.borrow().pulse.stuck_at().is_none() {
                    let is_sent = sent.note(self.send("WATCHDOG=1"));
                    if let (false, Some(ticks)) = (is_sent, &mut ticks) {
                        // The next one would come when the manager's time limit ends.
                        ticks.reset_after(PAUSE.min(ticks.period()));
                    }
                },
                changed = status.changed() => if changed.is_err() {
                    // The loop has ended; the owner of the tasks reports why.
                    return std::future::pending().await;
                },
            }
        }
    }

    fn send(&self, text: &str) -> io::Result<()> {
        self.socket.send(text.as_bytes()).map(|_| ())
    }

    /// Notifies that the end has begun.
    pub(super) fn stopping(&self) {
        if let Err(error) = self.send("STOPPING=1\nSTATUS=ending") {
            warn!(event = "notify-failed", %error, "cannot tell the service manager");
        }
    }
}

/// What was sent without an error. Sending may fail, because other processes can fill the manager's socket.
struct Sent {
    ready: bool,
    sentence: String,
    /// Whether the last attempt has failed.
    failing: bool,
    /// The next attempt is not made before this time, except for the first notification of readiness.
    next: Instant,
}

impl Sent {
    fn new() -> Self {
        Self { ready: false, sentence: String::new(), failing: false, next: Instant::now() }
    }

    /// Sends the state if it has changed, or returns when it may be sent. An agent may change the text thousands of times in a
    /// second.
    fn send(
        &mut self,
        started: bool,
        sentence: String,
        write: impl FnOnce(&str) -> io::Result<()>,
    ) -> Option<Instant> {
        let ready = started && !self.ready;
        if !ready && sentence == self.sentence {
            return None;
        }
        let now = Instant::now();
        if now < self.next && (self.failing || !ready) {
            return Some(self.next);
        }
        self.next = now + PAUSE;
        let first = if ready { "READY=1\n" } else { "" };
        if !self.note(write(&format!("{first}STATUS={sentence}"))) {
            return Some(self.next);
        }
        self.ready |= ready;
        self.sentence = sentence;
        None
    }

    /// Logs a failure once; returns whether there was none.
    fn note(&mut self, outcome: io::Result<()>) -> bool {
        let failed = outcome.is_err();
        match outcome {
            Err(error) if !self.failing => {
                warn!(event = "notify-failed", %error, "cannot tell the service manager; trying again each second");
            }
            Ok(()) if self.failing => {
                info!(event = "notify-restored", "the service manager gets notifications again");
            }
            _ => {}
        }
        self.failing = failed;
        !failed
    }
}

impl AsRawFd for Notify {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// The watchdog's interval, if it is for this process (`sd_watchdog_enabled(3)`).
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
    let several = status.consumers.len() > 1;
    let verdicts = status.consumers.iter().filter_map(|consumer| {
        let verdict = consumer.verdict_at(timing::now())?;
        Some(if several {
            format!("{} {verdict}; ", consumer.name)
        } else {
            format!("{verdict}; ")
        })
    });
    let verdict: String = verdicts.collect();
    let consumers = status.consumers.iter().filter_map(|consumer| consumer.problem.as_ref());
    let problems = status.problem.iter().chain(consumers);
    let problem: String = problems.flat_map(|problem| ["; ", problem]).collect();
    // A line break would end the field.
    crate::text::harmless(&format!("{verdict}{set}{problem}")).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> io::Result<()> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    #[tokio::test(start_paused = true)]
    async fn a57_readiness_is_sent_until_the_service_manager_has_received_it() {
        let mut sent = Sent::new();
        let mut attempts = 0;
        for _ in 0..100 {
            let wait = sent.send(true, "served".to_owned(), |_| {
                attempts += 1;
                full()
            });
            assert!(wait.is_some());
            tokio::time::advance(PAUSE / 10).await;
        }
        assert!((10..=11).contains(&attempts), "{attempts}");
        tokio::time::advance(PAUSE).await;
        let mut heard = String::new();
        let mut hear = |text: &str| {
            heard.push_str(text);
            Ok(())
        };
        assert_eq!(sent.send(true, "served".to_owned(), &mut hear), None);
        assert_eq!(sent.send(true, "served".to_owned(), &mut hear), None);
        assert_eq!(heard, "READY=1\nSTATUS=served", "once");
    }

    #[tokio::test(start_paused = true)]
    async fn a58_the_service_manager_gets_the_newest_status_once_a_second() {
        let mut sent = Sent::new();
        let mut heard = Vec::new();
        for number in 0..10_000 {
            sent.send(false, number.to_string(), |text| {
                heard.push(text.to_owned());
                Ok(())
            });
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(heard.len(), 10, "{heard:?}");
        assert_eq!(sent.send(false, "a last one".to_owned(), |_| Ok(())), None);
        let wait = sent.send(false, "last".to_owned(), |_| unreachable!()).unwrap();
        assert!(wait <= Instant::now() + PAUSE);
        // Readiness is sent without delay.
        sent.send(true, "last".to_owned(), |text| {
            heard.push(text.to_owned());
            Ok(())
        });
        assert_eq!(heard.last().unwrap(), "READY=1\nSTATUS=last");
    }
}
