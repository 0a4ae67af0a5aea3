//! `[[served]]`: one look at each instance, as `run` looks after each publication.

use crate::consumers::{ServedAddress, look_once};
use crate::doctor::finding::{Code, Finding, Group, Section};
use crate::material::Material;

/// The section about one name. `is_shared` means that replicas take turns to write Secrets.
pub(super) async fn section(
    served: &ServedAddress,
    on_disk: Option<&Material>,
    is_shared: bool,
) -> Section {
    let address = served.shown();
    let subject =
        if served.name == address { address } else { format!("{}: {address}", served.name) };
    let mut section = Section::new(Group::Served, subject);
    match on_disk {
        Some(material) => section.extend(look_once(served, material, is_shared).await),
        None => section.add(Finding::skipped(
            Code::VerdictCurrent,
            "there is no published set to compare with",
        )),
    }
    section
}
