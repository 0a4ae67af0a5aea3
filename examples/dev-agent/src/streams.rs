//! The streams that workloads hold open.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pgsvid_proto::{X509BundlesResponse, X509svidResponse};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Status;

use crate::activity::Recorder;

/// What tonic sends as the answer to `FetchX509SVID`.
pub(crate) struct SvidStream {
    items: UnboundedReceiverStream<Result<X509svidResponse, Status>>,
    recorder: Arc<Recorder>,
}

/// What tonic sends as the answer to `FetchX509Bundles`.
pub(crate) type BundleStream = UnboundedReceiverStream<Result<X509BundlesResponse, Status>>;

/// The other ends of all streams.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    svids: Vec<SvidSender>,
    bundles: Vec<mpsc::UnboundedSender<Result<X509BundlesResponse, Status>>>,
    recorder: Arc<Recorder>,
}

/// The agent's end of one X.509-SVID stream. Dropping it ends the stream cleanly.
#[derive(Debug)]
pub(crate) struct SvidSender {
    items: mpsc::UnboundedSender<Result<X509svidResponse, Status>>,
    recorder: Arc<Recorder>,
    /// It gets headers, and then nothing but its end.
    pub(crate) muted: bool,
}

impl SvidSender {
    pub(crate) fn send(&self, message: X509svidResponse) {
        if !self.muted && self.items.send(Ok(message)).is_ok() {
            self.recorder.record(|activity| activity.messages += 1);
        }
    }

    pub(crate) fn end(self, status: Option<Status>) {
        if let Some(status) = status {
            // The peer may be gone already.
            let _ = self.items.send(Err(status));
        }
    }
}

impl Streams {
    pub(crate) fn new(recorder: Arc<Recorder>) -> Self {
        Self { recorder, ..Self::default() }
    }

    /// A stream that gets nothing until [`keep`](Self::keep) is called.
    pub(crate) fn open(&self) -> (SvidSender, SvidStream) {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.recorder.record(|activity| activity.open_streams += 1);
        let sender =
            SvidSender { items: sender, recorder: Arc::clone(&self.recorder), muted: false };
        let stream = SvidStream {
            items: UnboundedReceiverStream::new(receiver),
            recorder: Arc::clone(&self.recorder),
        };
        (sender, stream)
    }

    pub(crate) fn keep(&mut self, sender: SvidSender) {
        self.svids.retain(|known| !known.items.is_closed());
        self.svids.push(sender);
    }

    pub(crate) fn open_bundles(&mut self, first: X509BundlesResponse) -> BundleStream {
        let (sender, receiver) = mpsc::unbounded_channel();
        // The receiver lives: it is returned below.
        let _ = sender.send(Ok(first));
        self.bundles.retain(|known| !known.is_closed());
        self.bundles.push(sender);
        UnboundedReceiverStream::new(receiver)
    }

    pub(crate) fn send(&self, message: &X509svidResponse) {
        for sender in &self.svids {
            sender.send(message.clone());
        }
    }

    pub(crate) fn send_bundles(&self, message: &X509BundlesResponse) {
        for sender in &self.bundles {
            let _ = sender.send(Ok(message.clone()));
        }
    }

    pub(crate) fn end(&mut self, status: Option<&Status>) {
        for sender in self.svids.drain(..) {
            sender.end(status.cloned());
        }
        for sender in self.bundles.drain(..) {
            if let Some(status) = status {
                let _ = sender.send(Err(status.clone()));
            }
        }
    }
}

impl Stream for SvidStream {
    type Item = Result<X509svidResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.items).poll_next(context)
    }
}

impl Drop for SvidStream {
    fn drop(&mut self) {
        self.recorder.record(|activity| activity.open_streams -= 1);
    }
}
