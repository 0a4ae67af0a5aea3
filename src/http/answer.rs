//! Turns a request into its answer: a pure function of the status.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};

use super::page;
use crate::status::{Status, View, openmetrics};
use crate::timing;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
/// <https://prometheus.io/docs/specs/om/open_metrics_spec/>
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The browser loads and runs nothing, whatever text came from a server: only the page's own styles apply.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// The header, with its value, that identifies an answer of pgsvid's. A proxy would replace `Server`.
pub(super) const OURS: (&str, &str) = ("x-pgsvid", "1");

/// The answer to a request; the request's body is ignored.
pub(super) fn answer<B>(request: &Request<B>, status: Status) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refusal =
            response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n".to_owned());
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    let now = timing::now();
    match request.uri().path() {
        "/livez" => match status.pulse.stuck_at() {
            None => response(StatusCode::OK, TEXT, "alive\n".to_owned()),
            Some(what) => unavailable(format!("stuck while {what}")),
        },
        "/startupz" if status.has_started(now) => {
            response(StatusCode::OK, TEXT, "a valid set is published\n".to_owned())
        }
        "/startupz" => unavailable(format!("no valid set is published yet: {}", status.agent)),
        "/readyz" => readiness(&status, now),
        "/metrics" => response(StatusCode::OK, OPENMETRICS, openmetrics(status, now)),
        "/status" => match serde_json::to_string_pretty(&View::of(&status, now)) {
            Ok(text) => response(StatusCode::OK, JSON, text + "\n"),
            Err(error) => unavailable(error.to_string()),
        },
        "/" => response(StatusCode::OK, HTML, page::page(&View::of(&status, now))),
        _ => response(
            StatusCode::NOT_FOUND,
            TEXT,
            "the paths are / /livez /startupz /readyz /metrics /status\n".to_owned(),
        ),
    }
}

fn readiness(status: &Status, now: std::time::SystemTime) -> Response<Full<Bytes>> {
    let readiness = status.readiness(now);
    let lines = |word: &str, texts: &[String]| -> String {
        texts.iter().fold(String::new(), |lines, text| lines + word + ": " + text + "\n")
    };
    if readiness.is_ready() {
        let text = format!("ready\n{}", lines("degraded", &readiness.degraded));
        response(StatusCode::OK, TEXT, text)
    } else {
        let text = lines("missing", &readiness.missing) + &lines("degraded", &readiness.degraded);
        response(StatusCode::SERVICE_UNAVAILABLE, TEXT, text)
    }
}

fn unavailable(what: String) -> Response<Full<Bytes>> {
    response(StatusCode::SERVICE_UNAVAILABLE, TEXT, what + "\n")
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, POLICY),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(OURS.0, HeaderValue::from_static(OURS.1));
    response
}
