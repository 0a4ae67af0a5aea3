//! What a failed request means, and what to do about it. Pure.

use super::{Error, Settings};
use crate::finding::{Code, Finding};

/// The finding about a failed request. Its severity is a warning if waiting may be enough.
#[must_use]
pub fn explain(error: &Error, settings: &Settings) -> Finding {
    let server = &settings.server;
    let text = format!("the API server at {server} cannot be asked");
    let found = |code| {
        let found = if error.may_pass() {
            Finding::warning(code, text.as_str())
        } else {
            Finding::failure(code, text.as_str())
        };
        found.cause(error.to_string())
    };
    match error {
        Error::File { path, .. } => found(Code::KubernetesFileUnreadable)
            .about(path.display().to_string())
            .fix(
                "let pgsvid run in a pod with automountServiceAccountToken, or set kubernetes.token_file and kubernetes.ca_file to files \
                 that it may read",
            ),
        Error::Unresolved(_) => found(Code::KubernetesNameUnresolved).fix(
            "add an address for the name to /etc/hosts, or to the name servers of /etc/resolv.conf, which pgsvid asks over TCP (port 53); or set kubernetes.server to an address",
        ),
        Error::Unreachable(_) | Error::Late(_) => found(Code::KubernetesUnreachable).fix(
            "check that the API server runs, and that a NetworkPolicy lets this pod connect to it; pgsvid tries again by itself",
        ),
        Error::Untrusted(_) => found(Code::KubernetesUntrusted).fix(
            "set kubernetes.ca_file to the authority of the API server, and kubernetes.server to a name or address of its certificate",
        ),
        Error::TooLong(_) | Error::Garbage(_) => found(Code::KubernetesAnswerUnusable)
            .fix("find out what listens there, or what a proxy before it changes"),
        Error::Refused(refusal) if refusal.code == 401 => found(Code::KubernetesUnauthorized)
            .about(settings.token_file.display().to_string())
            .fix(
                "let the file hold a token that is valid now and for this API server: in a pod the kubelet renews it; pgsvid reads it for each \
                 request",
            ),
        Error::Refused(refusal) if error.may_pass() => {
            found(Code::KubernetesFailing).about(refusal.code.to_string())
        }
        Error::Refused(refusal) => found(Code::KubernetesAnswerUnusable)
            .about(refusal.code.to_string())
            .fix("find out what listens there, or what a proxy before it changes"),
    }
}
