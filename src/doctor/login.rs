//! A login over TLS as a client makes it: our certificate, the server's name and chain checked as `verify-full` does.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use super::distrust::{Distrust, LikeLibpq, Reason};
use super::replication::{self, Answer};
use crate::material::Material;
use crate::sql::{Budget, Limited};
use crate::text::shown;
use crate::verify;

/// Limit for the login.
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
    /// Whether it is for replication, which is no database's.
    pub(super) replication: bool,
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
    Untrusted(Distrust),
    /// TLS has failed otherwise.
    Tls(String),
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
    /// It says more than PostgreSQL would.
    TooMuch,
    /// Logged in, and out again.
    Welcome,
}

/// Tries once. The second part is our address, as the server sees it, and the third the server's.
pub(super) async fn attempt(login: &Login<'_>) -> (Outcome, Option<IpAddr>, Option<IpAddr>) {
    let stream = match verify::connect_in_turns(login.hosts, login.port).await {
        Ok(stream) => stream,
        Err(why) => return (Outcome::Unreachable(why), None, None),
    };
    let from = stream.local_addr().ok().map(|address| address.ip());
    let to = stream.peer_addr().ok().map(|address| address.ip());
    let outcome = match timeout(LIMIT, log_in(login, stream)).await {
        Ok(outcome) => outcome,
        Err(_) => {
            Outcome::Unreachable("the server takes the connection, and does not answer".to_owned())
        }
    };
    (outcome, from, to)
}

async fn log_in(login: &Login<'_>, stream: TcpStream) -> Outcome {
    let budget = Budget::few();
    let reason = Reason::default();
    let connector = match connector(login, &budget, &reason) {
        Ok(connector) => connector,
        Err(error) => return Outcome::Tls(in_words(&error)),
    };
    if login.replication {
        return replicate(login, stream, connector).await;
    }
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
        // Of an end that the budget has brought about only the end is seen.
        Err(_) if budget.is_exceeded() => Outcome::TooMuch,
        Err(error) => reason.take().map_or_else(|| explain(&error), Outcome::Untrusted),
    }
}

/// The library's own words for a certificate show its bytes.
fn in_words(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(_) => {
            "the server does not prove that it has its certificate's key".to_owned()
        }
        error => shown(&error.to_string()),
    }
}

async fn replicate(login: &Login<'_>, mut stream: TcpStream, connector: Connector) -> Outcome {
    match replication::ask_for_tls(&mut stream).await {
        Ok(true) => {}
        Ok(false) => return Outcome::Plaintext,
        Err(error) => return Outcome::Rejected(shown(&error.to_string())),
    }
    let Connector { config, name, .. } = connector;
    match tokio_rustls::TlsConnector::from(config).connect(name, stream).await {
        Ok(stream) => match replication::log_in(stream, login.role).await {
            Ok(Answer::Welcome) => Outcome::Welcome,
            Ok(Answer::Password) => Outcome::Password,
            Ok(Answer::Refused { code, text }) => Outcome::Refused { code, text },
            Ok(Answer::TooMuch) => Outcome::TooMuch,
            Err(error) => Outcome::Rejected(shown(&error.to_string())),
        },
        Err(error) => Outcome::Rejected(shown(&error.to_string())),
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
                return Outcome::Rejected(rustls::Error::AlertReceived(*alert).to_string());
            }
            Some(error) => return Outcome::Tls(in_words(error)),
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

fn connector(
    login: &Login<'_>,
    budget: &Arc<Budget>,
    reason: &Reason,
) -> Result<Connector, rustls::Error> {
    let chain =
        login.material.chain().map(|link| CertificateDer::from(link.der().to_vec())).collect();
    let key = PrivatePkcs8KeyDer::from(login.material.key().expose().to_vec());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = LikeLibpq {
        authorities: login.material.authorities().cloned().collect(),
        host: login.name.to_owned(),
        algorithms: provider.signature_verification_algorithms,
        reason: reason.clone(),
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(chain, PrivateKeyDer::Pkcs8(key))?;
    let name = ServerName::try_from(login.name.to_owned())
        .map_err(|_| rustls::Error::General(format!("{:?} is no host name", login.name)))?;
    Ok(Connector { config: Arc::new(config), name, budget: Arc::clone(budget) })
}

struct Connector {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    budget: Arc<Budget>,
}

impl TlsConnect<TcpStream> for Connector {
    type Stream = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn connect(self, stream: TcpStream) -> Self::Future {
        Box::pin(async move {
            let connector = tokio_rustls::TlsConnector::from(self.config);
            let stream = connector.connect(self.name, stream).await?;
            Ok(Stream(Limited::new(stream, self.budget)))
        })
    }
}

/// tokio-rustls' stream, as tokio-postgres wants it.
struct Stream(Limited<tokio_rustls::client::TlsStream<TcpStream>>);

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

#[cfg(test)]
mod tests {
    use dev_agent::{Authority, Entry, Svid};
    use rustls::ServerConfig;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;
    use zeroize::Zeroizing;

    use super::*;
    use crate::material::{Expectations, Offer};
    use crate::timing;

    /// A server that shakes hands, and then says the same without an end; returns how many bytes it could say.
    async fn talk(listener: TcpListener, svid: Svid, words: Vec<u8>) -> usize {
        let chain = svid.chain.into_iter().map(CertificateDer::from).collect();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivatePkcs8KeyDer::from(svid.key).into())
            .unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut [0; 8]).await.unwrap();
        stream.write_all(b"S").await.unwrap();
        let mut stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await.unwrap();
        stream.write_all(&message(b'R', &[0; 4])).await.unwrap();
        let mut count = 0;
        while stream.write_all(&words).await.is_ok() {
            count += words.len();
        }
        count
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[kind][..], &length.to_be_bytes(), body].concat()
    }

    #[tokio::test]
    async fn a37_a_server_that_says_more_than_it_may_is_not_listened_to() {
        let authority = Authority::new("example.org", false).unwrap();
        let entry = Entry::new("spiffe://example.org/db").dns("localhost");
        let svid = authority.issue(&entry).unwrap();
        let offer = Offer {
            spiffe_id: Some(svid.spiffe_id.clone()),
            hint: String::new(),
            chain: svid.chain.concat(),
            key: Zeroizing::new(svid.key.clone()),
            bundle: svid.bundle.concat(),
        };
        let material = Material::check(offer, &Expectations::default(), timing::now()).unwrap();
        for words in [
            message(b'N', b"SNOTICE\0\0").repeat(1000),
            message(b'S', &[b"a\0", &[b'x'; 9000][..], b"\0"].concat()),
            [&[b'E', 0x7f, 0xff, 0xff, 0xff][..], &vec![b'x'; 60_000]].concat(),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = tokio::spawn(talk(listener, svid.clone(), words));
            let hosts = ["127.0.0.1".to_owned()];
            let login = Login {
                hosts: &hosts,
                port,
                name: "localhost",
                role: "app",
                database: "postgres",
                replication: false,
                material: &material,
            };
            let (outcome, ..) = attempt(&login).await;
            assert!(matches!(outcome, Outcome::TooMuch), "{outcome:?}");
            // The rest is in the kernel's buffers.
            let count = server.await.unwrap();
            assert!(count < 16 * 1024 * 1024, "{count}");
        }
    }
}
