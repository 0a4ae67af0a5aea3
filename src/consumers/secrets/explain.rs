//! Why a Secret does not hold the published set, and what to do about it.
//!
//! A finding is a warning if waiting may be enough, and otherwise a failure.

use super::kept::Lack;
use super::settings::{Secrets, Target};
use super::write::Writer;
use crate::consumers::Attempt;
use crate::consumers::delivery::Obstacle;
use crate::consumers::problem::Problem;
use crate::consumers::trouble::{Trouble, Weight};
use crate::finding::{Code, Finding, Severity};
use crate::kubernetes::{
    self, Access, Client, Error, ON_LEASES, ON_SECRETS, Refusal, Right, Subject,
};
use crate::publish;
use crate::text::{argument, shown};
use crate::timing;
use crate::verify::Verdict;

/// How `kubectl` is given one object.
fn kubectl(target: &Target, what: &str) -> String {
    format!("kubectl -n {} {what} secret {}", target.namespace, target.name)
}

/// It does not exist. `existed` means that this process has seen it: then somebody has deleted it.
pub(super) fn missing(target: &Target, existed: bool) -> Finding {
    let found = if existed {
        let text = format!("somebody has deleted the Secret {}", target.shown());
        Finding::failure(Code::SecretMissing, text)
    } else {
        let text = format!("the Secret {} does not exist", target.shown());
        Finding::warning(Code::SecretMissing, text)
    };
    // Without them the API server does not create a Secret of this type.
    let demanded = match target.kind.as_str() {
        "kubernetes.io/tls" => " --from-literal=tls.crt= --from-literal=tls.key=",
        _ => "",
    };
    found
        .about(target.shown())
        .cause("it has to exist already: create is not set for it")
        .fix("set create = true in its [[secrets]] table, or create it")
        .command(format!(
            "kubectl -n {} create secret generic {} --type={}{demanded}",
            target.namespace, target.name, target.kind
        ))
}

pub(super) fn owned(target: &Target, fields: &[String], by: &[String]) -> Finding {
    let (fields, by) = (shown(&fields.join(", ")), shown(&by.join(", ")));
    Finding::failure(
        Code::SecretOwnedByAnother,
        format!("pgsvid does not write the Secret {}: {by} applies {fields}", target.shown()),
    )
    .about(format!("{} {fields} {by}", target.shown()))
    .cause("of two managers that apply a field, each would undo the work of the other")
    .fix(format!(
        "leave these fields out of what {by} applies (a type such as kubernetes.io/tls demands some of them: then delete the Secret, and \
         let pgsvid create it, with create = true); or leave them out of its [[secrets]] table"
    ))
}

pub(super) fn immutable(target: &Target) -> Finding {
    let again = if target.create {
        "delete it; pgsvid then creates it"
    } else {
        "delete it, and create it again without immutable: true"
    };
    Finding::failure(
        Code::SecretImmutable,
        format!("the Secret {} is immutable, so pgsvid cannot write it", target.shown()),
    )
    .about(target.shown())
    .cause("immutable: true is set in it, which nobody can change")
    .fix(again)
    .command(kubectl(target, "delete"))
}

/// The API server has stored something else than was applied.
pub(super) fn altered(target: &Target) -> Finding {
    Finding::failure(
        Code::SecretRefused,
        format!(
            "the API server does not store in the Secret {} what pgsvid applies",
            target.shown()
        ),
    )
    .about(target.shown())
    .cause("an admission policy or webhook changes these fields")
    .fix("exempt this Secret from that policy")
}

/// Somebody changes the Secret again and again.
pub(super) fn contested(settings: &Secrets, at: usize, writer: &Writer<'_>) -> Finding {
    let target = &settings.targets[at];
    let text = format!("somebody changes the Secret {} again and again", target.shown());
    let warning = |text: String| Finding::warning(Code::SecretContested, text);
    let let_alone =
        "let only pgsvid write these fields: see docs/kubernetes-secrets.md for Argo CD and Flux";
    let found = match writer {
        Writer::Deletes => {
            warning(format!("somebody deletes the Secret {} again and again", target.shown()))
                .cause("Kubernetes does not record who deletes an object; an audit log of the API server does")
                .fix("keep a program that prunes or uninstalls from deleting it: see docs/kubernetes-secrets.md")
        }
        Writer::Others([]) => {
            warning(text).cause("who has set its fields is not recorded in it").fix(let_alone)
        }
        Writer::Others(by) => {
            let by = shown(&by.join(", "));
            warning(text).cause(format!("its fields were last set by {by}")).fix(let_alone)
        }
        Writer::SameName => {
            let manager = &settings.kubernetes.field_manager;
            let text = format!("another pgsvid writes the Secret {}, too", target.shown());
            Finding::failure(Code::SecretContested, text)
                .cause(format!(
                    "its fields were last applied by a process with the field manager {manager}, and not by this one"
                ))
                .fix(
                    "if it is a replica, give all replicas one [lease]; if not, take the Secret out of one of the two configurations",
                )
        }
    };
    found.about(target.shown())
}

