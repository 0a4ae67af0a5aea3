//! Which rights pgsvid lacks, and the YAML that grants them.

use super::settings::{Secrets, Target};
use crate::finding::{Code, Finding};
use crate::kubernetes::{self, Access, Client, Error, ON_LEASES, ON_SECRETS, Right, Subject};
use crate::text::argument;

/// RBAC does not grant these verbs on a Secret.
pub(super) async fn forbidden(
    client: &Client,
    settings: &Secrets,
    target: &Target,
    verbs: &[&str],
) -> Finding {
    let it = target.shown();
    let right = format!("RBAC does not let pgsvid {} the Secret {it}", verbs.join(", "));
    let rights = settings.grants();
    let found = Finding::failure(Code::SecretForbidden, right).about(it);
    grant(found, client, |subject| rights.line(&target.namespace, subject)).await
}

/// A failed request about the Lease.
pub(super) async fn lease_failed(client: &Client, settings: &Secrets, error: &Error) -> Finding {
    let Some(lease) = &settings.lease else { return kubernetes::explain(error, client.settings()) };
    let it = kubernetes::shown(&lease.namespace, &lease.name);
    match error {
        Error::Refused(refusal) if matches!(refusal.code, 403 | 404) => {
            let text = format!("pgsvid cannot take the Lease {it}, so it writes no Secrets");
            let found =
                Finding::failure(Code::LeaseUnusable, text).about(it).cause(refusal.to_string());
            if refusal.code == 404 {
                return found.command(format!("kubectl create namespace {}", lease.namespace));
            }
            let rights = settings.grants();
            grant(found, client, |subject| rights.line(&lease.namespace, subject)).await
        }
        _ => kubernetes::explain(error, client.settings()),
    }
}

/// The verbs on a Secret that RBAC does not grant; none if it grants all of them. Fails if the API server does not say.
pub(super) async fn lacking(client: &Client, target: &Target) -> Result<Vec<&'static str>, Error> {
    let mut lacking = Vec::new();
    for verb in ON_SECRETS.into_iter().chain(target.create.then_some("create")) {
        let (namespace, name) = (target.namespace.as_str(), target.name.as_str());
        let right = Right { verb, group: "", resource: "secrets", namespace, name };
        if client.may(right).await? == Access::Denied {
            lacking.push(verb);
        }
    }
    Ok(lacking)
}

/// Whether RBAC lets pgsvid take the Lease.
pub(super) async fn may_take(client: &Client, namespace: &str, name: &str) -> Result<bool, Error> {
    for verb in ON_LEASES.into_iter().chain(["create"]) {
        let (group, resource) = ("coordination.k8s.io", "leases");
        let name = if verb == "create" { "" } else { name };
        let right = Right { verb, group, resource, namespace, name };
        if client.may(right).await? == Access::Denied {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Adds the command that grants what is missing.
async fn grant(
    found: Finding,
    client: &Client,
    line: impl FnOnce(&Subject) -> Option<String>,
) -> Finding {
    let Ok(subject) = client.myself().await else {
        return found.fix("grant it: pgsvid setup rbac prints the objects");
    };
    let Some(line) = line(&subject) else { return found };
    // YAML in flow style, in one line, so that it can be pasted from a log.
    found
        .fix("as an administrator, grant it by this YAML")
        .command(format!("printf %s {} | kubectl apply -f -", argument(line)))
}
