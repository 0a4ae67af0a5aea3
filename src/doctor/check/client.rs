//! `[client]`: one login, as `run` makes it after each publication.

use crate::config::{Config, Environment};
use crate::consumers::{ClientLogin, try_once};
use crate::doctor::finding::{Code, Finding, Group, Section, Severity};
use crate::material::Material;
use crate::text::shown;
use crate::verify::Verdict;

/// The section for `--as-client`, if the service or the environment ask for more than a login as that role, and no `[client]` tries
/// it: PostgreSQL may refuse what libpq sends then.
pub(super) async fn as_libpq(
    config: &Config,
    role: &str,
    environment: &Environment,
    on_disk: Option<&Material>,
) -> Option<Section> {
    if config.rotation.clients.iter().any(|client| client.role == role) {
        return None;
    }
    match config.login_as(role, environment)? {
        Ok(login) if login.asks_more() => Some(section(&login, on_disk).await),
        Ok(_) => None,
        Err(why) => {
            let mut section = Section::new(Group::Login, format!("as {role}"));
            let text = "whether libpq can log in with all options of the service";
            section.add(Finding::skipped(Code::ClientLogin, text).cause(why));
            Some(section)
        }
    }
}

/// The section about one login.
pub(super) async fn section(client: &ClientLogin, on_disk: Option<&Material>) -> Section {
    let mut section = Section::new(Group::Login, format!("{}: {}", client.name, client.shown()));
    let Some(material) = on_disk else {
        let text = "there is no published set to log in with";
        section.add(Finding::skipped(Code::ClientLogin, text));
        return section;
    };
    let (verdict, address, found, unproven) = try_once(client, material).await;
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
    if verdict == Verdict::Admitted
        && let Some(why) = unproven
    {
        section.add(Finding::skipped(Code::ClientLogin, why));
    }
    section
}
