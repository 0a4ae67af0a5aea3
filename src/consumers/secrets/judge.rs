//! What a Secret needs, judged by what it has. Pure.
//!
//! Server-side apply would take every field by force. Before that, this decides whether somebody else declares the same field: of
//! two managers that apply a field each would undo the other's work. A field that somebody has only set (an update, such as by
//! `kubectl edit` or `kubectl create`) is taken, because the configuration says that pgsvid writes it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::settings::Target;
use crate::kubernetes::{ManagedFields, OwnerReference, Secret};

/// The fields that a Secret should have, in base64.
pub(super) type Wanted = BTreeMap<String, Zeroizing<String>>;

/// What to do with a Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// It is as it should be.
    Nothing,
    /// It does not exist, and may be created.
    Create,
    /// It does not exist, and has to.
    Missing,
    /// These fields differ. The list is empty if only the record of who has set them differs. `by` has the other managers that
    /// have set them. `is_own`: another program applies under pgsvid's own manager name.
    Apply { fields: Vec<String>, by: Vec<String>, is_own: bool },
    /// Another manager applies these fields.
    Owned { fields: Vec<String>, by: Vec<String> },
    /// Its fields can never be changed.
    Immutable,
}

/// Judges a Secret. `manager` is the name under which pgsvid applies.
pub(super) fn judge(
    target: &Target,
    wanted: &Wanted,
    live: Option<&Secret>,
    manager: &str,
) -> Step {
    let Some(live) = live else {
        return if target.create { Step::Create } else { Step::Missing };
    };
    let owner = owner(target, Some(live), manager);
    let key = owner.map(OwnerReference::key);
    let differing = differing(target, wanted, live, owner.zip(key.as_deref()));
    if differing.is_empty() {
        return if ours(live, manager).is_some_and(|ours| is_exact(target, ours, key.as_deref())) {
            Step::Nothing
        } else {
            Step::Apply { fields: Vec::new(), by: Vec::new(), is_own: false }
        };
    }
    if live.immutable == Some(true) && differing.iter().any(|path| path[0] == "data") {
        return Step::Immutable;
    }
    let others = || live.metadata.managed_fields.iter().filter(|it| !is_ours(it, manager));
    let has = |it: &ManagedFields, path: &[&str]| it.has(path);
    let mut applied = BTreeSet::new();
    let mut declared = BTreeSet::new();
    for other in others().filter(|it| it.is_applied()) {
        for path in differing.iter().filter(|path| has(other, path)) {
            applied.insert(other.manager.clone());
            declared.insert(path.join("."));
        }
    }
    if !declared.is_empty() {
        return Step::Owned {
            fields: declared.into_iter().collect(),
            by: applied.into_iter().collect(),
        };
    }
    let set = others().filter(|it| differing.iter().any(|path| has(it, path)));
    let by: BTreeSet<String> = set.map(|it| it.manager.clone()).collect();
    // An update takes a field from those who have applied it: what is still recorded was applied. And each process that applies
    // under this name removes what it does not configure.
    let is_own = ours(live, manager).is_some_and(|ours| {
        differing.iter().any(|path| ours.has(path))
            || ours.below(&["data"]).any(|key| !target.fields.contains_key(key))
    });
    Step::Apply {
        is_own,
        fields: differing.iter().map(|path| path.join(".")).collect(),
        by: by.into_iter().collect(),
    }
}

/// What will keep the next set from being written, or readers from a Secret, although it is as it should be now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LatentProblem {
    /// It has this type instead of the configured one.
    Kind(String),
    /// Its fields can never be changed.
    Immutable,
    /// These other managers apply fields of it, too.
    Owned(Vec<String>),
}

/// The latent problems of a Secret that is as it should be.
pub(super) fn latent_problems(target: &Target, live: &Secret, manager: &str) -> Vec<LatentProblem> {
    let mut latent_problems = Vec::new();
    if live.kind != target.kind && target.is_typed() {
        latent_problems.push(LatentProblem::Kind(live.kind.clone()));
    }
    if live.immutable == Some(true) {
        latent_problems.push(LatentProblem::Immutable);
    }
    let applies = |it: &&ManagedFields| {
        it.is_applied()
            && it.manager != manager
            && target.fields.keys().any(|key| it.has(&["data", key]))
    };
    let by: BTreeSet<String> =
        live.metadata.managed_fields.iter().filter(applies).map(|it| it.manager.clone()).collect();
    if !by.is_empty() {
        latent_problems.push(LatentProblem::Owned(by.into_iter().collect()));
    }
    latent_problems
}

