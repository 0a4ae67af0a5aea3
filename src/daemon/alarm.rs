//! The alarm: warns in time that the published identity expires and no new one has come.

use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::error;

use crate::source::{Line, Lines};
use crate::status::{Published, Status};
use crate::timing;

/// Shares of the lifetime left when the alarm is raised, at most. An agent renews at a half.
const LEFT: [f64; 2] = [0.25, 0.1];
/// The same if a renewal is due later than at half of the lifetime: as shares of the time from the renewal to the expiry.
const LEFT_OF_RENEWAL: [f64; 2] = [0.5, 0.2];
/// The wall clock may jump, and a machine may sleep: check at least this often while armed.
const LOOK_AGAIN: Duration = Duration::from_secs(600);
/// How long the set of an earlier run raises no alarm: the agent gets the time for its first answer.
const FIRST_ANSWER: Duration = Duration::from_secs(10);
/// Most alarms at once, and the time after which there may be another: an agent may send leaves that expire within a moment,
/// one after the other. An alarm that has to wait is raised later, if it is still due then.
const MOST: (u32, Duration) = (40, Duration::from_secs(5));

/// Watches the published set's remaining lifetime, as long as the status exists.
pub(super) async fn run(mut status: watch::Receiver<Status>) -> anyhow::Result<()> {
    let mut watched: Option<Published> = None;
    let mut raised = 0;
    let mut lines = Lines::new(MOST);
    let (begun, start) = (Instant::now(), timing::now());
    loop {
        let now = timing::now();
        let current = status.borrow_and_update().clone();
        // The same identity may be published again, because somebody has changed its files.
        let leaf = |published: &Option<Published>| published.as_ref().map(|set| set.leaf);
        if leaf(&current.published) != leaf(&watched) {
            raised = 0;
        }
        watched.clone_from(&current.published);
        let mut pause = None;
        if let Some(published) = &watched {
            let part = current.origin.renewal_part();
            let due = due(published, part, now);
            let left = FIRST_ANSWER.saturating_sub(begun.elapsed());
            // Of an earlier run: after a change of the configuration it is published again, as the first.
            let is_earlier = published.generation <= 1 && moments(published, part)[0] <= start;
            if due > raised && is_earlier && !left.is_zero() {
                pause = Some(left);
            } else if due > raised && lines.take() != Line::Written {
                pause = Some(MOST.1);
            } else {
                if due > raised {
                    raised = due;
                    raise(published, &current, now);
                }
                pause = until_next(published, part, raised, now);
            }
        }
        let timer = async {
            match pause {
                Some(pause) => sleep(pause.min(LOOK_AGAIN)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = timer => {}
            changed = status.changed() => if changed.is_err() {
                // The loop has ended; the owner of the tasks reports why.
                return std::future::pending().await;
            },
        }
    }
}

/// Raises the alarm about the set of an earlier run before the process fails. A process that fails within [`FIRST_ANSWER`],
/// again and again, would never raise it.
pub(super) fn at_the_end(status: &Status) {
    let now = timing::now();
    if let Some(published) = &status.published
        && published.generation == 0
        && due(published, status.origin.renewal_part(), now) > 0
    {
        raise(published, status, now);
    }
}

/// When the alarm is due: after shares of the lifetime, and at its end.
fn moments(published: &Published, renewal_part: f64) -> [SystemTime; 3] {
    let life = published.not_after.duration_since(published.not_before).unwrap_or_default();
    let before = |part: f64| {
        published.not_after.checked_sub(life.mul_f64(part)).unwrap_or(published.not_after)
    };
    let left = |at: usize| LEFT[at].min((1.0 - renewal_part) * LEFT_OF_RENEWAL[at]);
    [before(left(0)), before(left(1)), published.not_after]
}

/// How many of these times have passed.
fn due(published: &Published, renewal_part: f64, now: SystemTime) -> usize {
    moments(published, renewal_part).iter().filter(|moment| **moment <= now).count()
}

fn until_next(
    published: &Published,
    renewal_part: f64,
    raised: usize,
    now: SystemTime,
) -> Option<Duration> {
    let next = moments(published, renewal_part).get(raised).copied()?;
    Some(next.duration_since(now).unwrap_or_default().max(Duration::from_millis(10)))
}

fn raise(published: &Published, status: &Status, now: SystemTime) {
    let end = timing::utc(published.not_after);
    // A consumer's state is reported separately.
    let why = status.why_not_renewed();
    let (cause, fix, command) = (why.why(), why.advice(), why.command.as_deref());
    let sentence = if let Ok(left) = published.not_after.duration_since(now) {
        format!(
            "the published identity expires in {}, and there is no new one",
            timing::roughly(left)
        )
    } else {
        "the published identity has expired: it is refused from now on".to_owned()
    };
    // As short as in all other lines.
    let serial = published.serial.get(..8).unwrap_or(&published.serial);
    error!(
        event = "certificate-expires",
        serial,
        not_after = end,
        cause,
        fix,
        command,
        "{sentence}"
    );
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::material::Fingerprint;

    const HOUR: Duration = Duration::from_secs(3600);

    fn published(generation: u64, not_before: SystemTime, life: Duration) -> Published {
        Published {
            generation,
            spiffe_id: "spiffe://example.org/db".to_owned(),
            dns_names: vec!["db.example".to_owned()],
            serial: format!("0{generation}:02:03"),
            leaf: Fingerprint::of(&generation.to_be_bytes()),
            set: Fingerprint::of(&generation.to_be_bytes()),
            not_before,
            not_after: not_before + life,
            authorities_not_after: None,
        }
    }

    #[test]
    fn is_due_at_a_quarter_a_tenth_and_the_end_of_the_life() {
        let start = SystemTime::UNIX_EPOCH + 1000 * HOUR;
        let set = published(1, start, 20 * HOUR);
        for (hour, due_by_then, next) in [
            (0, 0, Some(15)),
            (14, 0, Some(1)),
            (15, 1, Some(3)),
            (17, 1, Some(1)),
            (18, 2, Some(2)),
            (20, 3, None),
            (500, 3, None),
        ] {
            let now = start + hour * HOUR;
            assert_eq!(due(&set, 0.5, now), due_by_then, "{hour}");
            let wait = until_next(&set, 0.5, due_by_then, now);
            assert_eq!(wait, next.map(|hours| hours * HOUR), "{hour}");
        }
        // Before the start (a clock that jumped) nothing is due, and the wait is no tight loop at the end of one.
        assert_eq!(due(&set, 0.5, start - HOUR), 0);
        assert!(until_next(&set, 0.5, 0, start + 15 * HOUR).is_some_and(|wait| !wait.is_zero()));
    }

    #[test]
    fn a_life_of_nothing_is_due_at_once_and_no_panic() {
        let now = SystemTime::UNIX_EPOCH + HOUR;
        let mut set = published(1, now, Duration::ZERO);
        assert_eq!((due(&set, 0.5, now), until_next(&set, 0.5, 3, now)), (3, None));
        // It ends before it begins.
        set.not_before = now + HOUR;
        assert_eq!(due(&set, 0.5, now), 3);
    }

    #[tokio::test]
    async fn c05_the_expiry_alarm_is_logged_once_at_each_threshold_and_again_for_the_next_set() {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let (status, receiver) = watch::channel(Status::default());
        let task = tokio::spawn(run(receiver));

        let life = Duration::from_secs(1);
        for generation in 1..=2 {
            let set = published(generation, timing::now(), life);
            status.send_modify(|status| {
                status.published = Some(set);
                status.withdrawn = generation == 2;
            });
            let serial = format!("serial=\"0{generation}:02:03\"");
            log.wait_for(&status, &serial, 3).await;
        }
        let lines = log.lines();
        assert_eq!(lines.len(), 6, "{lines:#?}");
        for (line, wanted) in
            lines.iter().zip(["expires in", "expires in", "has expired"].iter().cycle())
        {
            assert!(line.contains("ERROR") && line.contains(wanted), "{line}");
        }
        assert!(lines[0].contains("no newer identity has come from the agent"), "{}", lines[0]);
        assert!(lines[3].contains("the agent has withdrawn the identity"), "{}", lines[3]);
        assert!(!task.is_finished());
        // A problem of pgsvid's own is the better cause.
        status.send_modify(|status| {
            status.published = Some(published(3, timing::now() - 2 * life, life));
            status.problem = Some("no space left".to_owned());
        });
        log.wait_for(&status, "serial=\"03:02:03\"", 1).await;
        let last = log.lines().pop().unwrap();
        assert!(last.contains("has expired") && last.contains("no space left"), "{last}");
    }

    #[tokio::test(start_paused = true)]
    async fn a65_alarms_about_leaves_that_expire_within_a_moment_are_few() {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let (status, receiver) = watch::channel(Status::default());
        let _task = tokio::spawn(run(receiver));
        let send = |generation| {
            let set = published(generation, timing::now() - 2 * HOUR, HOUR);
            status.send_modify(|status| status.published = Some(set));
        };
        for generation in 1..=400 {
            send(generation);
            sleep(Duration::from_millis(50)).await;
        }
        let most = usize::try_from(MOST.0).unwrap();
        assert!((most..most + 6).contains(&log.lines().len()), "{:#?}", log.lines());
        // The last one is not lost.
        sleep(MOST.1).await;
        let last = log.lines().pop().unwrap();
        assert!(last.contains(&published(400, timing::now(), HOUR).serial[..8]), "{last}");
    }

    #[test]
    fn c05_what_waits_for_the_agents_first_answer_is_raised_before_the_process_ends() {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let mut status = Status::default();
        at_the_end(&status);
        let now = timing::now();
        // It was raised already, if it was due; the set of an earlier run has most of its lifetime left.
        for set in [published(1, now - 9 * HOUR, 10 * HOUR), published(0, now - HOUR, 10 * HOUR)] {
            status.published = Some(set);
            at_the_end(&status);
        }
        assert!(log.lines().is_empty(), "{:#?}", log.lines());
        status.published = Some(published(0, now - 9 * HOUR, 10 * HOUR));
        at_the_end(&status);
        assert!(log.lines()[0].contains("the published identity expires in"), "{:#?}", log.lines());
        assert_eq!(log.lines().len(), 1);
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Log {
        fn lines(&self) -> Vec<String> {
            String::from_utf8_lossy(&self.0.lock().unwrap()).lines().map(str::to_owned).collect()
        }

        /// Waits for this many lines with the text, while the status changes now and then, as it does.
        async fn wait_for(&self, status: &watch::Sender<Status>, text: &str, count: usize) {
            let waited = async {
                while self.lines().iter().filter(|line| line.contains(text)).count() < count {
                    sleep(Duration::from_millis(20)).await;
                    status.send_modify(|status| status.agent = "connected".to_owned());
                }
            };
            tokio::time::timeout(Duration::from_secs(30), waited)
                .await
                .expect("the alarm is raised");
        }
    }

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Log {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }
}
