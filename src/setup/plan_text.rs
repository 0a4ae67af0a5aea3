//! The plan as text, which is shown before anything is done.

use std::fmt::Write as _;

use super::plan::{Plan, Step, named};
use super::values::{OFF, SSL};
use crate::sql::statements;
use crate::text::{harmless, shown};

impl Plan {
    /// The plan for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let is_setting = |step: &&Step| matches!(step, Step::Setting { .. });
        let settings = self.steps.iter().filter(is_setting);
        let last = settings.clone().count();
        let mut number = 0;
        let is_off_between = settings.clone().any(|step| !step.alters(SSL));
        for step in &self.steps {
            if is_setting(&step) {
                number += 1;
                if number == 1 && is_off_between {
                    let off = statements::alter_system(SSL, OFF);
                    let _ = writeln!(text, "  setting  {off}   (while the others change)");
                }
            }
            let _ = match step {
                Step::Sql { statement, .. } => writeln!(text, "  sql      {statement}"),
                Step::Setting { name, value, now, .. } => writeln!(
                    text,
                    "  setting  {}   (now {})",
                    statements::alter_system(name, value),
                    if now.is_empty() { "empty".to_owned() } else { shown(now) }
                ),
                Step::File { path, lines, .. } => writeln!(
                    text,
                    "  file     {}: a marked block at its top, and a copy beside it\n             {}",
                    named(path),
                    lines.trim_end().replace('\n', "\n             ")
                ),
            };
            if let Some(again) =
                self.ssl_again.as_ref().filter(|_| is_setting(&step) && number == last)
            {
                // Only a server with ssl = on is switched off in between.
                let as_before = if again.contains(" RESET ") {
                    "back to postgresql.conf: on"
                } else {
                    "as it was"
                };
                let _ = writeln!(text, "  setting  {}   ({as_before})", harmless(again));
            }
        }
        if self.alters_settings() {
            text.push_str(
                "  then     a reload, and a handshake that proves what is served; if PostgreSQL refuses the files, the\n           \
                 old settings are restored\n",
            );
        }
        for item in &self.by_hand {
            let _ = writeln!(text, "  by hand  {}", item.replace('\n', "\n           "));
        }
        for note in &self.notes {
            let _ = writeln!(text, "  note     {note}");
        }
        text
    }
}
