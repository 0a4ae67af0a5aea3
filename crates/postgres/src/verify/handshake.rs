//! The TLS handshake: takes any certificate, proves that the server has its key, and notes what was shown.
//!
//! The certificate is compared, not trusted, so no path is built. The signature over the handshake is still
//! checked with the raw public key: rustls's helpers refuse X.509 v1 certificates, and the aborted handshake
//! would show in the server's log.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::ring::kx_group;
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

use super::{Client, Reception, Served};
use pgsvid_material::Certificate;

/// What the server's bytes beyond the handshake may amount to before we stop reading.
const LONGEST_FAREWELL: usize = 4096;
/// How long a server may take to end the connection.
const FAREWELL: Duration = Duration::from_secs(2);

/// Shakes hands. What is left to do is to say goodbye, by which it is seen what became of the `client`'s certificate.
pub(super) async fn shake<S>(stream: S, client: Option<&Client>) -> io::Result<(Served, Goodbye<S>)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let provider = Arc::new(provider());
    let notes = Arc::new(Notes { client: client.cloned(), seen: Mutex::default() });
    let verifier = Possession { algorithms: provider.signature_verification_algorithms };
    let mut config = config(provider, verifier)?;
    config.client_auth_cert_resolver = Arc::clone(&notes) as Arc<dyn ResolvesClientCert>;
    config.resumption = Resumption::disabled();
    // An address is no name, so none is sent: PostgreSQL has but one certificate.
    config.enable_sni = false;
    let name = ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into());

    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let (_, session) = stream.get_ref();
    let (leaf, rest) = session
        .peer_certificates()
        .and_then(<[_]>::split_first)
        .ok_or_else(|| io::Error::other("the server has shown no certificate"))?;
    let leaf = Certificate::parse(leaf).map_err(io::Error::other)?;
    let rest = rest.iter().filter_map(|der| Certificate::parse(der).ok()).collect();
    let protocol = session.protocol_version().and_then(|version| version.as_str());
    let cipher = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    let seen = notes.seen.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
    let served = Served {
        leaf,
        rest,
        authorities: seen.authorities,
        reception: Reception::NotShown,
        protocol: protocol.unwrap_or("unknown").to_owned(),
        cipher: cipher.unwrap_or("unknown").to_owned(),
    };
    Ok((served, Goodbye { stream, shown: seen.shown }))
}

/// The end of a connection over which hands were shaken.
pub(super) struct Goodbye<S> {
    stream: TlsStream<S>,
    /// A certificate of ours was shown.
    shown: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Goodbye<S> {
    /// Sends `close_notify` and waits until the server has answered: without either, PostgreSQL logs a lost connection. A
    /// server that does not end, or does not stop talking, is left to itself. Says what became of our certificate.
    pub(super) async fn say(self) -> Reception {
        let shown = self.shown;
        let unknown = if shown { Reception::Unknown } else { Reception::NotShown };
        let farewell =
            async { if shown { self.answer().await } else { self.end().await.map(|()| unknown) } };
        match timeout(FAREWELL, farewell).await {
            Ok(Ok(reception)) => reception,
            // What we know of the server we know by now, so an error here changes nothing of that.
            Ok(Err(error)) => alert(&error).map_or(unknown, Reception::Refused),
            Err(_) => unknown,
        }
    }

    /// In TLS 1.3 the server looks at our certificate after we are done: it answers with `close_notify` of its own, or with
    /// the alert of a refusal. (In TLS 1.2 a refusal ends the handshake.)
    async fn answer(mut self) -> io::Result<Reception> {
        self.stream.shutdown().await?;
        let mut buffer = [0; 512];
        let mut heard = 0;
        while heard < LONGEST_FAREWELL {
            match self.stream.read(&mut buffer).await? {
                0 => return Ok(Reception::Taken),
                more => heard += more,
            }
        }
        Ok(Reception::Unknown)
    }

    /// Of its last words only the end matters: they are not decrypted any more.
    async fn end(mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        let (stream, _) = self.stream.into_inner();
        let mut rest = stream.take(LONGEST_FAREWELL as u64);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await.map(drop)
    }
}

/// The alert by which a server has ended the connection.
pub(super) fn alert(error: &io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref() {
        Some(rustls::Error::AlertReceived(alert)) => Some(*alert),
        _ => None,
    }
}

/// PostgreSQL 15 prefers prime256v1 (`ssl_ecdh_curve`): offered first, it saves a round trip.
fn provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![kx_group::SECP256R1, kx_group::X25519, kx_group::SECP384R1],
        ..rustls::crypto::ring::default_provider()
    }
}

fn config(provider: Arc<CryptoProvider>, verifier: Possession) -> io::Result<ClientConfig> {
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// Takes any certificate whose key the server proves to have.
#[derive(Debug)]
struct Possession {
    algorithms: WebPkiSupportedAlgorithms,
}

impl Possession {
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

impl ServerCertVerifier for Possession {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
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

/// Notes whose client certificates the server asks for, and gives the one that there is.
#[derive(Debug)]
struct Notes {
    client: Option<Client>,
    /// What the server asked for; `None` if it asked for nothing.
    seen: Mutex<Option<Seen>>,
}

/// What came of the server's question for a certificate.
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
        // With no scheme that the key can sign by, rustls would give none either.
        let client = self.client.as_ref().map(|client| &client.0);
        let client = client.filter(|client| client.key.choose_scheme(schemes).is_some());
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Seen { authorities: Some(names), shown: client.is_some() });
        client.cloned()
    }

    fn has_certs(&self) -> bool {
        // With `false` rustls would not ask us, and we would not learn the names.
        true
    }
}
