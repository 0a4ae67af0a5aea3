//! A login over TLS as a client does it: with the published certificate, and with the checks of `sslmode=verify-full` on the
//! server's name and chain.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{AlertDescription, ClientConfig};
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

/// Longest time for a login, from the open TCP connection on.
const LIMIT: Duration = Duration::from_secs(5);

/// Where to log in, and as which role.
#[derive(Debug, Clone)]
pub(super) struct Login<'a> {
    /// Host names or addresses, tried in order.
    pub(super) hosts: &'a [String],
    pub(super) port: u16,
    /// The name that the server's certificate must have.
    pub(super) name: &'a str,
    pub(super) role: &'a str,
    pub(super) database: &'a str,
    /// Whether it is for replication, which uses no database.
    pub(super) replication: bool,
    pub(super) material: &'a Material,
}

/// The result of one login.
#[derive(Debug)]
pub(super) enum Outcome {
    /// No server answered.
    Unreachable(String),
    /// The server has TLS turned off.
    Plaintext,
    /// The server's certificate is not trusted.
    Untrusted(Distrust),
    /// TLS failed for another reason.
    Tls(String),
    /// The server ended the handshake before it showed a certificate.
    NoCertificate(String),
    /// The server refused the client certificate, with this alert.
    Alert(AlertDescription),
    /// The server refused the curve of the client's key.
    WrongCurve,
    /// The connection ended, or the login failed in a way that has no variant of its own: the text says how.
    ConnectionLost(String),
    /// The server refused the role, the database, or both.
    LoginRefused {
        /// SQLSTATE
        code: String,
        /// Its message, shortened and escaped.
        text: String,
    },
    /// The server asks for a password, in addition to the certificate or instead of it.
    Password,
    /// It asks for something else, such as GSSAPI or OAuth.
    OtherMethod,
    /// The server sent more than the limit for a login ([`Budget::few`]).
    TooMuch,
    /// The login succeeded, and the session was closed.
    LoggedIn,
}

/// Logs in once, at the first host that accepts a connection. Also returns the connection's local address, which the server
/// sees if there is no NAT, and the server's address; `None` if there was no connection.
pub(super) async fn attempt(login: &Login<'_>) -> (Outcome, Option<IpAddr>, Option<IpAddr>) {
    let stream = match verify::connect_in_turns(login.hosts, login.port).await {
        Ok(stream) => stream,
        Err(why) => return (Outcome::Unreachable(why), None, None),
    };
    let from = stream.local_addr().ok().map(|address| address.ip());
    let to = stream.peer_addr().ok().map(|address| address.ip());
    let outcome = match timeout(LIMIT, log_in(login, stream)).await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::Unreachable(
            "the server accepts the connection, but does not answer".to_owned(),
        ),
    };
    (outcome, from, to)
}

async fn log_in(login: &Login<'_>, stream: TcpStream) -> Outcome {
    let budget = Budget::few();
    let reason = Reason::default();
    let connector = match connector(login, &budget, &reason) {
        Ok(connector) => connector,
        Err(error) => return Outcome::Tls(tls_error_text(&error)),
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
            // Tells the server that the session ends.
            drop(client);
            let _ = connection.await;
            Outcome::LoggedIn
        }
        // tokio-postgres reports an exceeded limit only as a closed connection.
        Err(_) if budget.is_exceeded() => Outcome::TooMuch,
        Err(error) => match (reason.take(), explain(&error)) {
            (Some(distrust), _) => Outcome::Untrusted(distrust),
            (None, Outcome::ConnectionLost(why)) if !reason.has_seen_one() => {
                Outcome::NoCertificate(why)
            }
            (None, Outcome::Alert(alert)) if !reason.has_seen_one() => {
                Outcome::NoCertificate(format!("alert {}", verify::alert_name(alert)))
            }
            (None, outcome) => outcome,
        },
    }
}

/// A TLS error as text. rustls' message for a bad certificate contains the certificate's bytes. [`LikeLibpq`] records distrust
/// itself, so what is left of `InvalidCertificate` is a wrong signature in the handshake.
fn tls_error_text(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(_) => {
            "the server does not prove that it has its certificate's key".to_owned()
        }
        rustls::Error::InvalidMessage(rustls::InvalidMessage::HandshakePayloadTooLarge) => {
            "one message of the server's handshake has more than 64 KiB: ssl_cert_file or ssl_ca_file has far too many certificates"
                .to_owned()
        }
        error => shown(&error.to_string()),
    }
}

async fn replicate(login: &Login<'_>, mut stream: TcpStream, connector: Connector) -> Outcome {
    match replication::ask_for_tls(&mut stream).await {
        Ok(true) => {}
        Ok(false) => return Outcome::Plaintext,
        Err(error) => return Outcome::ConnectionLost(shown(&error.to_string())),
    }
    let Connector { config, name, .. } = connector;
    match tokio_rustls::TlsConnector::from(config).connect(name, stream).await {
        Ok(stream) => match replication::log_in(stream, login.role).await {
            Ok(Answer::Welcome) => Outcome::LoggedIn,
            Ok(Answer::Password) => Outcome::Password,
            Ok(Answer::OtherMethod) => Outcome::OtherMethod,
            Ok(Answer::Refused { code, text }) => Outcome::LoginRefused { code, text },
            Ok(Answer::TooMuch) => Outcome::TooMuch,
            Err(error) => Outcome::ConnectionLost(shown(&error.to_string())),
        },
        Err(error) => match verify::alert(&error) {
            Some(alert) => outcome_of_alert(alert),
            None => Outcome::ConnectionLost(shown(&error.to_string())),
        },
    }
}

fn outcome_of_alert(alert: AlertDescription) -> Outcome {
    if alert == verify::WRONG_CURVE {
        return Outcome::WrongCurve;
    }
    Outcome::Alert(alert)
}

fn explain(error: &tokio_postgres::Error) -> Outcome {
    if let Some(refused) = error.as_db_error() {
        return Outcome::LoginRefused {
            code: refused.code().code().to_owned(),
            text: shown(refused.message()),
        };
    }
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let tls = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(rustls::Error::AlertReceived(alert)) => return outcome_of_alert(*alert),
            Some(error) => return Outcome::Tls(tls_error_text(error)),
            None => {}
        }
        // tokio-postgres has no public kinds for these, so the message decides.
        match cause.to_string().as_str() {
            "server does not support TLS" => return Outcome::Plaintext,
            "password missing" => return Outcome::Password,
            "unsupported authentication method" | "unsupported SASL mechanism" => {
                return Outcome::OtherMethod;
            }
            _ => {}
        }
        source = cause.source();
    }
    Outcome::ConnectionLost(shown(&error.to_string()))
}

fn connector(
    login: &Login<'_>,
    budget: &Arc<Budget>,
    reason: &Reason,
) -> Result<Connector, rustls::Error> {
    let chain =
        login.material.chain().map(|link| CertificateDer::from(link.der().to_vec())).collect();
    let key = PrivatePkcs8KeyDer::from(login.material.key().expose().to_vec());
    let provider = verify::provider();
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
        .map_err(|_| rustls::Error::General(format!("{:?} is not a host name", login.name)))?;
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

/// tokio-rustls' stream, with the traits that tokio-postgres needs.
struct Stream(Limited<tokio_rustls::client::TlsStream<TcpStream>>);

impl TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        // It is only used for SCRAM, and there is no password.
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

    /// A server that does a handshake, and then sends the same bytes again and again; returns how many bytes it could send.
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
