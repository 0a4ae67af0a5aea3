//! One login: TLS, with the checks of `sslmode` on the server's name and chain, and the start-up message.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, ClientConfig, SignatureScheme, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::direct::{self, Unable};
use super::distrust::{Distrust, LikeLibpq, Reason};
use super::start_up::{self, Answer, Refusal, Session};
use crate::verify::{self, ALPN, Client};
use pgsvid_base::text::shown;
use pgsvid_material::Certificate;

/// Longest time for a login, from the open TCP connection on.
const LIMIT: Duration = Duration::from_secs(5);

/// The role to log in as, and what to expect of the server.
#[derive(Debug, Clone)]
pub struct Login<'a> {
    /// The name that the server's certificate must have, or its address; also sent to the server, if it is a name (SNI).
    pub name: &'a str,
    /// What is compared with the certificate.
    pub verify: Verify,
    /// How TLS begins.
    pub negotiation: Negotiation,
    /// The versions of TLS.
    pub versions: Versions,
    /// The role.
    pub role: &'a str,
    /// The database.
    pub database: &'a str,
    /// Whether it is for replication, which uses no database.
    pub replication: bool,
    /// The name of the session, for the server's administrators.
    pub application_name: &'a str,
    /// Further parameters of the session.
    pub parameters: &'a [(String, String)],
    /// The authorities of which the server's certificate must be.
    pub authorities: &'a [Certificate],
    /// The certificate to show, with its key; `None` for a client without one.
    pub client: Option<&'a Client>,
}

/// The checks of an `sslmode` on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// `verify-full`: chain and name.
    Full,
    /// `verify-ca`, and `require` where there is an `sslrootcert`: the chain.
    Chain,
}

/// How TLS begins (`sslnegotiation`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Negotiation {
    /// With an SSLRequest.
    Request,
    /// With the handshake, as PostgreSQL 17 and later allow.
    Direct,
}

/// Versions of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// TLS 1.2 and 1.3.
    Both,
    /// TLS 1.2 only.
    Tls12,
    /// TLS 1.3 only.
    Tls13,
}

impl Versions {
    fn supported(self) -> Vec<&'static SupportedProtocolVersion> {
        match self {
            Self::Both => vec![&TLS13, &TLS12],
            Self::Tls12 => vec![&TLS12],
            Self::Tls13 => vec![&TLS13],
        }
    }
}

/// The result of one login.
#[derive(Debug)]
pub enum Outcome {
    /// No server answered.
    Unreachable(String),
    /// The server has TLS turned off.
    Plaintext,
    /// The server answers the request for TLS with an error: it starts, or has no more processes.
    Busy,
    /// The server's certificate is not trusted.
    Untrusted(Distrust),
    /// TLS failed for another reason.
    Tls(String),
    /// The server ended the handshake before it showed a certificate, with this alert if it sent one, and in words.
    NoCertificate(Option<AlertDescription>, String),
    /// The server answers a handshake without SSLRequest, but does not confirm PostgreSQL's protocol in it.
    NoDirectTls,
    /// The server refused the client certificate, with this alert.
    Alert(AlertDescription),
    /// The server refused the curve of the client's key.
    WrongCurve,
    /// The connection ended, or the login failed in a way that has no variant of its own: the text says how.
    ConnectionLost(String),
    /// The server refused the role, the database, or both.
    LoginRefused(Refusal),
    /// The server asks for a password, in addition to the certificate or instead of it.
    Password,
    /// It asks for something else, such as GSSAPI or OAuth.
    OtherMethod,
    /// The server sent more than a PostgreSQL does at a login.
    TooMuch,
    /// The login succeeded, and the session was closed.
    LoggedIn(Session),
}

/// Logs in once, at the first host that accepts a connection. Also returns the connection's local address, which the server
/// sees if there is no NAT, and the server's address; `None` if there was no connection.
pub async fn attempt(
    (hosts, port): (&[String], u16),
    login: &Login<'_>,
) -> (Outcome, Option<IpAddr>, Option<IpAddr>) {
    let stream = match verify::connect_in_turns(hosts, port).await {
        Ok(stream) => stream,
        Err(why) => return (Outcome::Unreachable(why), None, None),
    };
    let from = stream.local_addr().ok().map(|address| address.ip());
    let to = stream.peer_addr().ok().map(|address| address.ip());
    let outcome = match timeout(LIMIT, over(stream, login)).await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::Unreachable(
            "the server accepts the connection, but does not answer".to_owned(),
        ),
    };
    (outcome, from, to)
}

/// Logs in over an open connection. It has no limit of time.
pub async fn over<S>(stream: S, login: &Login<'_>) -> Outcome
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match enter(stream, login).await {
        Ok((stream, session)) => {
            start_up::leave(stream).await;
            Outcome::LoggedIn(session)
        }
        Err(outcome) => outcome,
    }
}