/// Another replica should write the Secret, and does not. `holder` has the Lease; it is empty if nobody has.
pub(super) fn not_kept(settings: &Secrets, at: usize, lack: &Lack, holder: &str) -> Finding {
    let it = settings.targets[at].shown();
    let why = match lack {
        Lack::Exists => "it does not exist".to_owned(),
        Lack::Field(key) => format!("its field {key} is missing"),
        Lack::Certificate(key) => format!("its field {key} holds no certificate"),
        Lack::Name(key) => format!("the certificate in its field {key} has another name"),
        Lack::Life(key, end) => {
            format!("the certificate in its field {key} expires at {}", timing::utc(*end))
        }
    };
    let found =
        Finding::warning(Code::SecretNotKept, format!("no replica writes the Secret {it}: {why}"));
    let found = found.about(it);
    let Some(lease) = &settings.lease else { return found };
    let (namespace, name) = (&lease.namespace, &lease.name);
    let found = if holder.is_empty() {
        found
            .cause(format!("nobody writes by the Lease {namespace}/{name} at the moment"))
            .fix("see what the other replicas say, and who has the Lease")
    } else {
        let holder = shown(holder);
        found.cause(format!("{holder} has the Lease {namespace}/{name}")).fix(format!(
            "see what {holder} says; if it is no replica of this configuration, set another lease.name here"
        ))
    };
    found.command(format!("kubectl -n {namespace} get lease {name} -o yaml"))
}

/// A field that cannot be made.
pub(super) fn unmade(error: &publish::Error) -> Finding {
    let found = Finding::failure(
        Code::SecretFieldUnavailable,
        "the Secrets are not written, because a field cannot be made",
    );
    let found = found.about(error.key()).cause(error.to_string());
    match error.fix() {
        Some(fix) => found.fix(fix),
        None => found,
    }
}

/// A failed request about a Secret, which only reads it or also `writes` it.
pub(super) async fn failed(
    client: &Client,
    settings: &Secrets,
    target: &Target,
    error: &Error,
    writes: bool,
) -> Finding {
    let Error::Refused(refusal) = error else {
        return kubernetes::explain(error, client.settings());
    };
    let it = target.shown();
    let found = |code, text: String| {
        Finding::failure(code, text).about(it.as_str()).cause(refusal.to_string())
    };
    match refusal.code {
        403 => match lacking(client, target).await {
            // No policy refuses to read: the API server has just started, and does not know all of RBAC yet.
            None if !writes => {
                let text = format!("the API server refuses to read the Secret {it}, although RBAC lets pgsvid");
                Finding::warning(Code::KubernetesFailing, text).about(it).cause(refusal.to_string())
            }
            None => found(Code::SecretRefused, format!("the API server refuses the Secret {it}"))
                .fix("RBAC lets pgsvid write it; see the quota of the namespace, and the admission policies of the cluster"),
            Some(verbs) => {
                let found = forbidden(client, settings, target, &verbs).await;
                found.cause(refusal.to_string())
            }
        },
        404 if refusal.kind == "namespaces" => {
            found(Code::SecretNamespaceMissing, format!("the namespace of the Secret {it} does not exist"))
                .command(format!("kubectl create namespace {}", target.namespace))
        }
        _ if is_too_large(refusal) => {
            found(Code::SecretTooLarge, format!("the Secret {it} would have more than 1 MiB"))
                .fix("write fewer fields to it, or remove fields of others from it")
        }
        400 | 404..=408 | 410..=428 => {
            found(Code::SecretRefused, format!("the API server refuses the Secret {it}"))
                .fix("correct its [[secrets]] table, or the admission policy that refuses it")
        }
        _ => kubernetes::explain(error, client.settings()),
    }
}

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

/// The verbs on a Secret that RBAC does not grant; `None` if it grants all of them.
pub(super) async fn lacking(client: &Client, target: &Target) -> Option<Vec<&'static str>> {
    let mut lacking = Vec::new();
    for verb in ON_SECRETS.into_iter().chain(target.create.then_some("create")) {
        let (namespace, name) = (target.namespace.as_str(), target.name.as_str());
        let right = Right { verb, group: "", resource: "secrets", namespace, name };
        if !matches!(client.may(right).await, Ok(Access::Granted)) {
            lacking.push(verb);
        }
    }
    (!lacking.is_empty()).then_some(lacking)
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
pub(super) async fn grant(
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

fn is_too_large(refusal: &Refusal) -> bool {
    refusal.code == 413 || (refusal.code == 422 && refusal.has_cause("FieldValueTooLong"))
}

/// Why the published set is not handed over, and what that means for the next attempt.
pub(super) fn trouble(attempt: &Attempt, why_not_newer: Finding) -> (Trouble, Obstacle) {
    let verdict = attempt.verdict;
    if verdict == Verdict::Expired {
        let text = format!("the published certificate has expired: {}", why_not_newer.text);
        let found = Finding { code: Code::VerdictExpired, text: text.clone(), ..why_not_newer };
        let codes = vec![found.code];
        let problem = Problem { sentence: text, findings: vec![found], codes, pending: false };
        let key = verdict.name().to_owned();
        return (
            Trouble { verdict, problem, weight: Weight::Alarm },
            Obstacle { key, slow: true, alarm: true },
        );
    }
    let findings = attempt.findings.clone();
    let alarm = findings.iter().any(|found| found.severity == Severity::Failure);
    let weight = if alarm { Weight::Alarm } else { Weight::Pending };
    let mut key = verdict.name().to_owned();
    for Finding { code, object, .. } in &findings {
        key.extend([" ", code.name(), "=", object.as_deref().unwrap_or_default()]);
    }
    let sentence = findings.first().map_or_else(
        || "the Secrets do not hold the published set".to_owned(),
        |found| match &found.cause {
            Some(cause) if !alarm => format!("{}: {cause}", found.text),
            _ => found.text.clone(),
        },
    );
    let codes = findings.iter().map(|found| found.code).collect();
    let problem = Problem { sentence, findings, codes, pending: !alarm };
    (Trouble { verdict, problem, weight }, Obstacle { key, slow: alarm, alarm })
}
