//! `[client]`: one login, as `run` makes it after each publication.

use crate::consumers::{ClientLogin, try_once};
use crate::doctor::finding::{Code, Finding, Group, Section, Severity};
use crate::material::Material;
use crate::text::shown;
use crate::verify::Verdict;

/// The section about one login.
pub(super) async fn section(client: &ClientLogin, on_disk: Option<&Material>) -> Section {
    let mut section = Section::new(Group::Login, format!("{}: {}", client.name, client.shown()));
    let Some(material) = on_disk else {
        let text = "there is no published set to log in with";
        section.add(Finding::skipped(Code::ClientLogin, text));
        return section;
    };
    let (verdict, address, found) = try_once(client, material).await;
    section.add(match verdict {
        Verdict::Admitted => {
            let (role, database) = (shown(&client.role), shown(&client.database));
            let text = format!("logged in at {address} as role {role} to database {database}, trusted the server, and logged out");
            Finding::ok(Code::ClientLogin, text)
        }
        Verdict::Unverifiable => Finding { severity: Severity::Skipped, ..found },
        // It may be over in a moment.
        Verdict::Unavailable => Finding { severity: Severity::Warning, ..found },
        _ => found,
    });
    section
}
