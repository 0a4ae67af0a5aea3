//! The alarm: says in time that the published identity runs out and no new one has come.

use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::sleep;
use tracing::error;

use crate::status::{Published, Status};
use crate::timing;

/// Parts of the lifetime that are left when the alarm is raised. Renewals come at a half.
const LEFT: [f64; 2] = [0.25, 0.1];
/// The wall clock may jump, and a machine may sleep: look at it again at least so often while armed.
const LOOK_AGAIN: Duration = Duration::from_secs(600);

/// Watches the published set's remaining life, for as long as the status is kept.
pub(super) async fn run(mut status: watch::Receiver<Status>) -> anyhow::Result<()> {
    let mut watched: Option<Published> = None;
    let mut raised = 0;
    loop {
        let now = timing::now();
        let current = status.borrow_and_update().clone();
        if current.published != watched {
            watched.clone_from(&current.published);
            raised = 0;
        }
        let mut pause = None;
        if let Some(published) = &watched {
            let due = due(published, now);
            if due > raised {
                raised = due;
                raise(published, &current, now);
            }
            pause = until_next(published, raised, now);
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
                // The loop has ended, and whoever owns it says why.
                return std::future::pending().await;
            },
        }
    }
}

/// The moments at which the alarm is due: parts of the life, and its end.
fn moments(published: &Published) -> [SystemTime; 3] {
    let life = published.not_after.duration_since(published.not_before).unwrap_or_default();
    let before = |part: f64| {
        published.not_after.checked_sub(life.mul_f64(part)).unwrap_or(published.not_after)
    };
    [before(LEFT[0]), before(LEFT[1]), published.not_after]
}

/// How many of the moments have passed.
fn due(published: &Published, now: SystemTime) -> usize {
    moments(published).iter().filter(|moment| **moment <= now).count()
}

fn until_next(published: &Published, raised: usize, now: SystemTime) -> Option<Duration> {
    let next = moments(published).get(raised).copied()?;
    Some(next.duration_since(now).unwrap_or_default().max(Duration::from_millis(10)))
}

fn raise(published: &Published, status: &Status, now: SystemTime) {
    let end = timing::utc(published.not_after);
    let cause = match (&status.problem, status.withdrawn) {
        (Some(problem), _) => problem.clone(),
        (None, true) => "the agent has withdrawn the identity".to_owned(),
        (None, false) => format!("no newer identity has come from the agent ({})", status.agent),
    };
    let fix = "see that the agent runs, is healthy, and has an entry for this workload";
    let sentence = if let Ok(left) = published.not_after.duration_since(now) {
        format!(
            "the published identity expires in {}, and there is no new one",
            timing::roughly(left)
        )
    } else {
        "the published identity has expired: clients will refuse it".to_owned()
    };
    error!(serial = published.serial, not_after = end, cause, fix, "{sentence}");
}
