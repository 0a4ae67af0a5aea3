//! A login over TLS as a client makes it: our certificate, the server's name and chain checked as `verify-full` does.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use crate::material::Material;
use crate::text::shown;
use crate::verify;

/// Limit for connecting and for the login.
const LIMIT: Duration = Duration::from_secs(5);

/// Where to log in, and as whom.
#[derive(Debug, Clone)]
pub(super) struct Login<'a> {
    /// Host names or addresses, tried in order.
    pub(super) hosts: &'a [String],
    pub(super) port: u16,
    /// The name that the server's certificate must have.
    pub(super) name: &'a str,
    pub(super) role: &'a str,
    pub(super) database: &'a str,
    pub(super) material: &'a Material,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Nobody answered.
    Unreachable(String),
    /// The server has TLS turned off.
    Plaintext,
    /// We do not trust the server.
    Untrusted(rustls::Error),
    /// The server does not take our certificate, or ended the connection when it saw it.
    Rejected(String),
    /// The server refused the role, the database, or both.
    Refused {
        /// SQLSTATE
        code: String,
        /// Its words, shortened and escaped.
        text: String,
    },
    /// It asks for a password, too.
    Password,
    /// Logged in, and out again.
    Welcome,
}

/// Tries once. The second part is our address, as the server sees it.
pub(super) async fn attempt(login: &Login<'_>) -> (Outcome, Option<IpAddr>) {
    let mut last = Outcome::Unreachable("there is no address to connect to".to_owned());
    for host in login.hosts {
        let stream = match timeout(LIMIT, verify::connect(host, login.port)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                last = Outcome::Unreachable(format!("{host}:{}: {error}", login.port));
                continue;
            }
            Err(_) => {
                last = Outcome::Unreachable(format!("{host}:{}: no answer", login.port));
                continue;
            }
        };
        let from = stream.local_addr().ok().map(|address| address.ip());
        let outcome = match timeout(LIMIT, log_in(login, stream)).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::Unreachable(format!("{host}:{}: no answer", login.port)),
        };
        return (outcome, from);
    }
    (last, None)
}

async fn log_in(login: &Login<'_>, stream: TcpStream) -> Outcome {
    let connector = match connector(login) {
        Ok(connector) => connector,
        Err(error) => return Outcome::Untrusted(error),
    };
    let mut config = tokio_postgres::Config::new();
    config
        .user(login.role)
        .dbname(login.database)
        .application_name("pgsvid check")
        .ssl_mode(SslMode::Require);
    match config.connect_raw(stream, connector).await {
        Ok((client, connection)) => {
            // The server is told that we leave.
            drop(client);
            let _ = connection.await;
            Outcome::Welcome
        }
        Err(error) => explain(&error),
    }
}

fn explain(error: &tokio_postgres::Error) -> Outcome {
    if let Some(refused) = error.as_db_error() {
        return Outcome::Refused {
            code: refused.code().code().to_owned(),
            text: shown(refused.message()),
        };
    }
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let tls = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(rustls::Error::AlertReceived(alert)) => {
                return Outcome::Rejected(format!("{alert:?}"));
            }
            Some(error) => return Outcome::Untrusted(error.clone()),
            None => {}
        }
        // tokio-postgres has no public kinds for these; its words are all there is.
        match cause.to_string().as_str() {
            "server does not support TLS" => return Outcome::Plaintext,
            "password missing" => return Outcome::Password,
            _ => {}
        }
        source = cause.source();
    }
    Outcome::Rejected(shown(&error.to_string()))
}

/// libpq wants a self-signed root at the end of the server's chain, so only such certificates are anchors.
fn connector(login: &Login<'_>) -> Result<Connector, rustls::Error> {
    let mut roots = RootCertStore::empty();
    for root in login.material.authorities().filter(|authority| authority.is_self_signed()) {
        roots.add(CertificateDer::from(root.der().to_vec()))?;
    }
    let chain =
        login.material.chain().map(|link| CertificateDer::from(link.der().to_vec())).collect();
    let key = PrivatePkcs8KeyDer::from(login.material.key().expose().to_vec());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, PrivateKeyDer::Pkcs8(key))?;
    let name = ServerName::try_from(login.name.to_owned())
        .map_err(|_| rustls::Error::General(format!("{:?} is no host name", login.name)))?;
    Ok(Connector { config: Arc::new(config), name })
}

struct Connector {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl TlsConnect<TcpStream> for Connector {
    type Stream = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn connect(self, stream: TcpStream) -> Self::Future {
        Box::pin(async move {
            let connector = tokio_rustls::TlsConnector::from(self.config);
            Ok(Stream(connector.connect(self.name, stream).await?))
        })
    }
}

/// tokio-rustls' stream, as tokio-postgres wants it.
struct Stream(tokio_rustls::client::TlsStream<TcpStream>);

impl TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        // It takes part in SCRAM only, and we have no password.
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
