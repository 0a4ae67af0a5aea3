//! The requests, and their answers.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::channel::Channel;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

use super::objects::Refused;
use super::{Fault, Shared};

/// As the Go library of a real API server has it.
const MOST_STREAMS: u32 = 100;

type Body = BoxBody<Bytes, Infallible>;

/// Serves every connection.
pub(super) async fn serve(
    listener: std::net::TcpListener,
    acceptor: TlsAcceptor,
    shared: Arc<Shared>,
) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(|request| answer(Arc::clone(&shared), request));
            drop(
                Builder::new(TokioExecutor::new())
                    .max_concurrent_streams(MOST_STREAMS)
                    .serve_connection(TokioIo::new(stream), service)
                    .await,
            );
        });
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let path = head.uri.path().to_owned();
    let query: HashMap<String, String> = head
        .uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.replace("%3D", "=")))
        .collect();
    let token =
        head.headers.get("authorization").and_then(|it| it.to_str().ok()).unwrap_or_default();
    let fault = {
        let mut state = shared.state();
        if !query.contains_key("watch") {
            state.requests.push(format!("{} {path}", head.method));
        }
        if token != format!("Bearer {}", state.token) {
            return Ok(refused((401, "Unauthorized", "Unauthorized".to_owned())));
        }
        state.fault
    };
    match fault {
        Fault::Silent => std::future::pending().await,
        Fault::Leases(code) if path.contains("/leases") => {
            return Ok(refused((code, "", "as the test says".to_owned())));
        }
        Fault::Watches(code) if query.contains_key("watch") => {
            return Ok(refused((code, "", "as the test says".to_owned())));
        }
        Fault::Status(code) => return Ok(refused((code, "", "as the test says".to_owned()))),
        Fault::Garbage => return Ok(whole(200, "<html>no</html>")),
        Fault::Endless => return Ok(endless("x".repeat(60_000))),
        _ => {}
    }
    if path.ends_with("selfsubjectaccessreviews") {
        let is_of_watch = body["spec"]["resourceAttributes"]["verb"] == "watch";
        let is_denied = fault == Fault::Forbidden || (fault == Fault::Watches(403) && is_of_watch);
        let answer = json!({ "status": { "allowed": !is_denied } });
        return Ok(whole(201, &answer.to_string()));
    }
    if path.ends_with("selfsubjectreviews") {
        let user = json!({ "username": "system:serviceaccount:own:publisher" });
        return Ok(whole(201, &json!({ "status": { "userInfo": user } }).to_string()));
    }
    if fault == Fault::Forbidden {
        return Ok(refused((403, "Forbidden", format!("{path} is forbidden"))));
    }
    if let Fault::Headers(size) = fault {
        return Ok(with_header(size));
    }
    if let Fault::Bodies(texts) = fault
        && head.method == Method::GET
        && let Some(number) = number(&path, &query)
        && let Some(text) = texts.get(number)
    {
        return Ok(if query.contains_key("watch") {
            unended(&text[..100_000])
        } else {
            whole(200, text)
        });
    }
    if query.contains_key("watch") {
        if fault == Fault::Flood {
            let event =
                json!({ "type": "MODIFIED", "object": { "metadata": { "resourceVersion": "1" } } });
            return Ok(endless(format!("{event}\n")));
        }
        return Ok(watch(&shared, &path, &query, fault == Fault::LongEvent));
    }
    let mut state = shared.state();
    let found = |object: Option<&Value>| {
        object.cloned().ok_or_else(|| (404, "NotFound", "not found".to_owned()))
    };
    let done = match head.method {
        Method::GET => found(state.objects.get(&path)),
        Method::PATCH if matches!(fault, Fault::Name(name) if path.ends_with(name)) => {
            Err((422, "Invalid", "as the test says".to_owned()))
        }
        Method::PATCH => {
            let manager = query.get("fieldManager").cloned().unwrap_or_default();
            state.apply(&shared, &path, &manager, &body)
        }
        Method::POST => {
            let name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            state.lease(&shared, &format!("{path}/{name}"), body)
        }
        Method::PUT => state.lease(&shared, &path, body),
        _ => Err((405, "MethodNotAllowed", String::new())),
    };
    Ok(match done {
        Ok(object) => whole(200, &object.to_string()),
        Err(refusal) => refused(refusal),
    })
}

fn watch(
    shared: &Arc<Shared>,
    list: &str,
    query: &HashMap<String, String>,
    is_long: bool,
) -> Response<Body> {
    let name = query.get("fieldSelector").and_then(|it| it.strip_prefix("metadata.name="));
    let path = format!("{list}/{}", name.unwrap_or_default());
    let mut events = shared.events.subscribe();
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(8);
    let since = query.get("resourceVersion").cloned();
    let present = shared.state().objects.get(&path).cloned();
    // It was deleted since.
    let is_gone = present.is_none() && since.is_some();
    let present =
        present.filter(|it| since.is_none_or(|since| it["metadata"]["resourceVersion"] != since));
    tokio::spawn(async move {
        let line = |event: &Value| Bytes::from(format!("{event}\n"));
        if is_long {
            let filler = json!({ "type": "MODIFIED", "object": { "more": "x".repeat(2 << 20) } });
            if sender.send_data(line(&filler)).await.is_err() {
                return;
            }
        }
        if let Some(object) = present {
            let event = json!({ "type": "ADDED", "object": { "metadata": object["metadata"] } });
            if sender.send_data(line(&event)).await.is_err() {
                return;
            }
        }
        if is_gone {
            let event = json!({ "type": "DELETED", "object": { "metadata": {} } });
            if sender.send_data(line(&event)).await.is_err() {
                return;
            }
        }
        while let Ok((of, event)) = events.recv().await {
            if of == path && sender.send_data(line(&event)).await.is_err() {
                return;
            }
        }
    });
    Response::new(body.boxed())
}

fn endless(part: String) -> Response<Body> {
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(8);
    tokio::spawn(async move { while sender.send_data(Bytes::from(part.clone())).await.is_ok() {} });
    Response::new(body.boxed())
}

/// An answer with a header of that many bytes.
fn with_header(size: usize) -> Response<Body> {
    let mut response = whole(200, "{}");
    let value = hyper::header::HeaderValue::from_str(&"x".repeat(size)).unwrap();
    response.headers_mut().insert("x-long", value);
    response
}

/// The number of a Secret that is called `s` and a number.
fn number(path: &str, query: &HashMap<String, String>) -> Option<usize> {
    let selected = query.get("fieldSelector").and_then(|it| it.strip_prefix("metadata.name="));
    let name = selected.or_else(|| path.split_once("/secrets/").map(|(_, name)| name))?;
    name.strip_prefix('s')?.parse().ok()
}

/// The text, and then nothing.
fn unended(text: &'static str) -> Response<Body> {
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(8);
    tokio::spawn(async move {
        if sender.send_data(Bytes::from_static(text.as_bytes())).await.is_ok() {
            std::future::pending::<()>().await;
        }
    });
    Response::new(body.boxed())
}

fn refused((code, reason, message): Refused) -> Response<Body> {
    let causes = if code == 422 { json!([{ "reason": "FieldValueTooLong" }]) } else { json!([]) };
    let status = json!({
        "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message,
        "details": { "kind": "secrets", "causes": causes },
    });
    whole(code, &status.to_string())
}

fn whole(code: u16, text: &str) -> Response<Body> {
    let body = Full::new(Bytes::from(text.to_owned())).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = hyper::StatusCode::from_u16(code).unwrap();
    response
}