/// The owner that a Secret gets: none if somebody else has created it, because it would be deleted with that owner, and the fields
/// of others with it.
fn owner<'a>(
    target: &'a Target,
    live: Option<&Secret>,
    manager: &str,
) -> Option<&'a OwnerReference> {
    let is_created = live.is_none_or(|live| has_created(live, manager));
    target.owner.as_ref().filter(|_| is_created)
}

/// Whether it records what pgsvid applies.
fn is_ours(entry: &ManagedFields, manager: &str) -> bool {
    entry.manager == manager && entry.is_applied()
}

/// The record of what pgsvid has applied to a Secret.
fn ours<'a>(live: &'a Secret, manager: &str) -> Option<&'a ManagedFields> {
    live.metadata.managed_fields.iter().find(|it| is_ours(it, manager))
}

/// Whether pgsvid has created a Secret: it applies the type of no other.
fn has_created(live: &Secret, manager: &str) -> bool {
    ours(live, manager).is_some_and(|it| it.has(&["type"]))
}

/// The paths of the fields that are not as they should be. An owner comes with its key in `managedFields`.
fn differing<'a>(
    target: &'a Target,
    wanted: &'a Wanted,
    live: &Secret,
    owner: Option<(&'a OwnerReference, &'a str)>,
) -> Vec<Vec<&'a str>> {
    let metadata = &live.metadata;
    let mut paths: Vec<Vec<&str>> = Vec::new();
    for (key, value) in wanted {
        if live.data.get(key) != Some(value) {
            paths.push(vec!["data", key]);
        }
    }
    for (name, wanted, found) in [
        ("labels", &target.labels, &metadata.labels),
        ("annotations", &target.annotations, &metadata.annotations),
    ] {
        let other = wanted.iter().filter(|(key, value)| found.get(*key) != Some(value));
        paths.extend(other.map(|(key, _)| vec!["metadata", name, key]));
    }
    if let Some((owner, key)) = owner
        && !metadata.owner_references.contains(owner)
    {
        paths.push(vec!["metadata", "ownerReferences", key]);
    }
    paths
}

/// Whether pgsvid is recorded as the manager of these fields, and of no others: one that was configured before has to go.
fn is_exact(target: &Target, ours: &ManagedFields, owner: Option<&str>) -> bool {
    let recorded = |path: &[&str]| ours.below(path).map(str::to_owned).collect::<BTreeSet<_>>();
    let wanted = |keys: &mut dyn Iterator<Item = &String>| keys.cloned().collect::<BTreeSet<_>>();
    recorded(&["data"]) == wanted(&mut target.fields.keys())
        && recorded(&["metadata", "labels"]) == wanted(&mut target.labels.keys())
        && recorded(&["metadata", "annotations"]) == wanted(&mut target.annotations.keys())
        && match owner {
            Some(key) => ours.has(&["metadata", "ownerReferences", key]),
            None => !ours.has(&["metadata", "ownerReferences"]),
        }
}

/// The object to apply. An existing Secret is named by its uid and its version: if it was changed or replaced since, nothing is
/// written.
pub(super) fn object(
    target: &Target,
    wanted: &Wanted,
    live: Option<&Secret>,
    manager: &str,
) -> Value {
    let mut metadata = json!({ "name": target.name, "namespace": target.namespace });
    if !target.labels.is_empty() {
        metadata["labels"] = json!(target.labels);
    }
    if !target.annotations.is_empty() {
        metadata["annotations"] = json!(target.annotations);
    }
    if let Some(owner) = owner(target, live, manager) {
        metadata["ownerReferences"] = json!([owner]);
    }
    let data: BTreeMap<&String, &str> =
        wanted.iter().map(|(key, value)| (key, value.as_str())).collect();
    let mut object =
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data });
    match live {
        None => object["type"] = json!(target.kind),
        Some(live) => {
            object["metadata"]["uid"] = json!(live.metadata.uid);
            object["metadata"]["resourceVersion"] = json!(live.metadata.resource_version);
            // Leaving it out would remove it, and it can never be changed.
            if has_created(live, manager) {
                object["type"] = json!(live.kind);
            }
        }
    }
    object
}

#[cfg(test)]
mod tests;
