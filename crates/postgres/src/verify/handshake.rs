//! The TLS handshake: accepts any certificate, proves that the server has its key, and records what was shown.
//!
//! The certificate is compared, not trusted, so no path is built. The handshake's signature is checked with the raw public
//! key: rustls's helpers refuse X.509 v1 certificates, and the aborted handshake would appear in the server's log.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Client, Reception, Served, provider};
use pgsvid_material::Certificate;

/// How many bytes after the handshake are read at most.
const LONGEST_FAREWELL: usize = 4096;
/// How long to wait for the server to close the connection.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why a handshake failed, and how far it had come.
pub(super) struct Failure {
    pub(super) error: io::Error,
    /// Whether the server had shown a certificate.
    pub(super) seen: bool,
    /// Whether the client certificate had been shown.
    pub(super) shown: bool,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self { error, seen: false, shown: false }
    }
}

/// Does the handshake, for this protocol (ALPN) if one is named. Closing the connection then shows what the server did with the
/// `client`'s certificate.
pub(super) async fn shake<S>(
    stream: S,
    client: Option<&Client>,
    protocol: Option<&[u8]>,
) -> Result<(Served, ShutdownAfterHandshake<S>), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let provider = provider();
    let notes = Arc::new(Notes {
        client: client.cloned(),
        has_shown: AtomicBool::default(),
        seen: Mutex::default(),
    });
    let verifier = KeyPossessionVerifier {
        algorithms: provider.signature_verification_algorithms,
        notes: Arc::clone(&notes),
    };
    let mut config = config(provider, verifier)?;
    config.client_auth_cert_resolver = Arc::clone(&notes) as Arc<dyn ResolvesClientCert>;
    config.resumption = Resumption::disabled();
    config.alpn_protocols.extend(protocol.map(<[u8]>::to_vec));
    // An IP address is not a name, so no SNI is sent: PostgreSQL has only one certificate.
    config.enable_sni = false;
    let name = ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into());

    let stream = match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
        Ok(stream) => stream,
        Err(error) => {
            let seen = notes.has_shown.load(Ordering::Relaxed);
            let shown = notes.take().is_some_and(|seen| seen.shown);
            return Err(Failure { error, seen, shown });
        }
    };
    let (_, session) = stream.get_ref();
    let (leaf, rest) = session
        .peer_certificates()
        .and_then(<[_]>::split_first)
        .ok_or_else(|| io::Error::other("the server has shown no certificate"))?;
    let leaf = Certificate::parse(leaf).map_err(io::Error::other)?;
    let rest = rest.iter().filter_map(|der| Certificate::parse(der).ok()).collect();
    let protocol = session.protocol_version().and_then(|version| version.as_str());
    let cipher = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    let seen = notes.take().unwrap_or_default();
    let served = Served {
        leaf,
        rest,
        authorities: seen.authorities,
        reception: Reception::NotShown,
        protocol: protocol.unwrap_or("unknown").to_owned(),
        cipher: cipher.unwrap_or("unknown").to_owned(),
    };
    Ok((served, ShutdownAfterHandshake { stream, shown: seen.shown }))
}

/// The end of a connection after a complete handshake.
pub(super) struct ShutdownAfterHandshake<S> {
    stream: TlsStream<S>,
    /// Whether the client certificate was shown.
    shown: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> ShutdownAfterHandshake<S> {
    /// Sends a request, and returns the answer until the server ends the connection, or `longest` bytes of it.
    pub(super) async fn request(mut self, request: &[u8], longest: u64) -> io::Result<Vec<u8>> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        let mut answer = Vec::new();
        let read = (&mut self.stream).take(longest).read_to_end(&mut answer).await;
        // Some servers end a connection without `close_notify`.
        if answer.is_empty() {
            read?;
        }
        let _ = self.stream.shutdown().await;
        Ok(answer)
    }

    /// Sends `close_notify` and waits for the server's: without either, PostgreSQL logs a lost connection. Stops waiting for
    /// a server that does not close, or does not stop sending. Returns what happened to the client certificate.
    pub(super) async fn say(self) -> Reception {
        let shown = self.shown;
        let unknown = if shown { Reception::Unknown } else { Reception::NotShown };
        let farewell =
            async { if shown { self.answer().await } else { self.end().await.map(|()| unknown) } };
        match timeout(FAREWELL, farewell).await {
            Ok(Ok(reception)) => reception,
            // The facts about the server are complete, so an error here changes nothing.
            Ok(Err(error)) => alert(&error).map_or(unknown, Reception::Refused),
            Err(_) => unknown,
        }
    }

