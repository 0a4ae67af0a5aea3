//! The server: accepts connections, limits them, and gives each one answer.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::either::Either;
use tracing::{debug, warn};

use super::{Listener, answer};
use crate::status::Status;

/// How many connections may be open; another one closes the oldest. A probe, a scrape and a person make three.
const MOST: usize = 32;
/// Limit for a whole connection: an answer takes less than a millisecond.
const LIMIT: Duration = Duration::from_secs(5);
/// Limit for its request line and headers.
const HEADERS: Duration = Duration::from_secs(2);
/// Buffer for a request in bytes, the smallest that hyper allows. A longer request is refused.
const BUFFER: usize = 8192;
/// How many headers a request may have.
const MOST_HEADERS: usize = 64;
/// How many connections are accepted at once, and the shortest time between two others: an answer costs up to a fifth of a
/// millisecond, so that endless requests cost about a tenth of a core.
const BURST: (u32, Duration) = (64, Duration::from_millis(2));
/// Pause after the kernel has refused a connection, for example because no descriptor is free.
const REFUSED: Duration = Duration::from_millis(200);

/// For both kinds of socket, so that HTTP is compiled once.
type Stream = Either<TcpStream, UnixStream>;

/// Answers requests for as long as it is polled.
pub async fn serve(listener: Listener, status: watch::Receiver<Status>) -> io::Result<Infallible> {
    let mut connections = Connections::default();
    let mut listener = match listener {
        Listener::Tcp(listener) => Either::Left(TcpListener::from_std(listener)?),
        Listener::Unix(listener) => Either::Right(UnixListener::from_std(listener)?),
    };
    let mut rate = Rate::new();
    loop {
        rate.next().await;
        let accepted = listener.accept().await.map(|accepted| match accepted {
            Either::Left((stream, _)) => Either::Left(stream),
            Either::Right((stream, _)) => Either::Right(stream),
        });
        connections.take(accepted, &status).await;
    }
}

/// Limits how many connections are accepted in a time.
struct Rate {
    /// When the next connection would be accepted if there were no bursts.
    at: Instant,
}

impl Rate {
    fn new() -> Self {
        Self { at: Instant::now() }
    }

    /// Ends when another connection may be accepted. Safe to cancel.
    async fn next(&mut self) {
        let (burst, gap) = BURST;
        let ahead = self.at.saturating_duration_since(Instant::now());
        sleep(ahead.saturating_sub(gap * burst)).await;
        self.at = self.at.max(Instant::now()) + gap;
    }
}

/// Dropping it closes all connections.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    by_age: VecDeque<AbortHandle>,
}

impl Connections {
    async fn take(&mut self, accepted: io::Result<Stream>, status: &watch::Receiver<Status>) {
        while self.tasks.try_join_next().is_some() {}
        self.by_age.retain(|task| !task.is_finished());
        match accepted {
            Ok(stream) => {
                if self.by_age.len() >= MOST
                    && let Some(oldest) = self.by_age.pop_front()
                {
                    oldest.abort();
                }
                self.by_age.push_back(self.tasks.spawn(connection(stream, status.clone())));
            }
            Err(error) => {
                warn!(event = "status-accept-failed", %error, "cannot accept a connection to the status; continuing");
                sleep(REFUSED).await;
            }
        }
    }
}

async fn connection(stream: Stream, status: watch::Receiver<Status>) {
    let service = service_fn(move |request| {
        // The reference is released before anything waits, because the loop must not wait for it.
        let status = status.borrow().clone();
        async move { Ok::<_, Infallible>(answer::answer(&request, status)) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(BUFFER)
        .max_headers(MOST_HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(LIMIT, served).await {
        Ok(Ok(())) => {}
        // A client's errors only affect that client.
        Ok(Err(error)) => debug!(%error, "a client of the status closed its connection"),
        Err(_) => debug!("a client of the status was too slow"),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn b81_connections_without_end_are_accepted_at_a_limited_rate() {
        let (burst, gap) = BURST;
        let mut rate = Rate::new();
        let taken = |rate: &mut Rate| {
            (0..10 * burst).take_while(|_| rate.next().now_or_never().is_some()).count()
        };
        // The first one, and a burst.
        assert_eq!(taken(&mut rate), burst as usize + 1);
        for _ in 0..3 {
            advance(gap).await;
            assert_eq!(taken(&mut rate), 1);
        }
        advance(gap * burst * 2).await;
        assert_eq!(taken(&mut rate), burst as usize + 1);
    }
}
