//! A server for tests: it answers the request for TLS, and does the handshake.

use std::sync::Arc;

use dev_agent::Svid;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Serves this SVID over the connection.
pub(crate) async fn accepted<S>(mut stream: S, svid: Svid) -> TlsStream<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let chain = svid.chain.into_iter().map(CertificateDer::from).collect();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivatePkcs8KeyDer::from(svid.key).into())
        .unwrap();
    stream.read_exact(&mut [0; 8]).await.unwrap();
    stream.write_all(b"S").await.unwrap();
    TlsAcceptor::from(Arc::new(config)).accept(stream).await.unwrap()
}
