//! A TLS server that does what it is told, honest or not.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf,
};
use tokio_rustls::TlsAcceptor;

use super::super::edits::Choices;
use super::super::seeds::SEEDS;

const MOST_EDITS: usize = 16;
/// Most names of authorities that are asked for.
const MOST_NAMES: usize = 40;

static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));

/// What a server shows, and what becomes of it on its way.
pub struct Server {
    pub chain: Vec<Vec<u8>>,
    /// DER names of the authorities whose certificates it asks for, if it asks for any.
    pub asks_for: Option<Vec<Vec<u8>>>,
    key: Arc<dyn SigningKey>,
    old_protocol: bool,
    /// Places in what it sends, and what is done to the byte there.
    tampering: Vec<(usize, u8)>,
    /// After so many bytes nothing of it arrives any more.
    cut: Option<usize>,
    says_goodbye: bool,
    edited: bool,
}

impl Server {
    pub fn new(choices: &mut Choices<'_>) -> Self {
        let shape = choices.byte();
        let has = |bit: u8| shape & 1 << bit != 0;
        let signed = if has(0) { &SEEDS.lower_leaf } else { &SEEDS.leaf };
        let mut leaf = signed.to_be_signed();
        let mut other = SEEDS.intermediate.der.clone();
        let mut name = vec![0x30, 0x00];
        let mut names = usize::from(has(1));
        let (mut tampering, mut cut, mut edits) = (Vec::new(), None, 0);
        while !choices.is_empty() && edits < MOST_EDITS {
            edits += 1;
            match choices.byte() % 6 {
                0 => choices.edit().apply(&mut leaf),
                1 => choices.edit().apply(&mut other),
                2 => choices.edit().apply(&mut name),
                3 => tampering.push((choices.number() % 4096, choices.byte().max(1))),
                4 => cut = Some(choices.number() % 4096),
                _ => names = choices.number() % MOST_NAMES,
            }
        }
        // rustls asserts that its own server sends no such thing: two octets hold the length.
        name.truncate(1000);
        other.truncate(20_000);
        leaf.truncate(20_000);
        // A name of nothing is none in the protocol either.
        let names = if name.is_empty() { 0 } else { names };
        let whose = if has(2) { &SEEDS.root } else { signed };
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(whose.key.as_slice()));
        Self {
            chain: if has(3) {
                vec![signed.signed_anew(&leaf), other]
            } else {
                vec![signed.signed_anew(&leaf)]
            },
            asks_for: has(4).then(|| vec![name; names]),
            key: rustls::crypto::ring::sign::any_supported_type(&key).unwrap(),
            old_protocol: has(5),
            tampering,
            cut,
            says_goodbye: has(6),
            edited: edits > 0,
        }
    }

    /// Whether everything is as it should be, so that there is no excuse for not believing it.
    pub fn is_honest(&self) -> bool {
        !self.edited && self.chain.first().is_some_and(|leaf| self.holds_the_key_of(leaf))
    }

    fn holds_the_key_of(&self, leaf: &[u8]) -> bool {
        pgsvid::material::Certificate::parse(leaf)
            .is_ok_and(|leaf| leaf.public_key() == self.public_key())
    }

    /// The SubjectPublicKeyInfo of the key that it signs with.
    pub fn public_key(&self) -> Vec<u8> {
        self.key.public_key().unwrap().to_vec()
    }

    pub async fn serve(&self, mut stream: DuplexStream) {
        let mut request = [0; 8];
        stream.read_exact(&mut request).await.expect("an SSLRequest");
        stream.write_all(b"S").await.expect("somebody who listens");
        let tampering = Tampering {
            stream,
            written: 0,
            places: self.tampering.clone(),
            cut: self.cut.unwrap_or(usize::MAX),
        };
        let accepted = TlsAcceptor::from(Arc::new(self.config())).accept(tampering).await;
        let Ok(mut stream) = accepted else { return };
        if self.says_goodbye {
            let _ = stream.read_to_end(&mut Vec::new()).await;
            let _ = stream.shutdown().await;
        }
    }

    fn config(&self) -> ServerConfig {
        let versions: &[&rustls::SupportedProtocolVersion] =
            if self.old_protocol { &[&rustls::version::TLS12] } else { &[&rustls::version::TLS13] };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&PROVIDER))
            .with_protocol_versions(versions)
            .unwrap();
        let chain = self.chain.iter().cloned().map(CertificateDer::from).collect();
        let shows = Arc::new(Shows(Arc::new(CertifiedKey::new(chain, Arc::clone(&self.key)))));
        match &self.asks_for {
            None => builder.with_no_client_auth().with_cert_resolver(shows),
            Some(names) => {
                let names = names.iter().cloned().map(DistinguishedName::from).collect();
                builder.with_client_cert_verifier(Arc::new(Asks(names))).with_cert_resolver(shows)
            }
        }
    }
}

/// The server's side of a connection, with its bytes changed on their way.
struct Tampering {
    stream: DuplexStream,
    written: usize,
    places: Vec<(usize, u8)>,
    cut: usize,
}

impl AsyncRead for Tampering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Tampering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let left = self.cut.saturating_sub(self.written);
        if left == 0 {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let mut bytes = bytes[..bytes.len().min(left)].to_vec();
        for (place, change) in &self.places {
            let byte = place.checked_sub(self.written).and_then(|at| bytes.get_mut(at));
            if let Some(byte) = byte {
                *byte ^= change;
            }
        }
        let written = std::task::ready!(Pin::new(&mut self.stream).poll_write(context, &bytes))?;
        self.written += written;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Asks for certificates of these authorities, and goes on without.
#[derive(Debug)]
struct Asks(Vec<DistinguishedName>);

impl ClientCertVerifier for Asks {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.0
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Err(Error::General("a probe has shown a certificate".to_owned()))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("a probe has signed".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("a probe has signed".to_owned()))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        PROVIDER.signature_verification_algorithms.supported_schemes()
    }
}
