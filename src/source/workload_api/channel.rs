//! The gRPC channel, and the stream over it. It is pgsvid's own, so that connecting and keepalive have time limits.

use std::error::Error as _;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use hyper_util::rt::TokioIo;
use pgsvid_proto::{SECURITY_HEADER, SECURITY_HEADER_VALUE};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::either::Either;
use tonic::Request;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tower::{ServiceExt as _, service_fn};
use zeroize::Zeroizing;

use super::allowance::{Allowance, Tasks};
use super::call::Call;
use super::codec::Uncoded;
use super::endpoint::Endpoint;
use super::error::{Contact, Error, LONGEST_SOCKET};
use super::fields::FewFields;
use super::messages::Messages;
use super::{foreign, limits};

/// Makes a call and waits for its first message; `None` if the agent ends the call normally. On the wire a call with one answer
/// is a stream of one message. The caller limits the time.
pub(super) async fn open(
    endpoint: &Endpoint,
    allowance: &Allowance,
    call: Call,
) -> Result<(Messages, Option<Zeroizing<Vec<u8>>>), Error> {
    let (tasks, guard) = Tasks::of(allowance);
    let channel = connect(endpoint, tasks).await?;
    // tonic turns any answer of a web server or a proxy into a gRPC status. These must not be taken for an agent's own statuses.
    let channel = channel.map_result(foreign::told_apart);
    let mut client = Grpc::new(channel).max_decoding_message_size(limits::MESSAGE);
    let failed = |status| Error::of(&status, endpoint, Contact::First);
    let unusable =
        |error: foreign::Failure| Error::Broken(endpoint.to_string(), format!("{error}"));
    client.ready().await.map_err(unusable)?;
    let mut request = Request::new(call.request);
    request
        .metadata_mut()
        .insert(SECURITY_HEADER, MetadataValue::from_static(SECURITY_HEADER_VALUE));
    let path = PathAndQuery::from_static(call.path);
    let response = client.server_streaming(request, path, Uncoded).await.map_err(failed)?;
    let mut messages = Messages::of(response, endpoint, guard);
    let first = messages.next().await?;
    Ok((messages, first))
}

/// Connects once. The caller limits the time, and decides about a retry.
async fn connect(endpoint: &Endpoint, tasks: Tasks) -> Result<Channel, Error> {
    // tonic needs an authority for the HTTP/2 requests; an agent ignores it.
    let builder = Channel::from_static("http://localhost")
        .http2_keep_alive_interval(limits::KEEPALIVE)
        .keep_alive_timeout(limits::KEEPALIVE_ANSWER)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(limits::WINDOW)
        .initial_connection_window_size(limits::WINDOW)
        .executor(tasks);
    let dialled = endpoint.clone();
    let connector = service_fn(move |_| {
        let endpoint = dialled.clone();
        async move { dial(endpoint).await.map(FewFields::new).map(TokioIo::new) }
    });
    let connected = builder.connect_with_connector(connector).await;
    connected.map_err(|error| explain(endpoint, &error))
}

async fn dial(endpoint: Endpoint) -> io::Result<Either<UnixStream, TcpStream>> {
    Ok(match endpoint {
        Endpoint::Unix(path) => Either::Left(UnixStream::connect(path).await?),
        Endpoint::Tcp(address) => Either::Right(TcpStream::connect(address).await?),
    })
}

/// Finds the kernel's error, which says what is wrong, within tonic's.
fn explain(endpoint: &Endpoint, error: &tonic::transport::Error) -> Error {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(cause) = cause.downcast_ref::<io::Error>() {
            return match (cause.kind(), endpoint) {
                (io::ErrorKind::NotFound, Endpoint::Unix(path)) => Error::NoSocket(path.clone()),
                (io::ErrorKind::InvalidInput, Endpoint::Unix(path))
                    if path.as_os_str().len() > LONGEST_SOCKET =>
                {
                    let length = path.as_os_str().len();
                    Error::PathTooLong { path: path.clone(), length }
                }
                (
                    io::ErrorKind::ConnectionRefused | io::ErrorKind::PermissionDenied,
                    Endpoint::Unix(path),
                ) if !is_socket(path) => Error::NotASocket(path.clone()),
                (io::ErrorKind::ConnectionRefused, _) => Error::Refused(endpoint.to_string()),
                (io::ErrorKind::PermissionDenied, _) => {
                    Error::Forbidden(endpoint.to_string(), rustix::process::geteuid().as_raw())
                }
                // Many of the kernel's errors, such as "too many open files", have no kind of their own.
                (kind, _) => Error::Connect(
                    endpoint.to_string(),
                    cause.raw_os_error().map_or(kind.into(), io::Error::from_raw_os_error),
                ),
            };
        }
        source = cause.source();
    }
    Error::NotGrpc(endpoint.to_string())
}

/// Whether the path is a socket, as far as this process can see.
fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).map_or(true, |found| found.file_type().is_socket())
}
