//! The gRPC channel, and the stream over it: our own, so that connecting and keepalive have limits.

use std::error::Error as _;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use hyper_util::rt::TokioIo;
use pgsvid_proto::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use pgsvid_proto::{SECURITY_HEADER, SECURITY_HEADER_VALUE, X509svidRequest, X509svidResponse};
use tokio::net::{TcpStream, UnixStream};
use tonic::Streaming;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tower::service_fn;

use super::endpoint::Endpoint;
use super::error::Error;
use super::limits;

/// Opens the stream of X.509-SVIDs and waits for its first message, which is absent if the agent ends it in order.
/// The caller bounds the time.
pub(super) async fn open(
    endpoint: &Endpoint,
) -> Result<(Streaming<X509svidResponse>, Option<X509svidResponse>), Error> {
    let channel = connect(endpoint).await?;
    let mut client =
        SpiffeWorkloadApiClient::new(channel).max_decoding_message_size(limits::MESSAGE);
    let mut request = tonic::Request::new(X509svidRequest {});
    let value = MetadataValue::from_static(SECURITY_HEADER_VALUE);
    request.metadata_mut().insert(SECURITY_HEADER, value);
    let explain = |status: tonic::Status| Error::of(&status, endpoint);
    let response = client.fetch_x509svid(request).await;
    let mut stream = response.map_err(explain)?.into_inner();
    let first = stream.message().await.map_err(explain)?;
    Ok((stream, first))
}

/// Connects once; the caller bounds the time, and decides about the next try.
async fn connect(endpoint: &Endpoint) -> Result<Channel, Error> {
    // tonic wants an authority for the HTTP/2 requests; an agent ignores it.
    let builder = Channel::from_static("http://localhost")
        .http2_keep_alive_interval(limits::KEEPALIVE)
        .keep_alive_timeout(limits::KEEPALIVE_ANSWER)
        .keep_alive_while_idle(true);
    let connected = match endpoint.clone() {
        Endpoint::Unix(path) => {
            builder
                .connect_with_connector(service_fn(move |_| {
                    let path = path.clone();
                    async move { UnixStream::connect(path).await.map(TokioIo::new) }
                }))
                .await
        }
        Endpoint::Tcp(address) => {
            builder
                .connect_with_connector(service_fn(move |_| async move {
                    TcpStream::connect(address).await.map(TokioIo::new)
                }))
                .await
        }
    };
    connected.map_err(|error| explain(endpoint, &error))
}

/// tonic wraps what the kernel said; people want to read the kernel.
fn explain(endpoint: &Endpoint, error: &tonic::transport::Error) -> Error {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(cause) = cause.downcast_ref::<io::Error>() {
            return match (cause.kind(), endpoint) {
                (io::ErrorKind::NotFound, Endpoint::Unix(path)) => Error::NoSocket(path.clone()),
                (
                    io::ErrorKind::ConnectionRefused | io::ErrorKind::PermissionDenied,
                    Endpoint::Unix(path),
                ) if !is_socket(path) => Error::NotASocket(path.clone()),
                (io::ErrorKind::ConnectionRefused, _) => Error::Refused(endpoint.to_string()),
                (io::ErrorKind::PermissionDenied, _) => {
                    Error::Forbidden(endpoint.to_string(), rustix::process::geteuid().as_raw())
                }
                (kind, _) => Error::Connect(endpoint.to_string(), kind.into()),
            };
        }
        source = cause.source();
    }
    Error::NotGrpc(endpoint.to_string())
}

/// Whether there is a socket, as far as can be seen.
fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).map_or(true, |found| found.file_type().is_socket())
}
