//! What `check` says about the Secrets: nothing is written.

use serde_json::json;

use super::judge::{Step, judge, latent_problems};
use super::settings::{Secrets as Settings, Target};
use super::{Secrets, explain, rights};
use crate::consumers::Publication;
use crate::finding::{Code, Finding, Severity};
use crate::kubernetes::{self, Error, Secret, Subject};
use crate::material::Material;
use crate::status::Pulse;

/// The findings about the API server, the rights, and each Secret. `material` is the set that they should hold, if it is known.
pub(crate) async fn examine(settings: &Settings, material: Option<Material>) -> Vec<Finding> {
    let mut secrets = Secrets::new(settings.clone(), None, Pulse::default());
    let client = std::sync::Arc::clone(&secrets.client);
    let myself = match client.myself().await {
        Ok(myself) => myself,
        Err(error) => return vec![kubernetes::explain(&error, client.settings())],
    };
    let known = match &myself {
        Subject::ServiceAccount { namespace, name } => {
            format!("ServiceAccount {}", kubernetes::shown(namespace, name))
        }
        Subject::User(name) => format!("user {}", crate::text::shown(name)),
    };
    let server = &settings.kubernetes.server;
    let text = format!("the API server at {server} knows pgsvid as the {known}");
    let mut found = vec![Finding::ok(Code::KubernetesServer, text)];
    let publication = material.map(|material| Publication {
        generation: 0,
        material: std::sync::Arc::new(material),
        extra_authorities: Vec::new(),
    });
    for at in 0..settings.targets.len() {
        let target = &settings.targets[at];
        match rights::lacking(&client, target).await {
            Ok(verbs) if verbs.is_empty() => {}
            Ok(verbs) => {
                found.push(rights::forbidden(&client, settings, target, &verbs).await);
                continue;
            }
            Err(error) => {
                found.push(kubernetes::explain(&error, client.settings()));
                continue;
            }
        }
        let text = format!("pgsvid may read, apply and watch the Secret {}", target.shown());
        found.push(Finding::ok(Code::SecretAccess, text));
        match client.secret(&target.namespace, &target.name).await {
            Err(error) => {
                found.push(explain::failed(&client, settings, target, &error, false).await);
            }
            Ok(live) => {
                let manager = &settings.kubernetes.field_manager;
                let latent_problems =
                    live.as_ref().map(|live| latent_problems(target, live, manager));
                let state = state(&mut secrets, at, publication.as_ref(), live).await;
                // A failure says it already.
                let is_ok = state.severity == Severity::Ok;
                found.push(state);
                let latent_problems = latent_problems.into_iter().flatten().filter(|_| is_ok);
                found.extend(
                    latent_problems.map(|latent_problem| explain::doubted(target, &latent_problem)),
                );
            }
        }
    }
    if let Some(lease) = &settings.lease {
        let it = kubernetes::shown(&lease.namespace, &lease.name);
        found.push(match rights::may_take(&client, &lease.namespace, &lease.name).await {
            Ok(true) => Finding::ok(Code::SecretAccess, format!("pgsvid may take the Lease {it}")),
            Ok(false) => {
                let why = json!({ "code": 403, "message": "RBAC does not grant it" });
                rights::lease_failed(&client, settings, &Error::forbidden(&why.to_string())).await
            }
            Err(error) => kubernetes::explain(&error, client.settings()),
        });
    }
    found
}

async fn state(
    secrets: &mut Secrets,
    at: usize,
    publication: Option<&Publication>,
    live: Option<Secret>,
) -> Finding {
    let target: Target = secrets.settings.targets[at].clone();
    let it = target.shown();
    let ok = |text: String| Finding::ok(Code::SecretState, text);
    let Some(publication) = publication else {
        return match live {
            Some(_) => ok(format!("the Secret {it} exists")),
            None if target.create => {
                ok(format!("the Secret {it} does not exist yet; run creates it"))
            }
            None => explain::missing(&target, false),
        };
    };
    let wanted = match secrets.wanted(at, publication, Vec::new()).await {
        Ok(wanted) => wanted,
        Err(error) => return explain::field_not_made(&error),
    };
    let manager = secrets.settings.kubernetes.field_manager.clone();
    match judge(&target, &wanted, live.as_ref(), &manager) {
        Step::Nothing => ok(format!("the Secret {it} holds the agent's newest set")),
        Step::Create => ok(format!("the Secret {it} does not exist yet; run creates it")),
        Step::Missing => explain::missing(&target, false),
        Step::Owned { fields, by } => explain::owned(&target, &fields, &by),
        Step::Immutable => explain::immutable(&target),
        Step::Apply { fields, .. } => {
            let is_written = live.is_some_and(|live| {
                live.metadata.managed_fields.iter().any(|it| it.manager == manager)
            });
            let differs = !fields.is_empty();
            let fields = if differs { fields.join(", ") } else { "none".to_owned() };
            let text = format!(
                "the Secret {it} exists; fields that differ from the agent's newest set: {}; run writes them",
                crate::text::shown(&fields)
            );
            if differs && is_written {
                Finding::warning(Code::SecretState, text).about(it).fix(
                    "if pgsvid run is running, check again in a minute: if it stays, somebody changes them again and again, and its log says who",
                )
            } else {
                ok(text)
            }
        }
    }
}