    /// In TLS 1.3 the server checks the client certificate after the client has finished: it answers with its own
    /// `close_notify`, or with the alert of a refusal. (In TLS 1.2 a refusal ends the handshake.)
    async fn answer(mut self) -> io::Result<Reception> {
        self.stream.shutdown().await?;
        let mut buffer = [0; 512];
        let mut received = 0;
        while received < LONGEST_FAREWELL {
            match self.stream.read(&mut buffer).await? {
                0 => return Ok(Reception::Taken),
                more => received += more,
            }
        }
        Ok(Reception::Unknown)
    }

    /// Only the end of the remaining bytes matters: they are not decrypted.
    async fn end(mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        let (stream, _) = self.stream.into_inner();
        let mut rest = stream.take(LONGEST_FAREWELL as u64);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await.map(drop)
    }
}

/// The alert with which a server closed the connection.
#[must_use]
pub fn alert(error: &io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref() {
        Some(rustls::Error::AlertReceived(alert)) => Some(*alert),
        _ => None,
    }
}

/// Whether the server sent a larger message than is read.
#[must_use]
pub fn is_too_large(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let too_large = rustls::InvalidMessage::HandshakePayloadTooLarge;
    matches!(inner, Some(rustls::Error::InvalidMessage(found)) if *found == too_large)
}

/// Whether the server has answered with something else than TLS.
pub(super) fn is_no_tls(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let no_tls = rustls::InvalidMessage::InvalidContentType;
    matches!(inner, Some(rustls::Error::InvalidMessage(found)) if *found == no_tls)
}

fn config(
    provider: Arc<CryptoProvider>,
    verifier: KeyPossessionVerifier,
) -> io::Result<ClientConfig> {
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// Accepts any certificate whose key the server proves to have.
#[derive(Debug)]
struct KeyPossessionVerifier {
    algorithms: WebPkiSupportedAlgorithms,
    notes: Arc<Notes>,
}

impl KeyPossessionVerifier {
    fn check(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let malformed = || rustls::Error::from(CertificateError::BadEncoding);
        let certificate = Certificate::parse(certificate).map_err(|_| malformed())?;
        let key = SubjectPublicKeyInfoDer::from(certificate.public_key());
        let key = webpki::RawPublicKeyEntity::try_from(&key).map_err(|_| malformed())?;
        let (_, candidates) = self
            .algorithms
            .mapping
            .iter()
            .find(|(scheme, _)| *scheme == signed.scheme)
            .ok_or_else(malformed)?;
        // TLS 1.2 binds a scheme to a digest, but not to a curve.
        if candidates
            .iter()
            .any(|algorithm| key.verify_signature(*algorithm, message, signed.signature()).is_ok())
        {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(CertificateError::BadSignature.into())
        }
    }
}

impl ServerCertVerifier for KeyPossessionVerifier {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.notes.has_shown.store(true, Ordering::Relaxed);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.check(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.check(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Records which authorities the server accepts client certificates from, and provides the client certificate, if any.
#[derive(Debug)]
struct Notes {
    client: Option<Client>,
    /// The server has shown a certificate.
    has_shown: AtomicBool,
    /// What the server asked for; `None` if it did not ask.
    seen: Mutex<Option<Seen>>,
}

impl Notes {
    fn take(&self) -> Option<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The server's request for a certificate, and the answer.
#[derive(Debug, Default)]
struct Seen {
    authorities: Option<Vec<Vec<u8>>>,
    /// A certificate was given.
    shown: bool,
}

impl ResolvesClientCert for Notes {
    fn resolve(
        &self,
        root_hint_subjects: &[&[u8]],
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let names = root_hint_subjects.iter().map(|name| name.to_vec()).collect();
        // If the key supports none of the schemes, rustls sends none either.
        let client = self.client.as_ref().map(|client| &client.0);
        let client = client.filter(|client| client.key.choose_scheme(schemes).is_some());
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Seen { authorities: Some(names), shown: client.is_some() });
        client.cloned()
    }

    fn has_certs(&self) -> bool {
        // With `false` rustls would not call `resolve`, and the names of the authorities would be lost.
        true
    }
}
