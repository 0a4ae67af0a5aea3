//! What an agent may cost: processor time, whatever it sends.
//!
//! The work for one message does not only depend on its size (a small certificate means a signature to verify), and what an
//! agent sends need not be messages at all. So this counts the time spent, and not messages. When an agent has used up its
//! time, nothing is read from its connection for a while; the kernel's buffers fill, and the agent has to wait. What it has
//! sent by then is read together: the newest message wins.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::timing;

/// Share of a processor that an agent may use in the long run.
const SHARE: f64 = 0.1;
/// Processor time that may be used at once, in seconds. A usual message takes a millisecond.
const AT_ONCE: f64 = 0.5;
/// The most that an agent can owe, in seconds. One message may take a second or two, and all of that must be paid for, or the
/// share of a tenth would not hold.
const MOST_OWED: f64 = 6.0;
/// What must be left for the next read, in seconds. If nothing is left, the pause is ten times as long, because a tenth of
/// the time comes back ([`SHARE`]).
const LEAST: f64 = 0.005;

/// What one agent has left, over all its connections.
#[derive(Clone)]
pub(super) struct Allowance(Arc<Mutex<RemainingTime>>);

struct RemainingTime {
    seconds: f64,
    at: Instant,
    /// The clock of the time spent.
    clock: fn() -> Duration,
}

impl Allowance {
    pub(super) fn new() -> Self {
        Self::by(timing::spent)
    }

    fn by(clock: fn() -> Duration) -> Self {
        Self(Arc::new(Mutex::new(RemainingTime { seconds: AT_ONCE, at: Instant::now(), clock })))
    }

    /// A future whose time is counted.
    pub(super) fn counted<F: Future + Unpin>(&self, future: F) -> Counted<F> {
        Counted { future, allowance: self.clone(), waits: false, pause: None }
    }

    /// A future whose time is counted, and that only continues if there is time left.
    pub(super) fn limited<F: Future + Unpin>(&self, future: F) -> Counted<F> {
        Counted { waits: true, ..self.counted(future) }
    }

    /// Waits until there is enough time: call it before dialling, because a connection is given up if nothing is read from
    /// it.
    pub(super) async fn enough(&self) {
        while let Some(moment) = self.wait() {
            sleep_until(moment).await;
        }
    }

    /// When there is enough again; `None` if there is enough now.
    fn wait(&self) -> Option<Instant> {
        let mut left = self.lock();
        let now = Instant::now();
        let since = now.duration_since(left.at).as_secs_f64();
        left.at = now;
        left.seconds = (left.seconds + since * SHARE).min(AT_ONCE);
        let missing = LEAST - left.seconds;
        // A little more, because timers round.
        (missing > 0.0).then(|| now + Duration::from_secs_f64(missing / SHARE + 0.001))
    }

    fn spend<T>(&self, work: impl FnOnce() -> T) -> T {
        let clock = self.lock().clock;
        let before = clock();
        let done = work();
        let spent = clock().saturating_sub(before).as_secs_f64();
        let mut left = self.lock();
        left.seconds = (left.seconds - spent).max(-MOST_OWED);
        done
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, RemainingTime> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the tasks of a connection for tonic, above all the one that reads from it.
#[derive(Clone)]
pub(super) struct Tasks {
    allowance: Allowance,
    ended: CancellationToken,
}

impl Tasks {
    /// All of them end when the guard is dropped: a task that waits for an agent to read would otherwise live for minutes,
    /// with the connection and what was read from it.
    pub(super) fn of(allowance: &Allowance) -> (Self, DropGuard) {
        let ended = CancellationToken::new();
        (Self { allowance: allowance.clone(), ended: ended.clone() }, ended.drop_guard())
    }
}

impl hyper::rt::Executor<Pin<Box<dyn Future<Output = ()> + Send>>> for Tasks {
    fn execute(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        let future = self.allowance.limited(future);
        drop(tokio::spawn(self.ended.clone().run_until_cancelled_owned(future)));
    }
}

/// A future whose time is counted.
pub(super) struct Counted<F> {
    future: F,
    allowance: Allowance,
    /// Whether it waits when no time is left.
    waits: bool,
    pause: Option<Pin<Box<Sleep>>>,
}

impl<F: Future + Unpin> Future for Counted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        while this.waits {
            if let Some(pause) = &mut this.pause
                && pause.as_mut().poll(context).is_pending()
            {
                return Poll::Pending;
            }
            this.pause = this.allowance.wait().map(|moment| Box::pin(sleep_until(moment)));
            if this.pause.is_none() {
                break;
            }
        }
        let future = Pin::new(&mut this.future);
        this.allowance.spend(|| future.poll(context))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static SPENT: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    /// Endless work that takes `each` at a time.
    fn work(each: Duration, times: &Cell<u32>) -> impl Future<Output = ()> + Unpin {
        std::future::poll_fn(move |context| {
            SPENT.set(SPENT.get() + each);
            times.set(times.get() + 1);
            context.waker().wake_by_ref();
            Poll::Pending
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a15_work_without_an_end_gets_its_share_and_no_more() {
        for (each, most) in [(1, 10_510), (50, 212), (2000, 6)] {
            let (each, times) = (Duration::from_millis(each), Cell::new(0));
            let allowance = Allowance::by(|| SPENT.get());
            let flood = allowance.limited(work(each, &times));
            // Half a second at once, and a tenth of a hundred seconds.
            let _ = tokio::time::timeout(Duration::from_secs(100), flood).await;
            assert!(times.get() <= most, "{} times of {each:?}", times.get());
            // Work that takes longer than the limit at once still continues, some seconds later.
            assert!(times.get() >= most / 2, "{} times of {each:?}", times.get());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a15_time_spent_on_checking_a_message_delays_the_next_read_of_the_connection() {
        let allowance = Allowance::by(|| SPENT.get());
        let checks = Cell::new(0);
        let mut checked = allowance.counted(work(Duration::from_secs(1), &checks));
        // It is not delayed itself.
        for _ in 0..3 {
            assert!(futures_util::FutureExt::now_or_never(&mut checked).is_none());
        }
        assert_eq!(checks.get(), 3);
        let reads = Cell::new(0);
        let mut reading = allowance.limited(work(Duration::ZERO, &reads));
        assert!(futures_util::FutureExt::now_or_never(&mut reading).is_none());
        assert_eq!(reads.get(), 0, "the connection waits");
        tokio::time::advance(Duration::from_secs(26)).await;
        assert!(futures_util::FutureExt::now_or_never(&mut reading).is_none());
        assert_eq!(reads.get(), 1, "and then continues");
    }

    #[tokio::test(start_paused = true)]
    async fn a15_a_burst_is_not_held_up() {
        let (each, times) = (Duration::from_millis(1), Cell::new(0));
        let allowance = Allowance::by(|| SPENT.get());
        let mut burst = allowance.limited(work(each, &times));
        for _ in 0..450 {
            assert!(futures_util::FutureExt::now_or_never(&mut burst).is_none());
        }
        assert_eq!(times.get(), 450);
    }
}