/// Logs in over an open connection, and leaves the session open. It has no limit of time.
pub(super) async fn enter<S>(
    mut stream: S,
    login: &Login<'_>,
) -> Result<(TlsStream<S>, Session), Outcome>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if login.negotiation == Negotiation::Request {
        match direct::request(&mut stream).await {
            Ok(()) => {}
            Err(Unable::Plaintext) => return Err(Outcome::Plaintext),
            Err(Unable::Error) => return Err(Outcome::Busy),
            Err(Unable::Foreign(why)) => return Err(Outcome::Tls(why.to_owned())),
            Err(Unable::Io(error)) => return Err(Outcome::NoCertificate(None, explain(&error))),
        }
    }
    let (reason, asked) = (Reason::default(), Arc::new(AtomicBool::new(false)));
    let (config, name) = match prepare(login, &reason, &asked) {
        Ok(prepared) => prepared,
        Err(error) => return Err(Outcome::Tls(tls_error_text(&error))),
    };
    let mut stream = match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
        Ok(stream) => stream,
        Err(error) => return Err(failed(&error, &reason)),
    };
    if login.negotiation == Negotiation::Direct && stream.get_ref().1.alpn_protocol() != Some(ALPN)
    {
        return Err(Outcome::NoDirectTls);
    }
    let database =
        if login.replication { ("replication", "true") } else { ("database", login.database) };
    let own = [("user", login.role), database, ("application_name", login.application_name)];
    let more = login.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    match start_up::enter(&mut stream, own.into_iter().chain(more)).await {
        Ok(Answer::Welcome(session)) => {
            let certificate_asked = asked.load(Ordering::Relaxed);
            Ok((stream, Session { certificate_asked, ..session }))
        }
        Ok(Answer::Password) => Err(Outcome::Password),
        Ok(Answer::OtherMethod) => Err(Outcome::OtherMethod),
        Ok(Answer::Refused(refusal)) => Err(Outcome::LoginRefused(refusal)),
        Ok(Answer::TooMuch) => Err(Outcome::TooMuch),
        Err(error) => Err(failed(&error, &reason)),
    }
}

/// The result of a failed handshake, or of a start-up message that was not answered.
fn failed(error: &io::Error, reason: &Reason) -> Outcome {
    if let Some(distrust) = reason.take() {
        return Outcome::Untrusted(distrust);
    }
    let has_seen_one = reason.has_seen_one();
    match rustls_error(error) {
        Some(rustls::Error::AlertReceived(alert)) if !has_seen_one => {
            Outcome::NoCertificate(Some(*alert), format!("alert {}", verify::alert_name(*alert)))
        }
        Some(rustls::Error::AlertReceived(verify::WRONG_CURVE)) => Outcome::WrongCurve,
        Some(rustls::Error::AlertReceived(alert)) => Outcome::Alert(*alert),
        Some(error) => Outcome::Tls(tls_error_text(error)),
        None if has_seen_one => Outcome::ConnectionLost(explain(error)),
        None => Outcome::NoCertificate(None, explain(error)),
    }
}

fn rustls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

pub(super) fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the server ended the connection".to_owned(),
        _ => shown(&error.to_string()),
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

fn prepare(
    login: &Login<'_>,
    reason: &Reason,
    asked: &Arc<AtomicBool>,
) -> Result<(ClientConfig, ServerName<'static>), rustls::Error> {
    let provider = verify::provider();
    let verifier = LikeLibpq {
        authorities: login.authorities.to_vec(),
        host: (login.verify == Verify::Full).then(|| login.name.to_owned()),
        algorithms: provider.signature_verification_algorithms,
        reason: reason.clone(),
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&login.versions.supported())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match login.client {
        Some(client) => config.with_client_cert_resolver(Arc::new(Shown {
            key: client.certified(),
            asked: Arc::clone(asked),
        })),
        None => config.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    if login.negotiation == Negotiation::Direct {
        config.alpn_protocols = vec![ALPN.to_vec()];
    }
    let name = match ServerName::try_from(login.name.to_owned()) {
        Ok(name) => name,
        // libpq sends no name then, and only looks at the chain.
        Err(_) if login.verify == Verify::Chain => {
            ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into())
        }
        Err(_) => {
            let why = format!("{:?} is not a host name", login.name);
            return Err(rustls::Error::General(why));
        }
    };
    Ok((config, name))
}

/// Shows the certificate to every server that asks for one, whichever authorities it names.
#[derive(Debug)]
struct Shown {
    key: Arc<CertifiedKey>,
    /// Becomes true when the server asks.
    asked: Arc<AtomicBool>,
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        Some(Arc::clone(&self.key))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use dev_agent::{Authority, Entry, Svid};
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;
    use zeroize::Zeroizing;

    use super::*;
    use crate::login::start_up::tests::packet;
    use crate::verify::test_server::accepted;
    use pgsvid_base::timing;
    use pgsvid_material::{Expectations, Material, Offer};

    /// A server that does a handshake, and then sends the same bytes again and again; returns how many bytes it could send.
    async fn talk(listener: TcpListener, svid: Svid, words: Vec<u8>) -> usize {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = accepted(stream, svid).await;
        stream.write_all(&packet(b'R', &[0; 4])).await.unwrap();
        let mut count = 0;
        while stream.write_all(&words).await.is_ok() {
            count += words.len();
        }
        count
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
            packet(b'N', b"SNOTICE\0\0").repeat(1000),
            packet(b'S', &[b"a\0", &[b'x'; 9000][..], b"\0"].concat()),
            [&[b'E', 0x7f, 0xff, 0xff, 0xff][..], &vec![b'x'; 60_000]].concat(),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = tokio::spawn(talk(listener, svid.clone(), words));
            let hosts = ["127.0.0.1".to_owned()];
            let authorities: Vec<Certificate> = material.authorities().cloned().collect();
            let client = Client::unchecked(&material);
            let login = Login {
                name: "localhost",
                verify: Verify::Full,
                negotiation: Negotiation::Request,
                versions: Versions::Both,
                role: "app",
                database: "postgres",
                replication: false,
                application_name: "test",
                parameters: &[],
                authorities: &authorities,
                client: client.as_ref(),
            };
            let (outcome, ..) = attempt((&hosts, port), &login).await;
            assert!(matches!(outcome, Outcome::TooMuch), "{outcome:?}");
            // The rest is in the kernel's buffers.
            let count = server.await.unwrap();
            assert!(count < 16 * 1024 * 1024, "{count}");
        }
    }
}
