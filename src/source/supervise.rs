//! The supervision of the stream: dial, read, judge, and dial again.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use pgsvid_proto::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use pgsvid_proto::{SECURITY_HEADER, SECURITY_HEADER_VALUE, X509svidRequest, X509svidResponse};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tonic::metadata::MetadataValue;
use tracing::{debug, info, warn};

use super::error::{Class, Error};
use super::{Connection, Endpoint, Identity, Rejected, Source, channel, limits, message};
use crate::material::Material;
use crate::timing::{self, Backoff};
use crate::watching::{self, Changes};

pub(super) async fn run(source: Source, stop: CancellationToken) -> Result<(), Error> {
    let directories = match &source.settings.endpoint {
        Endpoint::Unix(path) => vec![watching::parent(path)],
        Endpoint::Tcp(_) => Vec::new(),
    };
    let changes = source.watching.directories(directories);
    let mut supervisor = Supervisor { source, changes, said: None };
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        ended = supervisor.supervise() => ended,
    }
}

/// How a stream ended.
enum Ended {
    /// By the agent, in order.
    Clean,
    /// By us: the agent was silent for longer than a renewal takes.
    Overdue,
    /// Otherwise.
    Failed(Error),
}

struct Supervisor {
    source: Source,
    changes: Changes,
    /// What was last said about the connection: a repetition goes to the debug level.
    said: Option<String>,
}

impl Supervisor {
    async fn supervise(&mut self) -> Result<(), Error> {
        let (first, longest) = limits::BACKOFF;
        let mut failed = Backoff::new(first, longest);
        let (first, longest) = limits::UNREGISTERED;
        let mut unregistered = Backoff::new(first, longest);
        loop {
            // What changed until now does not cut the next pause short.
            self.changes.settle();
            let socket = self.socket();
            let begun = Instant::now();
            let ended = self.session().await;
            // A stream that ends within a moment is no success, however often it is opened.
            let held = begun.elapsed() >= limits::HELD;
            if held {
                failed.reset();
                unregistered.reset();
            }
            let pause = match ended {
                Ended::Clean => {
                    debug!("the agent ended the stream; connecting again");
                    if held { Duration::ZERO } else { failed.delay() }
                }
                Ended::Overdue => {
                    warn!("{}; connecting anew", Error::Overdue);
                    Duration::ZERO
                }
                Ended::Failed(error) => match error.class() {
                    Class::Permanent if !self.has_identity() => return Err(error),
                    Class::Permanent => {
                        self.fail(error);
                        limits::PERMANENT
                    }
                    Class::NotRegistered => {
                        self.withdraw();
                        unregistered.delay()
                    }
                    Class::Transient => {
                        self.fail(error);
                        failed.delay()
                    }
                },
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.another_socket(socket) => {}
            }
        }
    }

    /// Ends when the socket has come, or was made anew. Whatever else happens in its directory is passed over.
    async fn another_socket(&mut self, known: Option<(u64, u64)>) {
        loop {
            self.changes.changed().await;
            let now = self.socket();
            if now.is_some() && now != known {
                return;
            }
        }
    }

    /// Device and inode of the socket, which tell one socket from the next at the same path.
    fn socket(&self) -> Option<(u64, u64)> {
        match &self.source.settings.endpoint {
            Endpoint::Unix(path) => {
                rustix::fs::stat(path).ok().map(|stat| (stat.st_dev, stat.st_ino))
            }
            Endpoint::Tcp(_) => None,
        }
    }

    /// One connection, from dialling to its end.
    async fn session(&mut self) -> Ended {
        let mut stream = match timeout(limits::FIRST_MESSAGE, self.open()).await {
            Ok(Ok((stream, first))) => {
                self.connected();
                let Some(first) = first else {
                    return Ended::Clean;
                };
                let mut stream = stream;
                if let Some(ended) = self.take(first, &mut stream).await {
                    return ended;
                }
                stream
            }
            Ok(Err(error)) => return Ended::Failed(error),
            Err(_) => return Ended::Failed(Error::Silent(limits::FIRST_MESSAGE)),
        };
        loop {
            let overdue = self.overdue();
            let message = tokio::select! {
                message = stream.message() => message,
                () = overdue => return Ended::Overdue,
            };
            let ended = match message {
                Ok(Some(message)) => self.take(message, &mut stream).await,
                Ok(None) => Some(Ended::Clean),
                Err(status) => Some(Ended::Failed(Error::answered(&status))),
            };
            if let Some(ended) = ended {
                return ended;
            }
        }
    }

    async fn open(&self) -> Result<(Streaming<X509svidResponse>, Option<X509svidResponse>), Error> {
        let endpoint = &self.source.settings.endpoint;
        let channel = channel::connect(endpoint).await?;
        let mut client =
            SpiffeWorkloadApiClient::new(channel).max_decoding_message_size(limits::MESSAGE);
        let mut request = tonic::Request::new(X509svidRequest {});
        let value = MetadataValue::from_static(SECURITY_HEADER_VALUE);
        request.metadata_mut().insert(SECURITY_HEADER, value);
        let explain = |status: &tonic::Status| {
            // An answer that is no HTTP/2 ends as a transport error without a status of the agent's.
            if std::error::Error::source(status).is_some() && status.code() == tonic::Code::Unknown
            {
                Error::NotGrpc(endpoint.to_string())
            } else {
                Error::answered(status)
            }
        };
        let response = client.fetch_x509svid(request).await;
        let mut stream = response.map_err(|status| explain(&status))?.into_inner();
        let first = stream.message().await.map_err(|status| explain(&status))?;
        Ok((stream, first))
    }

