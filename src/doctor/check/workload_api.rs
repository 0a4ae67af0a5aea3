//! The agent: whether it answers, and what it gives.

use crate::doctor::codes;
use crate::doctor::finding::{Code, Finding, Group, Section};
use crate::source::{self, Discarded, Look};
use crate::text::sentence;

/// Asks the agent once.
pub(super) async fn section(settings: &source::Settings) -> (Section, Option<Look>) {
    let mut section = Section::new(Group::WorkloadApi, settings.endpoint.to_string());
    let look = match source::look(settings).await {
        Ok(look) => look,
        Err(error) => {
            let text = if error.is_not_registered() {
                "the agent answers, and has no identity for this process".to_owned()
            } else {
                error.to_string()
            };
            let mut finding = Finding::failure(codes::agent(&error), text)
                .fix(error.remedy().unwrap_or_default());
            if error.is_not_registered() {
                finding = finding.cause(error.to_string());
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
    if look.count > 1 {
        for one in &look.offered {
            let hint =
                one.hint.as_ref().map_or("no hint".to_owned(), |hint| format!("hint {hint:?}"));
            let taken = if one.chosen { "; this one is taken" } else { "" };
            section
                .add(Finding::ok(Code::AgentAnswer, format!("{}, {hint}{taken}", one.spiffe_id)));
        }
        if settings.selection.spiffe_id.is_none() && settings.selection.hint.is_none() {
            section.add(
                Finding::warning(
                    Code::SvidChoice,
                    "the first of several SVIDs is taken; agents promise no order",
                )
                .fix("set svid.spiffe_id or svid.hint (--spiffe-id, --hint)"),
            );
        }
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

/// What to do about a message that gives no SVID to look at.
fn remedy(discarded: &Discarded) -> Option<&'static str> {
    Some(match discarded {
        Discarded::NoSvid | Discarded::NoMatch { .. } => {
            "mend svid.spiffe_id or svid.hint (--spiffe-id, --hint), or the entry's -hint"
        }
        Discarded::Unreadable(_) => {
            "see the agent's version and its log: what it sends is at fault"
        }
        Discarded::TooLarge { .. } => {
            "see which authorities are not needed any more: spire-server bundle show"
        }
        // It is told beside what else there is to say of the SVID.
        Discarded::Rejected(_) => return None,
    })
}
