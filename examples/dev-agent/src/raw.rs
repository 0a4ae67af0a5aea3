//! Streams of bytes that no encoder has made: the answer is given before tonic's own service sees the request.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body::Frame;
use tokio_util::either::Either;
use tonic::body::Body;
use tonic::codegen::{Bytes, Service, http};
use tonic::server::NamedService;

use crate::misbehave::{Misbehaviour, Occasion};
use crate::shared::Shared;

/// As much as a frame of HTTP/2 may hold unless more was agreed upon.
const PIECE: usize = 16 * 1024;

/// A service, with streams of bytes in its place when the agent misbehaves so.
#[derive(Clone)]
pub(crate) struct Raw<S> {
    pub(crate) service: S,
    pub(crate) shared: Arc<Shared>,
}

impl<S: NamedService> NamedService for Raw<S> {
    const NAME: &'static str = S::NAME;
}

type Answer = http::Response<Body>;

impl<S> Service<http::Request<Body>> for Raw<S>
where
    S: Service<http::Request<Body>, Response = Answer, Error = Infallible>,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = Either<Ready<Result<Answer, Infallible>>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let (bytes, again) = match self.shared.script().next(Occasion::Request) {
            Some(Misbehaviour::Bytes(bytes)) => (bytes, false),
            Some(Misbehaviour::Flood(bytes)) => (bytes, true),
            _ => return Either::Right(self.service.call(request)),
        };
        self.shared.recorder.record(|activity| activity.requests += 1);
        let (all, shared) = (Bytes::from(bytes), Arc::clone(&self.shared));
        let mut answer = Answer::new(Body::new(Stream { left: all.clone(), all, again, shared }));
        let kind = http::HeaderValue::from_static("application/grpc");
        answer.headers_mut().insert(http::header::CONTENT_TYPE, kind);
        Either::Left(ready(Ok(answer)))
    }
}

struct Stream {
    all: Bytes,
    left: Bytes,
    again: bool,
    shared: Arc<Shared>,
}

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left.is_empty() {
            if !self.again {
                return Poll::Pending;
            }
            self.left = self.all.clone();
        }
        let size = self.left.len().min(PIECE);
        let piece = self.left.split_to(size);
        if self.left.is_empty() {
            self.shared.recorder.record(|activity| activity.messages += 1);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}
