//! `[[secrets]]`: the API server, pgsvid's rights there, and what the Secrets hold.

use crate::consumers::{SecretsSettings, examine_secrets};
use crate::doctor::finding::{Group, Section};
use crate::material::Material;

/// The section about the Secrets. `material` is what they should hold, if that is known.
pub(super) async fn section(secrets: &SecretsSettings, material: Option<&Material>) -> Section {
    let server = secrets.kubernetes.server.to_string();
    let mut section = Section::new(Group::Kubernetes, server);
    section.extend(examine_secrets(secrets, material.cloned()).await);
    section
}
