//! Connections as tonic serves them: they can be cut in the middle of a message, and dropped.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::transport::server::Connected;

use crate::misbehave::{Misbehaviour, Occasion};
use crate::shared::Shared;

/// Smaller writes are HTTP/2's own: settings, headers, acknowledgements.
const SMALLEST_MESSAGE: usize = 512;

/// Accepts connections for ever, and hands those on that are to be served.
pub(crate) async fn accept(
    listener: UnixListener,
    shared: Arc<Shared>,
    served: mpsc::UnboundedSender<io::Result<Connection>>,
) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: without a pause this would spin.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let connection = Connection::new(stream, Arc::clone(&shared));
        match shared.script().next(Occasion::Connection) {
            Some(Misbehaviour::HangUp) => {}
            Some(Misbehaviour::Silent) => {
                tokio::spawn(connection.ignore());
            }
            Some(Misbehaviour::Speak(bytes)) => {
                tokio::spawn(connection.speak(bytes));
            }
            _ => {
                // It fails when the server has ended, and then nothing matters any more.
                let _ = served.send(Ok(connection));
            }
        }
    }
}

/// A connection from a workload.
pub(crate) struct Connection {
    stream: UnixStream,
    shared: Arc<Shared>,
    dropped: Pin<Box<WaitForCancellationFutureOwned>>,
    cut: bool,
}

impl Connection {
    fn new(stream: UnixStream, shared: Arc<Shared>) -> Self {
        shared.recorder.record(|activity| {
            activity.connections += 1;
            activity.open_connections += 1;
        });
        let dropped = shared.connections().clone().cancelled_owned();
        Self { stream, dropped: Box::pin(dropped), shared, cut: false }
    }

    async fn ignore(mut self) {
        self.dropped.as_mut().await;
    }

    async fn speak(mut self, bytes: Vec<u8>) {
        let _ = self.write_all(&bytes).await;
        let mut buffer = [0; 1024];
        while matches!(self.read(&mut buffer).await, Ok(1..)) {}
    }

    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.cut || self.dropped.as_mut().poll(context).is_ready() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.recorder.record(|activity| activity.open_connections -= 1);
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

// Vectored writes are left out on purpose: without them a message arrives here in one piece.
impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        let misbehaviour = (bytes.len() >= SMALLEST_MESSAGE)
            .then(|| self.shared.script().next(Occasion::Write))
            .flatten();
        if let Some(Misbehaviour::GarbleMessages) = misbehaviour {
            // A frame of data for the connection itself (RFC 9113, section 6.1: an error of the connection).
            let _ = self.stream.try_write(&[0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
            return Poll::Ready(Ok(bytes.len()));
        }
        if misbehaviour.is_some() {
            // The peer has room for it: it has just begun to read the message.
            let _ = self.stream.try_write(&bytes[..bytes.len() / 2]);
            self.cut = true;
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

// SPIRE attests its callers at this point; we do not.
impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}
