//! The agent: whether it answers, and what it offers.

use super::own_user::own_user;
use crate::config::Config;
use crate::doctor::codes;
use crate::doctor::entry;
use crate::doctor::finding::{Code, Finding, Group, Section};
use crate::entries;
use crate::material::Material;
use crate::source::workload_api::{self, Discarded, Look, Settings};
use crate::text::sentence;

/// Asks the agent once. Returns the findings, and the answer if there was one.
///
/// `on_disk` is the published set: it still has the SPIFFE ID of an entry that was deleted.
pub(super) async fn section(
    config: &Config,
    settings: &Settings,
    on_disk: Option<&Material>,
) -> (Section, Option<Look>) {
    let mut section = Section::new(Group::WorkloadApi, settings.endpoint.to_string());
    let look = match workload_api::look(settings).await {
        Ok(look) => look,
        Err(error) => {
            let text = if error.is_not_registered() {
                "the agent answers, but has no identity for this process".to_owned()
            } else {
                error.to_string()
            };
            let mut finding = Finding::failure(codes::agent(&error), text)
                .fix(error.remedy().unwrap_or_default());
            if error.is_not_registered() {
                finding = with_entry(finding.cause(error.to_string()), config, settings, on_disk);
            }
            section.add(finding);
            return (section, None);
        }
    };
    let millis = look.took.as_millis();
    section.add(match (look.count, look.offered.first().and_then(|one| one.hint.as_ref())) {
        (1, None) => Finding::ok(
            Code::AgentAnswer,
            format!("agent answered in {millis} ms; one SVID, no hint"),
        ),
        (1, Some(hint)) => Finding::ok(
            Code::AgentAnswer,
            format!("agent answered in {millis} ms; one SVID, hint {hint:?}"),
        ),
        (count, _) => {
            Finding::ok(Code::AgentAnswer, format!("agent answered in {millis} ms; {count} SVIDs"))
        }
    });
    section.extend(exchangeable(settings));
    if look.count > 1 {
        for one in &look.offered {
            let hint =
                one.hint.as_ref().map_or("no hint".to_owned(), |hint| format!("hint {hint:?}"));
            let taken = if one.chosen { "; pgsvid uses this one" } else { "" };
            section
                .add(Finding::ok(Code::AgentAnswer, format!("{}, {hint}{taken}", one.spiffe_id)));
        }
    }
    if let Some(choice) = &look.choice {
        let why = if choice.is_kept {
            "pgsvid uses the published one as long as the agent offers it"
        } else {
            "pgsvid uses the first, but agents guarantee no order"
        };
        let text = format!("{} of the SVIDs fit the configuration; {why}", choice.count);
        section.add(Finding::warning(Code::SvidChoice, text).fix(choice.fix.clone()));
    }
    if let Err(discarded) = &look.material
        && let Some(fix) = remedy(discarded)
    {
        section.add(
            Finding::failure(codes::discarded(discarded), sentence(&discarded.to_string()))
                .fix(fix),
        );
    }
    (section, Some(look))
}

/// The finding about a socket that may belong to another user than the agent's.
fn exchangeable(settings: &Settings) -> Option<Finding> {
    let found = workload_api::exchangeable(&settings.endpoint)?;
    Some(
        Finding::warning(
            Code::AgentSocketExchangeable,
            "other users of this machine could have put the agent's socket in its place, and so choose the certificate and the authorities \
             that pgsvid publishes",
        )
        .cause(found.to_string())
        .about(found.entry.display().to_string())
        .fix(workload_api::SOCKET_PATH_FIX),
    )
}

/// Adds the command that creates the entry, from what is known of it.
fn with_entry(
    finding: Finding,
    config: &Config,
    settings: &Settings,
    on_disk: Option<&Material>,
) -> Finding {
    let (uid, _) = own_user(config);
    let published = on_disk.and_then(Material::spiffe_id).map(ToString::to_string);
    let Some(spiffe_id) = settings.selection.spiffe_id.clone().or(published.clone()) else {
        return finding.fix(format!(
            "create an entry with the selector unix:uid:{uid}; to have pgsvid check print the command, set svid.spiffe_id \
             (--spiffe-id)"
        ));
    };
    let on_disk = on_disk.filter(|_| published.as_ref() == Some(&spiffe_id));
    let mut names: Vec<String> =
        on_disk.map(|material| material.leaf().dns_names().to_vec()).unwrap_or_default();
    if on_disk.is_none() && !config.rotation.servers.is_empty() {
        // Clients with sslmode=verify-full need a DNS name in the server's certificate.
        names.push(entry::own_host());
    }
    let names = names.iter().map(String::as_str);
    finding.fix(entries::SEVERAL_AGENTS).command(entries::create(&spiffe_id, uid, names))
}

/// The remedy for a message without a usable SVID.
fn remedy(discarded: &Discarded) -> Option<&'static str> {
    Some(match discarded {
        Discarded::NoSvid | Discarded::NoMatch { .. } => {
            "fix svid.spiffe_id or svid.hint (--spiffe-id, --hint), or the entry's -hint"
        }
        Discarded::Unreadable(_) => {
            "check the agent's version and its log: it sends a faulty message"
        }
        Discarded::TooLarge { .. } => {
            "list the authorities, and remove those that are no longer needed: spire-server bundle show"
        }
        // It is reported together with other findings about the SVID.
        Discarded::Rejected(_) => return None,
    })
}
