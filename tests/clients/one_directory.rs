//! tokio-postgres with rustls, reading leaf, key and bundle through one opened `..data` directory.

use std::fs::File;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustix::fs::{Mode, OFlags};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use test_support::ConnectLoop;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, TlsConnect};

use crate::both::ROLE;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Connects again and again, with the set of the moment.
pub(crate) fn connect_loop(directory: &Path, port: u16) -> ConnectLoop {
    let directory: PathBuf = directory.to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    ConnectLoop::start(move || {
        runtime.block_on(connect(&directory, port)).map_err(|error| format!("{error:?}"))
    })
}

async fn connect(directory: &Path, port: u16) -> Result<(), Failure> {
    connect_with(configuration(directory)?, port).await
}

/// One connection with that configuration: sees that it is encrypted, and waits until the server has ended it.
pub(crate) async fn connect_with(tls: ClientConfig, port: u16) -> Result<(), Failure> {
    let tls = Arc::new(tls);
    let mut config = tokio_postgres::Config::new();
    config.user(ROLE).dbname("postgres").ssl_mode(SslMode::Require);
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let (client, connection) = config.connect_raw(stream, Rustls(tls)).await?;
    let connection = tokio::spawn(connection);
    let row = client.query_one("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]);
    assert!(row.await?.get::<_, bool>(0));
    drop(client);
    Ok(connection.await??)
}

/// Opens the directory once; whatever is swapped afterwards, the three files are of one generation.
fn configuration(directory: &Path) -> Result<ClientConfig, Failure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let within: OwnedFd = rustix::fs::open(directory.join("..data"), flags, Mode::empty())?;
    let open = |name: &str| -> io::Result<File> {
        Ok(rustix::fs::openat(&within, name, OFlags::RDONLY, Mode::empty())?.into())
    };
    configuration_of(open("svid.pem")?, open("svid_key.pem")?, open("svid_bundle.pem")?)
}

/// A client's configuration from certificate, key and bundle.
pub(crate) fn configuration_of(
    chain: File,
    key: File,
    bundle: File,
) -> Result<ClientConfig, Failure> {
    let chain = CertificateDer::pem_reader_iter(chain).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_reader(key)?;
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_reader_iter(bundle) {
        roots.add(root?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?)
}

/// TLS for one connection, with the server's name verified.
struct Rustls(Arc<ClientConfig>);

impl TlsConnect<TcpStream> for Rustls {
    type Stream = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn connect(self, stream: TcpStream) -> Self::Future {
        Box::pin(async move {
            let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
            let connector = tokio_rustls::TlsConnector::from(self.0);
            Ok(Stream(connector.connect(name, stream).await?))
        })
    }
}

struct Stream(tokio_rustls::client::TlsStream<TcpStream>);

impl tokio_postgres::tls::TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