    /// Takes a message, or the newest of those that are already readable: an agent may send two within a
    /// tenth of a millisecond. Returns how the stream has ended, if it has by then: that is said only once.
    async fn take(
        &mut self,
        message: X509svidResponse,
        stream: &mut Streaming<X509svidResponse>,
    ) -> Option<Ended> {
        let mut newest = message;
        // Lets the connection's task read what the kernel holds.
        tokio::task::yield_now().await;
        let ended = loop {
            match stream.message().now_or_never() {
                None => break None,
                Some(Ok(Some(newer))) => newest = newer,
                Some(Ok(None)) => break Some(Ended::Clean),
                Some(Err(status)) => break Some(Ended::Failed(Error::answered(&status))),
            }
        };
        let settings = &self.source.settings;
        let material = message::material(
            newest,
            &settings.selection,
            &settings.expectations,
            settings.federated_bundles,
        );
        match material {
            Ok(material) => self.accept(material),
            Err(reason) => self.reject(reason.to_string()),
        }
        ended
    }

    fn accept(&mut self, material: Material) {
        let before = self.source.state.borrow().clone();
        if before.rejected.is_some() {
            info!("the agent's message is accepted again");
        }
        let same = matches!(&before.identity, Identity::Current(current) if current.publishes_as(&material));
        if !same {
            let leaf = material.leaf();
            info!(
                spiffe_id = %material.spiffe_id(),
                hint = material.hint(),
                serial = leaf.serial().short(),
                not_after = timing::utc(material.not_after()),
                "identity received"
            );
            let said: Vec<_> =
                before.identity.material().map(|material| material.warnings()).unwrap_or_default();
            for warning in material.warnings().into_iter().filter(|warning| !said.contains(warning))
            {
                warn!("{warning}");
            }
        }
        self.source.state.send_modify(|state| {
            state.rejected = None;
            state.connection = Connection::Streaming;
            if !same {
                state.identity = Identity::Current(Arc::new(material));
            }
        });
    }

    fn reject(&mut self, reason: String) {
        let repeated = self
            .source
            .state
            .borrow()
            .rejected
            .as_ref()
            .is_some_and(|rejected| rejected.reason == reason);
        if repeated {
            debug!(reason, "the agent's message is rejected again");
        } else {
            warn!(reason, "the agent's message is rejected; what is published stays");
        }
        self.source.state.send_modify(|state| {
            state.connection = Connection::Streaming;
            state.rejections += 1;
            state.rejected = Some(Rejected { at: timing::now(), reason });
        });
    }

    fn withdraw(&mut self) {
        let withdrawn = match &self.source.state.borrow().identity {
            Identity::Current(material) => Some(Arc::clone(material)),
            _ => None,
        };
        if let Some(material) = &withdrawn {
            warn!(
                spiffe_id = %material.spiffe_id(),
                not_after = timing::utc(material.not_after()),
                "the agent has withdrawn the identity: is its registration entry deleted? \
                 The published files stay until they expire"
            );
        } else if self.is_news("not registered") {
            info!(
                endpoint = %self.source.settings.endpoint,
                "not registered yet: the agent has no entry for this workload; asking again"
            );
        }
        self.source.state.send_modify(|state| {
            state.connection = Connection::NotRegistered;
            if let Some(material) = withdrawn {
                state.identity = Identity::Withdrawn(material);
            }
        });
    }

    fn fail(&mut self, error: Error) {
        let text = error.to_string();
        if self.is_news(&text) {
            warn!(error = text, "no connection to the agent; trying again");
        } else {
            debug!(error = text, "still no connection to the agent");
        }
        self.source.state.send_modify(|state| {
            state.connection = Connection::Failed(Arc::new(error));
        });
    }

    fn connected(&mut self) {
        if self.said.take().is_some() {
            info!(endpoint = %self.source.settings.endpoint, "connected to the agent");
        }
        self.source.state.send_modify(|state| {
            state.connects += 1;
        });
    }

    fn is_news(&mut self, text: &str) -> bool {
        let news = self.said.as_deref() != Some(text);
        if news {
            self.said = Some(text.to_owned());
        }
        news
    }

    fn has_identity(&self) -> bool {
        self.source.state.borrow().identity.material().is_some()
    }

    /// Ends when the published identity has lived so much of what it has left that a renewal should have come.
    fn overdue(&self) -> impl Future<Output = ()> + use<> {
        let remaining = match &self.source.state.borrow().identity {
            Identity::Current(material) => material.not_after().duration_since(timing::now()).ok(),
            _ => None,
        };
        let begun = Instant::now();
        async move {
            match remaining {
                Some(remaining) => sleep_until(begun + watchdog(remaining)).await,
                None => std::future::pending().await,
            }
        }
    }
}

fn watchdog(remaining: Duration) -> Duration {
    remaining.mul_f64(limits::WATCHDOG_PART).max(limits::WATCHDOG_SHORTEST)
}
