//! The thread that serves, with a runtime of its own: it does not matter whether the caller has
//! one, and it can be stopped as a whole.

use std::io;
use std::os::unix::net::UnixListener as BlockingListener;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::runtime::{self, Handle};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::serve::serve;
use crate::shared::Shared;
use crate::socket::SocketFile;
use crate::{Error, Stop};

pub(crate) struct ServingThread {
    thread: JoinHandle<()>,
    runtime: Handle,
    stop: CancellationToken,
    socket: SocketFile,
    /// Dropping it lets a frozen thread go on.
    frozen: Option<mpsc::Sender<()>>,
}

impl ServingThread {
    pub(crate) fn start(shared: &Arc<Shared>) -> Result<Self, Error> {
        let (socket, listener) = SocketFile::bind(&shared.settings.socket)?;
        let stop = CancellationToken::new();
        let (started, start) = mpsc::channel();
        let run = {
            let shared = Arc::clone(shared);
            let stop = stop.clone();
            move || run(listener, shared, stop, &started)
        };
        let thread =
            thread::Builder::new().name("dev-agent".to_owned()).spawn(run).map_err(Error::Thread);
        // The channel breaks only if the thread panics, and it does not before it has reported.
        let runtime = thread.and_then(|thread| {
            let outcome = start.recv().unwrap_or_else(|error| Err(io::Error::other(error)));
            outcome.map(|runtime| (thread, runtime)).map_err(Error::Thread)
        });
        let (thread, runtime) = runtime.inspect_err(|_| socket.unlink())?;
        Ok(Self { thread, runtime, stop, socket, frozen: None })
    }

    pub(crate) fn stop(mut self, how: Stop) {
        if how == Stop::Terminate {
            self.socket.unlink();
        }
        self.stop.cancel();
        self.thaw();
        // A panic has been printed by the thread itself.
        let _ = self.thread.join();
    }

    pub(crate) fn freeze(&mut self) {
        if self.frozen.is_some() {
            return;
        }
        let (sender, receiver) = mpsc::channel::<()>();
        let (arrived, arrival) = mpsc::channel();
        // Blocks the one thread of the runtime, which is the point.
        self.runtime.spawn(async move {
            let _ = arrived.send(());
            let _ = receiver.recv();
        });
        // It fails if the runtime has ended; there is nothing to freeze then.
        let _ = arrival.recv();
        self.frozen = Some(sender);
    }

    pub(crate) fn thaw(&mut self) {
        self.frozen = None;
    }

    pub(crate) fn storm(&self, shared: Arc<Shared>, renewals: u32, pause: Duration) {
        self.runtime.spawn(async move {
            // An interval of zero would panic.
            let mut ticks = interval(pause.max(Duration::from_micros(1)));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            for _ in 0..renewals {
                ticks.tick().await;
                if shared.state().rotate().is_err() {
                    return;
                }
            }
        });
    }
}

// The runtime is made and dropped in its own thread: within another runtime, dropping one panics.
fn run(
    listener: BlockingListener,
    shared: Arc<Shared>,
    stop: CancellationToken,
    started: &mpsc::Sender<io::Result<Handle>>,
) {
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    let handle = runtime.handle().clone();
    runtime.block_on(async {
        match UnixListener::from_std(listener) {
            Ok(listener) => {
                let _ = started.send(Ok(handle));
                serve(listener, shared, stop).await;
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        }
    });
}
