//! The sessions that have outlived the certificate of their client, for people and for scripts.

use super::text::Lines;
use crate::cli::Failure;
use crate::status::{ConsumerView, OutlivedView, View};
use crate::timing::roughly;

/// The lines, without a newline at the end.
pub(super) fn text(view: &View) -> String {
    let mut lines = Lines::plain();
    if view.servers().next().is_none() {
        lines.add("sessions", None, "no PostgreSQL is configured");
    }
    for consumer in view.servers() {
        let prefix = view.prefix(consumer);
        lines.add("sessions", None, &format!("{prefix}{}", counted(view, consumer)));
        let outlived = consumer.sessions.as_ref().and_then(|sessions| sessions.outlived.as_ref());
        for role in outlived.iter().flat_map(|outlived| &outlived.by_role) {
            lines.add(&format!("  {}", role.role), None, &role.in_words());
        }
        if let Some(found) = &consumer.session_rights {
            if found.cause.is_some() || consumer.sessions.is_some() {
                lines.add(&found.severity, None, &format!("{prefix}{}", found.text));
                lines.add("cause", None, found.why());
            }
            if let Some(command) = &found.command {
                lines.add("fix", None, command);
            }
        }
    }
    lines.end()
}

fn counted(view: &View, consumer: &ConsumerView) -> String {
    match (&consumer.sessions, &consumer.session_rights) {
        (Some(sessions), _) => {
            let ago = sessions.at.map(|at| format!("; counted {} ago", roughly(at.until(view.at))));
            let outlived = sessions.outlived.as_ref();
            let words = outlived.map_or_else(|| sessions.in_words(), OutlivedView::in_words);
            words + &ago.unwrap_or_default()
        }
        (None, Some(found)) if found.cause.is_none() => found.text.clone(),
        (None, Some(_)) => "not counted".to_owned(),
        (None, None) => "not counted yet".to_owned(),
    }
}

/// The same as one object.
pub(super) fn json(view: &View) -> Result<String, Failure> {
    let server = |it: &ConsumerView| serde_json::json!({ "name": it.name, "sessions": it.sessions, "rights": it.session_rights });
    let servers: Vec<_> = view.servers().map(server).collect();
    let object = serde_json::json!({ "at": view.at, "servers": servers });
    Ok(serde_json::to_string_pretty(&object).map_err(anyhow::Error::from)?)
}
