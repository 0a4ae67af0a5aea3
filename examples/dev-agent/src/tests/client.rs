//! A workload, as tonic makes it.

use std::path::{Path, PathBuf};

use hyper_util::rt::TokioIo;
use pgsvid_proto::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use pgsvid_proto::{
    SECURITY_HEADER, SECURITY_HEADER_VALUE, X509svid, X509svidRequest, X509svidResponse,
};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status, Streaming};
use tower::service_fn;

use super::LIMIT;
use crate::DevAgent;

pub(super) type Client = SpiffeWorkloadApiClient<Channel>;

/// The X.509-SVID stream of one workload.
pub(super) struct Workload {
    stream: Streaming<X509svidResponse>,
}

pub(super) async fn connect(socket: &Path) -> Result<Client, tonic::transport::Error> {
    let socket = PathBuf::from(socket);
    let connector = service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let channel =
        Endpoint::from_static("http://localhost").connect_with_connector(connector).await?;
    Ok(SpiffeWorkloadApiClient::new(channel).max_decoding_message_size(64 << 20))
}

/// A request with the mandatory metadata.
pub(super) fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let value = SECURITY_HEADER_VALUE.parse().unwrap();
    request.metadata_mut().insert(SECURITY_HEADER, value);
    request
}

impl Workload {
    pub(super) async fn open(agent: &DevAgent) -> Result<Self, Status> {
        let begin = async {
            let mut client =
                connect(agent.socket()).await.map_err(|error| Status::from_error(error.into()))?;
            client.fetch_x509svid(request(X509svidRequest {})).await
        };
        let stream = timeout(LIMIT, begin).await.expect("no answer")?;
        Ok(Self { stream: stream.into_inner() })
    }

    /// The next message; `None` after a clean end.
    pub(super) async fn next(&mut self) -> Result<Option<X509svidResponse>, Status> {
        timeout(LIMIT, self.stream.message()).await.expect("no message")
    }

    /// The one SVID of the next message.
    pub(super) async fn svid(&mut self) -> X509svid {
        let mut message = self.next().await.unwrap().expect("the stream has ended");
        assert_eq!(message.svids.len(), 1);
        message.svids.remove(0)
    }

    /// Whether nothing arrives for a moment.
    pub(super) async fn is_silent(&mut self) -> bool {
        let moment = std::time::Duration::from_millis(100);
        timeout(moment, self.stream.message()).await.is_err()
    }
}
