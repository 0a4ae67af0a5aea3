//! Requests: each with the present token, over the open connection, or over a new one.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::answer::{self, LONGEST};
use super::connection::{Connection, Sender, connect};
use super::{Error, Settings};
use crate::files;

/// How long the server may take for an answer.
pub(super) const LIMIT: Duration = Duration::from_secs(10);
/// Largest token, in bytes.
const LARGEST_TOKEN: u64 = 64 * 1024;
const PROGRAM: &str = concat!("pgsvid/", env!("CARGO_PKG_VERSION"));

/// The API server, as pgsvid asks it.
pub struct Client {
    settings: Settings,
    open: Mutex<Option<Connection>>,
}

/// A request.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    /// Path and query, without the server's prefix.
    pub(super) path: &'a str,
    pub(super) accept: &'static str,
    pub(super) body: Option<(&'static str, Bytes)>,
}

pub(super) const JSON: &str = "application/json";

impl<'a> Ask<'a> {
    pub(super) fn get(path: &'a str) -> Self {
        Self { method: Method::GET, path, accept: JSON, body: None }
    }

    pub(super) fn send(method: Method, path: &'a str, kind: &'static str, body: &Value) -> Self {
        let body = Bytes::from(body.to_string());
        Self { method, path, accept: JSON, body: Some((kind, body)) }
    }
}

impl Client {
    /// Opens no connection yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, open: Mutex::default() }
    }

    /// How the server is reached.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The JSON of an answer.
    pub(super) async fn ask<T: DeserializeOwned>(&self, ask: &Ask<'_>) -> Result<T, Error> {
        let answer = async {
            let response = self.begin(ask).await?;
            let status = response.status().as_u16();
            if !(200..300).contains(&status) {
                let refusal = answer::refusal(status, response.into_body()).await?;
                return Err(Error::Refused(Box::new(refusal)));
            }
            answer::read(&answer::whole(response.into_body(), LONGEST).await?)
        };
        let answer = timeout(LIMIT * 2, answer).await.unwrap_or(Err(Error::Late(LIMIT * 2)));
        if answer.as_ref().is_err_and(Error::is_of_connection) {
            // It may be dead without a sign of it.
            self.close().await;
        }
        answer
    }

    /// Closes the connection. Its buffers, which have held answers, are freed, and so are all answers that are still awaited.
    pub async fn close(&self) {
        self.open.lock().await.take();
    }

    /// Sends a request, and returns the beginning of its answer. A request over a connection that has ended in the meantime is
    /// sent once more: each request may be repeated.
    pub(super) async fn begin(&self, ask: &Ask<'_>) -> Result<Response<Incoming>, Error> {
        let (sender, is_new) = self.sender().await?;
        match self.send(sender, ask).await {
            Err(Error::Unreachable(_)) if !is_new => {
                let (sender, _) = self.sender().await?;
                self.send(sender, ask).await
            }
            other => other,
        }
    }

    /// The open connection, or a new one, and which it is. There is one at a time: requests that need it at once wait for it.
    async fn sender(&self) -> Result<(Sender, bool), Error> {
        let mut open = self.open.lock().await;
        match &*open {
            Some(connection) if !connection.sender.is_closed() => {
                Ok((connection.sender.clone(), false))
            }
            _ => {
                let connection = open.insert(connect(&self.settings).await?);
                Ok((connection.sender.clone(), true))
            }
        }
    }

    async fn send(&self, mut sender: Sender, ask: &Ask<'_>) -> Result<Response<Incoming>, Error> {
        let request = self.request(ask)?;
        let sent = async {
            sender.ready().await?;
            sender.send_request(request).await
        };
        match timeout(LIMIT, sent).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(cause)) => Err(Error::unreachable(&answer::root(&cause))),
            Err(_) => Err(Error::Late(LIMIT)),
        }
    }

    fn request(&self, ask: &Ask<'_>) -> Result<Request<Full<Bytes>>, Error> {
        let Settings { server, .. } = &self.settings;
        let uri = format!("https://{}{}{}", server.authority(), server.prefix, ask.path);
        let mut request = Request::builder()
            .method(ask.method.clone())
            .uri(uri)
            .header(ACCEPT, ask.accept)
            .header(USER_AGENT, PROGRAM)
            .header(AUTHORIZATION, self.token()?);
        let mut body = Bytes::new();
        if let Some((kind, content)) = &ask.body {
            request = request.header(CONTENT_TYPE, *kind);
            body = content.clone();
        }
        request.body(Full::new(body)).map_err(|cause| Error::garbage(&cause))
    }

    /// The token is read for each request: the kubelet exchanges it while pgsvid runs.
    fn token(&self) -> Result<HeaderValue, Error> {
        let path = &self.settings.token_file;
        let wrong = |cause: &str| Error::File { path: path.clone(), cause: cause.to_owned() };
        let token = files::read(path, LARGEST_TOKEN).map_err(|cause| Error::file(path, &cause))?;
        let token = token.trim_ascii();
        if token.is_empty() {
            return Err(wrong("it is empty"));
        }
        let bearer = Zeroizing::new([&b"Bearer "[..], token].concat());
        let mut value = HeaderValue::from_bytes(&bearer).map_err(|_| wrong("it holds no token"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}
