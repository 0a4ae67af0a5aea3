//! The grants by which a role sees the sessions of others, and ends them.

use std::fmt::Write as _;

use super::Settings;
use super::statements::{identifier, literal};

/// The role whose members see the sessions of all roles.
const SEES: &str = "pg_read_all_stats";
/// The role whose members may end sessions, except those of superusers.
const ENDS: &str = "pg_signal_backend";
/// The roles of which a role that ends sessions is a member.
pub const SESSION_GROUPS: [&str; 2] = [SEES, ENDS];
/// From this version on a role that does not inherit needs the option `WITH INHERIT TRUE`.
const HAS_INHERIT_OPTION: u32 = 160_000;

impl Settings {
    /// The command that lets the role see the sessions of others (`sees`), and end them (`ends`).
    #[must_use]
    pub fn grant_sessions(&self, sees: bool, ends: bool, version: u32) -> String {
        let wanted = [(SEES, sees), (ENDS, ends)].into_iter().filter(|(_, wanted)| *wanted);
        let wanted: Vec<&str> = wanted.map(|(role, _)| role).collect();
        let inherit = if version >= HAS_INHERIT_OPTION { " WITH INHERIT TRUE" } else { "" };
        let role = identifier(&self.user);
        self.psql(&format!("GRANT {} TO {role}{inherit}", wanted.join(", ")))
    }
}

/// The grant to see the sessions of others, as a script that can be run again, on any version; `ends` adds the right to end
/// sessions.
#[must_use]
pub fn session_grants_script(role: &str, ends: bool) -> String {
    let mut script = format!(
        "
-- For `pgsvid status --sessions` and the metrics: it sees the sessions of other roles, and their statements.
{}",
        grant(role, SEES)
    );
    if ends {
        let _ = write!(
            script,
            "
-- For postgres.end_sessions: it may end the sessions and cancel the statements of every role that is no superuser.
{}",
            grant(role, ENDS)
        );
    }
    script
}

fn grant(role: &str, group: &str) -> String {
    let name = literal(role);
    format!(
        "\
DO $pgsvid$ BEGIN
  EXECUTE pg_catalog.format('GRANT {group} TO %I', {name}) ||
    CASE WHEN pg_catalog.current_setting('server_version_num')::pg_catalog.int4 >= {HAS_INHERIT_OPTION}
         THEN ' WITH INHERIT TRUE' ELSE '' END;
END $pgsvid$;
"
    )
}
