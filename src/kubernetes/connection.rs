//! One HTTP/2 connection to the API server, over TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{Error, Server, Settings};
use crate::files;
use crate::resolve::Resolver;
use crate::text::sentence;

/// How long connecting may take, with the look-up and the handshake.
const LIMIT: Duration = Duration::from_secs(10);
/// How long name servers may take.
const LOOK_UP: Duration = Duration::from_secs(5);
/// Largest file of certificate authorities, in bytes.
const LARGEST: u64 = 1024 * 1024;
/// How many bytes of one answer, and of all together, the server may send before they are read.
const WINDOW: u32 = 64 * 1024;
/// Most bytes of the headers of an answer.
const HEADERS: u32 = 16 * 1024;

/// How long the server may send nothing while an answer is awaited, before it is asked for a sign of life, and how long that may take:
/// a watch would otherwise wait for ever for a server that is gone without a sign.
const ALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));

/// Sends requests over an open connection.
pub(super) type Sender = SendRequest<Full<Bytes>>;

/// An open connection.
pub(super) struct Connection {
    pub(super) sender: Sender,
    task: AbortHandle,
}

impl Drop for Connection {
    /// Ends all its answers, too: a watch over a connection that is dead would wait for ever.
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connects.
pub(super) async fn connect(settings: &Settings) -> Result<Connection, Error> {
    timeout(LIMIT, open(settings)).await.unwrap_or(Err(Error::Late(LIMIT)))
}

async fn open(settings: &Settings) -> Result<Connection, Error> {
    let Settings { server, ca_file, .. } = settings;
    let config = config(ca_file)?;
    let name =
        ServerName::try_from(server.host.clone()).map_err(|cause| Error::unreachable(&cause))?;
    let addresses = addresses(server).await?;
    let stream =
        TcpStream::connect(&addresses[..]).await.map_err(|cause| Error::unreachable(&cause))?;
    stream.set_nodelay(true).map_err(|cause| Error::unreachable(&cause))?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let stream = stream.map_err(|cause| {
        let inner = cause.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::InvalidCertificate(_)) => {
                Error::Untrusted(sentence(&cause.to_string()))
            }
            _ => Error::unreachable(&cause),
        }
    })?;
    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(Error::garbage("it does not speak HTTP/2"));
    }
    let (sender, connection) = Builder::new(TokioExecutor::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_header_list_size(HEADERS)
        .timer(TokioTimer::new())
        .keep_alive_interval(ALIVE.0)
        .keep_alive_timeout(ALIVE.1)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|cause| Error::unreachable(&cause))?;
    // Its end shows at the next request.
    let task = tokio::spawn(async move { drop(connection.await) }).abort_handle();
    Ok(Connection { sender, task })
}

/// The addresses of the host. Within the sandbox the name servers are asked over TCP, again for each connection, because they may
/// change. The addresses that the host had before it count if these know none.
async fn addresses(server: &Server) -> Result<Vec<SocketAddr>, Error> {
    let found = match &server.addresses {
        Some(before) => {
            let mut resolver = Resolver::default();
            match timeout(LOOK_UP, resolver.addresses(&server.host)).await {
                Ok(Ok(found)) => found.into_iter().map(|it| (it, server.port).into()).collect(),
                // Another source than name servers may know it.
                Ok(Err(error)) => {
                    before.clone().map_err(|_| Error::Unresolved(error.to_string()))?
                }
                Err(_) => before.clone().map_err(Error::Unresolved)?,
            }
        }
        None => tokio::net::lookup_host((server.host.as_str(), server.port))
            .await
            .map_err(|cause| Error::Unresolved(cause.to_string()))?
            .collect(),
    };
    if found.is_empty() { Err(Error::Unresolved("it has none".to_owned())) } else { Ok(found) }
}

/// The certificate authorities are read for each connection, because they may be exchanged.
fn config(ca_file: &std::path::Path) -> Result<ClientConfig, Error> {
    let wrong = |cause: String| Error::File { path: ca_file.to_owned(), cause };
    let pem = files::read(ca_file, LARGEST).map_err(|cause| Error::file(ca_file, &cause))?;
    let mut roots = RootCertStore::empty();
    for found in CertificateDer::pem_slice_iter(&pem) {
        let certificate = found.map_err(|cause| wrong(format!("it is not PEM ({cause})")))?;
        // Another one may be enough.
        let _ = roots.add(certificate);
    }
    if roots.is_empty() {
        return Err(wrong("it holds no certificate authority".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|cause| wrong(cause.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}
