//! What pgsvid may do, and its name there: questions that every user of an API server may ask.

use hyper::Method;
use serde::Deserialize;
use serde_json::json;

use super::client::{Ask, JSON};
use super::{Client, Error, Subject};

/// A right on one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right<'a> {
    /// `get`, `patch` and so on.
    pub verb: &'a str,
    /// The group of the API; empty for Secrets.
    pub group: &'a str,
    /// `secrets` or `leases`.
    pub resource: &'a str,
    /// The namespace.
    pub namespace: &'a str,
    /// The object's name.
    pub name: &'a str,
}

/// The answer to [`Client::may`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It is granted.
    Granted,
    /// It is not.
    Denied,
}

#[derive(Deserialize)]
struct Reviewed {
    status: Allowed,
}

#[derive(Deserialize)]
struct Allowed {
    #[serde(default)]
    allowed: bool,
}

#[derive(Deserialize)]
struct SelfSubject {
    status: Known,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Known {
    user_info: UserInfo,
}

#[derive(Deserialize)]
struct UserInfo {
    username: String,
}

impl Client {
    /// Whether pgsvid has a right (`SelfSubjectAccessReview`).
    pub async fn may(&self, right: Right<'_>) -> Result<Access, Error> {
        let Right { verb, group, resource, namespace, name } = right;
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": {
                "verb": verb, "group": group, "resource": resource, "namespace": namespace, "name": name,
            } },
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let answer: Reviewed = self.ask(&Ask::send(Method::POST, path, JSON, &review)).await?;
        Ok(if answer.status.allowed { Access::Granted } else { Access::Denied })
    }

    /// The user that pgsvid is for the API server (`SelfSubjectReview`, Kubernetes 1.28).
    pub async fn myself(&self) -> Result<Subject, Error> {
        let review =
            json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" });
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let answer: SelfSubject = self.ask(&Ask::send(Method::POST, path, JSON, &review)).await?;
        Ok(Subject::of(&answer.status.user_info.username))
    }
}
