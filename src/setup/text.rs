//! The text of what PostgreSQL needs, ready to paste or to mount: each piece says why it is needed, and in which file.

use std::fmt::Write as _;

use super::Settings;
use crate::companions::role_map::{INCLUDES, OwnLogin};
use crate::publish::Place;
use crate::sql::statements::{configuration_value, identifier, role_script};
use crate::sql::{in_database, session_grants_script};
use crate::text::argument;

/// Connection slots to reserve: as many as the role may have connections.
const RESERVED: u32 = 3;

/// A piece of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// Role and grants, as SQL.
    Sql,
    /// Role and grants, with those to see and to end the sessions of others.
    SqlWithSessions,
    /// Lines for `postgresql.conf`.
    PostgresqlConf,
    /// Lines for `pg_hba.conf`.
    Hba,
    /// Lines for `pg_ident.conf`.
    Ident,
    /// All of them, one after the other.
    All,
}

// Writing to a String does not fail, so the results are ignored.

/// The text of a piece, with a final newline.
#[must_use]
pub fn text(settings: &Settings, piece: Piece) -> String {
    match piece {
        Piece::Sql => sql(settings),
        Piece::SqlWithSessions => {
            let ends = settings.server.sessions.end_after.is_some();
            sql(settings) + &session_grants_script(&settings.server.session.user, ends)
        }
        Piece::PostgresqlConf => postgresql_conf(settings),
        Piece::Hba => hba(settings),
        Piece::Ident => ident(settings),
        Piece::All => {
            [sql(settings), postgresql_conf(settings), hba(settings), ident(settings)].join("\n")
        }
    }
}

fn sql(settings: &Settings) -> String {
    let session = &settings.server.session;
    let mut text = format!(
        "\
-- For psql as a superuser, in the database that pgsvid connects to:
--   pgsvid setup sql | psql -U {} {}{}

{}",
        argument(&settings.superuser),
        in_database(&session.database),
        session.psql_options(),
        role_script(&session.user),
    );
    if let Some(path) = &session.password_file {
        let _ = write!(
            text,
            "\n-- pgsvid logs in with the password in {}: give it to the role, with psql's\n--   \\password {}\n",
            path.display(),
            session.user
        );
    }
    let roles = settings.roles.roles();
    if !roles.is_empty() {
        text.push_str(
            "\n-- The roles of [[roles]], if they do not exist yet. You decide what to grant them.\n",
        );
        for role in roles {
            let _ = writeln!(text, "-- CREATE ROLE {} LOGIN;", identifier(role));
        }
    }
    text
}

fn postgresql_conf(settings: &Settings) -> String {
    let mut text = if matches!(settings.place, Place::InPlace(_)) {
        "\
# For postgresql.conf. With ssl = on PostgreSQL does not start while one of these files is missing, or key and certificate do
# not fit together: `pgsvid check` must have no failure about them.

# The files of [certificates]. PostgreSQL reads them at each reload. Client certificates are checked against ssl_ca_file.
"
    } else {
        "\
# For postgresql.conf. Publish first (pgsvid fetch): with ssl = on and without the files PostgreSQL does not start.

# The published set. PostgreSQL reads it at each reload. Client certificates are checked against ssl_ca_file.
"
    }
    .to_owned();
    for (name, value) in settings.wanted() {
        let value = if value == "on" { value } else { configuration_value(&value) };
        let _ = writeln!(text, "{name} = {value}");
    }
    let _ = write!(text, "
# A listener on TCP, so that a handshake can prove what is served: 'localhost', the default, is enough.
#listen_addresses = 'localhost'       # needs a restart

# PostgreSQL 16 and later: slots that clients cannot take from pgsvid.
#reserved_connections = {RESERVED}             # needs a restart
"
    );
    if let Some(map) = settings.published_map() {
        let _ = write!(text, "
# Before PostgreSQL {INCLUDES}: the map that pgsvid keeps up to date, instead of pg_ident.conf. All other lines that
# you need there belong in files.ident_lines.
#ident_file = {}       # needs a restart
",
            configuration_value(&map.display().to_string())
        );
    }
    text
}

fn hba(settings: &Settings) -> String {
    format!(
        "# For pg_hba.conf, above its general lines: the first line that matches decides.\n\n{}",
        settings.roles.hba()
    )
}

fn ident(settings: &Settings) -> String {
    let mut text = "# For pg_ident.conf.\n\n".to_owned();
    if let Some(map) = settings.published_map() {
        let own = settings.roles.login.as_ref().and_then(OwnLogin::ident_line);
        let own = own.map(|line| format!("#   {line}\n")).unwrap_or_default();
        let _ = write!(text, "\
# PostgreSQL {INCLUDES} and later only need this, and pgsvid keeps the rest up to date in the included file:
{own}#   {}
# Before PostgreSQL {INCLUDES} either ident_file names the published map (see setup postgresql-conf), or all of these
# lines go here.
",
            include(&map),
        );
    }
    text.push_str(&settings.roles.ident());
    text
}

/// The line that includes the published map, if `pg_ident.conf` can include files. A map that does not exist yet must not
/// keep PostgreSQL from reading the other lines.
pub(super) fn include(map: &std::path::Path) -> String {
    format!("include_if_exists \"{}\"", map.display())
}
