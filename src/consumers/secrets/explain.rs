//! Why a Secret does not hold the published set, and what to do about it.
//!
//! A finding is a warning if waiting may be enough, and otherwise a failure.

use super::contest::Writer;
use super::follow::Fault;
use super::judge::LatentProblem;
use super::kept::Lack;
use super::rights::{forbidden, lacking};
use super::settings::{Secrets, Target};
use crate::consumers::Attempt;
use crate::consumers::delivery::Obstacle;
use crate::consumers::problem::Problem;
use crate::consumers::trouble::{Trouble, Weight, identity};
use crate::finding::{Code, Finding, Severity};
use crate::kubernetes::{self, Client, Error, Refusal};
use crate::publish;
use crate::text::shown;
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

/// Somebody has changed, or deleted, a Secret so often that it is not restored at once.
pub(super) fn restored_later(target: &Target, is_deleted: bool) -> Finding {
    let it = target.shown();
    let (text, does) = if is_deleted {
        (
            format!("somebody deletes the Secret {it} again and again, and it does not exist now"),
            "deletes",
        )
    } else {
        (
            format!(
                "somebody changes the Secret {it} again and again, and it does not hold the set now"
            ),
            "changes",
        )
    };
    Finding::warning(Code::SecretContested, text)
        .cause("pgsvid waits before it restores it again, at most a minute")
        .fix(format!(
            "find out which program {does} it, and stop that: see docs/kubernetes-secrets.md"
        ))
        .about(it)
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
            .fix("check what the other replicas say, and who has the Lease")
    } else {
        let holder = shown(holder);
        found.cause(format!("{holder} has the Lease {namespace}/{name}")).fix(format!(
            "check what {holder} says; if it is no replica of this configuration, set another lease.name here"
        ))
    };
    found.command(format!("kubectl -n {namespace} get lease {name} -o yaml"))
}

/// Changes of a Secret are not noticed at once.
pub(super) async fn unwatched(
    client: &Client,
    settings: &Secrets,
    target: &Target,
    fault: &Fault,
) -> Finding {
    if fault.is_refused
        && let Ok(verbs) = lacking(client, target).await
        && !verbs.is_empty()
    {
        return forbidden(client, settings, target, &verbs).await.cause(fault.cause.clone());
    }
    let text =
        format!("changes of the Secret {} are noticed up to half a minute late", target.shown());
    Finding::warning(Code::SecretUnwatched, text)
        .about(target.shown())
        .cause(format!("the API server does not keep a watch open: {}", fault.cause))
        .fix("let what stands between pgsvid and the API server pass long answers through; pgsvid tries again by itself")
}

/// The Secret holds the set, and something will keep the next one from it, or readers from it.
pub(super) fn doubted(target: &Target, latent_problem: &LatentProblem) -> Finding {
    let it = target.shown();
    let next = |code, why: &str| {
        let text =
            format!("the Secret {it} holds the set, but the next one cannot be written: {why}");
        Finding::warning(code, text).about(it.as_str())
    };
    match latent_problem {
        LatentProblem::Kind(kind) => {
            let text =
                format!("the Secret {it} has the type {}, and not {}", shown(kind), target.kind);
            let found = Finding::warning(Code::SecretType, text)
                .about(it.as_str())
                .cause("it was created with that type, which cannot be changed");
            if target.create {
                found.fix("delete it; pgsvid then creates it").command(kubectl(target, "delete"))
            } else {
                found.fix("delete it, and create it again with the configured type; or correct the type in its [[secrets]] table")
            }
        }
        LatentProblem::Immutable => {
            let Finding { fix, cause, command, .. } = immutable(target);
            Finding { fix, cause, command, ..next(Code::SecretImmutable, "it is immutable") }
        }
        LatentProblem::Owned(by) => {
            let by = shown(&by.join(", "));
            next(Code::SecretOwnedByAnother, &format!("{by} applies the same fields"))
                .cause("pgsvid does not undo what another manager applies")
                .fix(format!("leave these fields out of what {by} applies"))
        }
    }
}

/// The Secret gets no leaf of a new authority yet.
pub(super) fn awaits_authorities(target: &Target) -> Finding {
    Finding::warning(
        Code::SecretAwaitsAuthorities,
        format!("the Secret {} keeps its certificate for the present", target.shown()),
    )
    .about(target.shown())
    .cause("a Secret with authorities alone could not be written, and its readers would not know the new authority")
    .fix("fix what is said about that Secret; before the certificate expires it is replaced in any case")
}

/// A field that cannot be made.
pub(super) fn field_not_made(error: &publish::Error) -> Finding {
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
            Ok(verbs) if verbs.is_empty() && !writes => {
                let text = format!("the API server refuses to read the Secret {it}, although RBAC lets pgsvid");
                Finding::warning(Code::KubernetesFailing, text).about(it).cause(refusal.to_string())
            }
            Ok(verbs) if verbs.is_empty() => found(Code::SecretRefused, format!("the API server refuses the Secret {it}"))
                .fix("RBAC lets pgsvid write it; see the quota of the namespace, and the admission policies of the cluster"),
            Err(_) => found(Code::SecretForbidden, format!("the API server refuses the Secret {it}"))
                .fix("check whether pgsvid has the rights that pgsvid setup rbac prints: the API server does not say which it lacks"),
            Ok(verbs) => {
                let found = forbidden(client, settings, target, &verbs).await;
                found.cause(refusal.to_string())
            }
        },
        404 if refusal.kind == "namespaces" => {
            found(Code::SecretNamespaceMissing, format!("the namespace of the Secret {it} does not exist"))
                .command(format!("kubectl create namespace {}", target.namespace))
        }
        409 => Finding::warning(
            Code::SecretContested,
            format!("somebody has changed the Secret {it} at the same moment"),
        )
        .about(it)
        .cause(refusal.to_string())
        .fix("pgsvid reads it again, and tries again by itself"),
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
    let key = identity(verdict, "unwritten", &findings);
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
