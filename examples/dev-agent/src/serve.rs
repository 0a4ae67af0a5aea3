//! The Workload API's methods.

use std::io;
use std::sync::Arc;

use pgsvid_proto::spiffe_workload_api_server::{SpiffeWorkloadApi, SpiffeWorkloadApiServer};
use pgsvid_proto::{
    JwtBundlesRequest, JwtsvidRequest, JwtsvidResponse, SECURITY_HEADER, SECURITY_HEADER_VALUE,
    ValidateJwtsvidRequest, ValidateJwtsvidResponse, X509BundlesRequest, X509svidRequest,
};
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::connection;
use crate::jwt::JwtBundleStream;
use crate::raw::Raw;
use crate::renewal;
use crate::shared::Shared;
use crate::streams::{BundleStream, SvidStream};

/// Serves until it is asked to stop. The caller then drops the runtime, and with it everything
/// that is still open.
pub(crate) async fn serve(listener: UnixListener, shared: Arc<Shared>, stop: CancellationToken) {
    let (sender, receiver) = mpsc::unbounded_channel::<io::Result<_>>();
    tokio::spawn(connection::accept(listener, Arc::clone(&shared), sender));
    tokio::spawn(renewal::renew(Arc::clone(&shared)));
    let served = Server::builder()
        .add_service(Raw {
            service: SpiffeWorkloadApiServer::new(Api(Arc::clone(&shared))),
            shared,
        })
        .serve_with_incoming(UnboundedReceiverStream::new(receiver));
    tokio::select! {
        () = stop.cancelled() => {}
        // It ends only if the acceptor did, which it does not.
        _ = served => {}
    }
}

struct Api(Arc<Shared>);

impl Api {
    fn admit<T>(&self, request: &Request<T>) -> Result<(), Status> {
        self.0.recorder.record(|activity| activity.requests += 1);
        match request.metadata().get(SECURITY_HEADER) {
            Some(value) if value == SECURITY_HEADER_VALUE => Ok(()),
            _ => Err(Status::invalid_argument("security header missing from request")),
        }
    }

    /// Admits a request about JWT-SVIDs.
    fn admit_jwt<T>(&self, request: &Request<T>) -> Result<(), Status> {
        self.admit(request)?;
        if self.0.settings.has_jwt {
            Ok(())
        } else {
            Err(Status::unimplemented("this agent serves X.509-SVIDs only"))
        }
    }
}

#[tonic::async_trait]
impl SpiffeWorkloadApi for Api {
    type FetchX509SVIDStream = SvidStream;

    async fn fetch_x509svid(
        &self,
        request: Request<X509svidRequest>,
    ) -> Result<Response<SvidStream>, Status> {
        self.admit(&request)?;
        self.0.open_svids().map(Response::new)
    }

    type FetchX509BundlesStream = BundleStream;

    async fn fetch_x509_bundles(
        &self,
        request: Request<X509BundlesRequest>,
    ) -> Result<Response<BundleStream>, Status> {
        self.admit(&request)?;
        self.0.open_bundles().map(Response::new)
    }

    async fn fetch_jwtsvid(
        &self,
        request: Request<JwtsvidRequest>,
    ) -> Result<Response<JwtsvidResponse>, Status> {
        self.admit_jwt(&request)?;
        self.0.jwt_svids(request.get_ref()).map(Response::new)
    }

    type FetchJWTBundlesStream = JwtBundleStream;

    async fn fetch_jwt_bundles(
        &self,
        request: Request<JwtBundlesRequest>,
    ) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        self.admit_jwt(&request)?;
        self.0.open_jwt_bundles().map(Response::new)
    }

    async fn validate_jwtsvid(
        &self,
        request: Request<ValidateJwtsvidRequest>,
    ) -> Result<Response<ValidateJwtsvidResponse>, Status> {
        self.admit(&request)?;
        Err(Status::unimplemented("the development agent validates no tokens"))
    }
}
