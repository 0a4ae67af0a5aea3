//! The server: accepts, limits, and lets each connection have one answer.

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
use tokio::time::{sleep, timeout};
use tokio_util::either::Either;
use tracing::{debug, warn};

use super::{Listener, answer};
use crate::status::Status;

/// How many connections there may be; the next one ends the oldest. A probe, a scrape and a person are three.
const MOST: usize = 32;
/// Limit for the whole of a connection: an answer takes less than a millisecond.
const LIMIT: Duration = Duration::from_secs(5);
/// Limit for its request line and headers.
const HEADERS: Duration = Duration::from_secs(2);
/// Buffer for a request in bytes, the smallest that hyper takes. What is longer is refused.
const BUFFER: usize = 8192;
/// How many headers a request may have.
const MOST_HEADERS: usize = 64;
/// Pause after the kernel has refused a connection: for want of descriptors, say.
const REFUSED: Duration = Duration::from_millis(200);

/// Over whichever socket; HTTP is compiled once.
type Stream = Either<TcpStream, UnixStream>;

/// Answers for as long as it is polled.
pub async fn serve(listener: Listener, status: watch::Receiver<Status>) -> io::Result<Infallible> {
    let mut connections = Connections::default();
    let mut listener = match listener {
        Listener::Tcp(listener) => Either::Left(TcpListener::from_std(listener)?),
        Listener::Unix(listener) => Either::Right(UnixListener::from_std(listener)?),
    };
    loop {
        let accepted = listener.accept().await.map(|accepted| match accepted {
            Either::Left((stream, _)) => Either::Left(stream),
            Either::Right((stream, _)) => Either::Right(stream),
        });
        connections.take(accepted, &status).await;
    }
}

/// Dropped, it ends them all.
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
                warn!(event = "status-accept-failed", %error, "cannot accept a connection to the status; going on");
                sleep(REFUSED).await;
            }
        }
    }
}

async fn connection(stream: Stream, status: watch::Receiver<Status>) {
    let service = service_fn(move |request| {
        // The reference is given back before anybody waits: the loop must not wait for it.
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
        // Whatever a client does wrong is its own business.
        Ok(Err(error)) => debug!(%error, "a client of the status has left"),
        Err(_) => debug!("a client of the status was too slow"),
    }
}
