//! What a session asks the server. Nothing here changes anything but `end_sessions`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::administration::{self, Administration, Role};
use super::citus::{self, Citus};
use super::error::Error;
use super::outgoing::{self, AllOutgoing};
use super::replication::{self, Replication};
use super::role_rights::{self, RoleRights};
use super::session::Session;
use super::sessions::{self, EndedSession, SessionCounts};
use super::settings::{self, Setting, TlsSettings};
use super::socket::Allowance;
use super::statements::{RESERVE, literal};
use super::views::{self, AccessViews};
use pgsvid_base::text::shown;

/// How many roles are queried at once.
const MOST_NAMES: usize = 500;

impl Session {
    /// The settings that concern TLS, as the postmaster has read them and a new session sees them.
    pub async fn tls_settings(&self) -> Result<TlsSettings, Error> {
        settings::parse(&self.rows(settings::QUERY, Allowance::FEW).await?)
    }

    /// The errors in the files that a reload reads (postgresql.conf, `pg_hba.conf`), or some of them if there are many: file,
    /// line and message. Only for a role with [`TlsSettings::may_read_errors`].
    pub async fn file_errors(&self) -> Result<Vec<String>, Error> {
        let rows = self.rows(settings::ERRORS, Allowance::FEW).await?;
        Ok(rows.into_iter().flatten().flatten().map(|text| shown(&text)).collect())
    }

    /// The errors that keep the server from loading its configuration files, without settings that only wait for a restart.
    /// Only for a role with [`TlsSettings::may_read_errors`].
    pub async fn configuration_errors(&self) -> Result<Vec<String>, Error> {
        let rows = self.rows(settings::CONFIGURATION_ERRORS, Allowance::FEW).await?;
        Ok(rows.into_iter().flatten().flatten().map(|text| shown(&text)).collect())
    }

    /// The TLS settings by name as the files have them that a reload reads. Only for a role with
    /// [`TlsSettings::may_read_errors`].
    pub async fn tls_settings_in_files(&self) -> Result<BTreeMap<String, Setting>, Error> {
        Ok(settings::in_files(&self.rows(settings::IN_FILES, Allowance::FEW).await?))
    }

    /// How many sessions there are by protocol, how many TLS sessions are older than `age`, and which sessions have outlived
    /// a client's certificate, whose longest life is `life`. Only for a role with [`TlsSettings::may_read_stats`].
    pub async fn session_counts(
        &self,
        age: Duration,
        life: Duration,
    ) -> Result<SessionCounts, Error> {
        sessions::parse(&self.rows(&sessions::query(age, life), Allowance::FEW).await?)
    }

    /// Ends sessions whose client has shown a certificate and that are older than `age`, the oldest first and at most `most`;
    /// returns them. Never those of superusers, of this role, or of replication. Ends none if the role lacks
    /// [`TlsSettings::may_read_stats`] or [`TlsSettings::may_end_sessions`].
    pub async fn end_sessions(&self, age: Duration, most: u32) -> Result<Vec<EndedSession>, Error> {
        sessions::ended(&self.rows(&sessions::end(age, most), Allowance::FEW).await?, most)
    }

    /// Who receives from this server, and whether it receives itself. Without [`TlsSettings::may_read_stats`] only the numbers are
    /// right.
    pub async fn replication(&self) -> Result<Replication, Error> {
        replication::parse(&self.rows(&replication::query(), Allowance::FEW).await?)
    }

    /// What this server connects to: its subscriptions, and the foreign servers of this database, as far as the role sees them.
    pub async fn outgoing(&self) -> Result<AllOutgoing, Error> {
        let allowed = self.rows(&outgoing::allowed(), Allowance::FEW).await?;
        let [Some(strings), Some(mappings), Some(subscriptions), Some(unseen)] =
            allowed.first().map(Vec::as_slice).unwrap_or_default()
        else {
            return Err(Error::Unexpected);
        };
        let number = |text: &String| text.parse::<u64>().map_err(|_| Error::Unexpected);
        let (sees_strings, sees_mappings) = (strings == "t", mappings == "t");
        let mut found = AllOutgoing {
            unseen_subscriptions: if sees_strings { 0 } else { number(subscriptions)? },
            unseen_mappings: if sees_mappings { 0 } else { number(unseen)? },
            ..AllOutgoing::default()
        };
        if sees_strings {
            let rows = self.rows(&outgoing::subscriptions(), Allowance::LISTS).await?;
            (found.seen, found.is_cut) = outgoing::parse_subscriptions(&rows)?;
        }
        let rows = self.rows(&outgoing::servers(), Allowance::LISTS).await?;
        let (servers, is_cut) = outgoing::parse_servers(&rows)?;
        found.seen.extend(servers);
        found.is_cut |= is_cut;
        Ok(found)
    }

    /// Whether the nodes of a Citus cluster reach each other; `None` without the extension in this database.
    pub async fn citus(&self) -> Result<Option<Citus>, Error> {
        let asked = self.rows(citus::ALLOWED, Allowance::FEW).await?;
        let Some([Some(schema), Some(may)]) = asked.first().map(Vec::as_slice) else {
            return Ok(None);
        };
        if may != "t" {
            return Ok(Some(Citus::Denied));
        }
        citus::parse(&self.rows(&citus::query(schema), Allowance::LISTS).await?).map(Some)
    }

    /// What the role may do in this database, queried without trying it.
    pub async fn standing(&self) -> Result<RoleRights, Error> {
        let mut loaded = self.rows(role_rights::LOADED, Allowance::FEW).await?;
        let role = self.rows(role_rights::ROLE, Allowance::FEW).await?;
        let is_superuser = role.first().and_then(|row| row.get(1)?.as_deref()) == Some("t");
        if is_superuser {
            loaded.extend(self.rows(role_rights::CHANGED, Allowance::FEW).await?);
            loaded.extend(self.rows(role_rights::WAYS, Allowance::FEW).await?);
        }
        role_rights::parse(&role, &self.rows(role_rights::SETTINGS, Allowance::FEW).await?, &loaded)
    }

    /// `pg_hba.conf` and `pg_ident.conf` as the server reads them; `None` if the role may not see them.
    pub async fn access(&self) -> Result<Option<AccessViews>, Error> {
        let allowed = self.rows(views::ALLOWED, Allowance::FEW).await?;
        let may = |view: usize| {
            let answer = allowed.first().and_then(|row| row.get(view)?.as_deref());
            answer == Some("t")
        };
        if !may(0) {
            return Ok(None);
        }
        let rules = views::rules(&self.rows(views::HBA, Allowance::LISTS).await?)?;
        let mut bad = views::bad_lines(&self.rows(views::HBA_ERRORS, Allowance::LISTS).await?);
        let mut mappings = None;
        if may(1) {
            bad.extend(views::bad_lines(&self.rows(views::IDENT_ERRORS, Allowance::LISTS).await?));
            mappings = Some(views::mappings(&self.rows(views::IDENT, Allowance::LISTS).await?)?);
        }
        let quoted =
            if may(2) { self.rows(views::QUOTED, Allowance::FEW).await? } else { Vec::new() };
        let quotes_known = quoted.first().and_then(|row| row.first()?.as_deref()) == Some("f");
        Ok(Some(AccessViews { rules, mappings, bad, quotes_known }))
    }

    /// Those of the named roles that exist.
    pub async fn roles(&self, names: &[&str]) -> Result<BTreeMap<String, Role>, Error> {
        let mut found = BTreeMap::new();
        for names in names.chunks(MOST_NAMES) {
            let rows = self.rows(&administration::roles_query(names), Allowance::FEW).await?;
            found.extend(administration::roles(&rows));
        }
        Ok(found)
    }

    /// Those of `groups` that the role is a member of, directly or through other roles, or that are the role itself. A
    /// superuser is a member only of groups that were granted to it (PostgreSQL: `hba.c`, `is_member`).
    pub async fn groups(&self, role: &str, groups: &[&str]) -> Result<Vec<String>, Error> {
        let names: Vec<String> = groups.iter().map(|name| literal(name)).collect();
        let role = literal(role);
        let query = format!(
            "WITH RECURSIVE own (oid) AS ( \
                 SELECT oid FROM pg_catalog.pg_roles WHERE rolname = {role} \
                 UNION SELECT m.roleid FROM own JOIN pg_catalog.pg_auth_members m ON m.member = own.oid) \
             SELECT r.rolname FROM own JOIN pg_catalog.pg_roles r ON r.oid = own.oid \
              WHERE r.rolname OPERATOR(pg_catalog.=) ANY (ARRAY[{}]::pg_catalog.text[])",
            names.join(", ")
        );
        let rows = self.rows(&query, Allowance::FEW).await?;
        Ok(rows.into_iter().filter_map(|mut row| row.pop().flatten()).collect())
    }

    /// Everything that setup needs to know of a server, for a superuser: about `role`, about `others`, which are the roles of
    /// workloads, and about `files`, which are paths on the server. `None` if the session's role is not a superuser.
    pub async fn administration(
        &self,
        role: &str,
        others: &[&str],
        files: &[&Path],
    ) -> Result<Option<Administration>, Error> {
        let server =
            administration::pairs(&self.rows(administration::SERVER, Allowance::FEW).await?);
        if server.get("is_superuser").is_none_or(|value| value != "on") {
            return Ok(None);
        }
        let manager =
            administration::pairs(&self.rows(administration::MANAGER, Allowance::FEW).await?);
        let mut roles = self.roles(&[others, &[role, RESERVE]].concat()).await?;
        // The server has this role from 16 on.
        let has_reserve_role = roles.remove(RESERVE).is_some();
        let related = self.rows(&administration::related_query(role), Allowance::FEW).await?;
        let rows = self.rows(&administration::role_query(role), Allowance::FEW).await?;
        let may = |column: usize| {
            rows.first().and_then(|row| row.get(column)?.as_deref()).is_some_and(|may| may == "t")
        };
        let sees = administration::pairs(
            &self.rows(&administration::sees_query(files), Allowance::FEW).await?,
        );
        Ok(Some(Administration {
            tls: self.tls_settings().await?,
            data_directory: administration::path(&server, "data_directory")?,
            hba_file: administration::path(&server, "hba_file")?,
            ident_file: administration::path(&server, "ident_file")?,
            started: server
                .get("started")
                .and_then(|text| text.parse().ok())
                .ok_or(Error::Unexpected)?,
            in_recovery: server.get("recovery").is_some_and(|value| value == "true"),
            manager: administration::manager(&server, &manager),
            altered: administration::pairs(
                &self.rows(administration::ALTERED, Allowance::LISTS).await?,
            ),
            may_reload: may(0),
            has_reserve: has_reserve_role.then(|| may(1)),
            roles,
            related: administration::related(&related),
            sees: sees
                .into_iter()
                .filter(|(_, seen)| seen == "true")
                .map(|(file, _)| PathBuf::from(file))
                .collect(),
        }))
    }

    /// The first of these names that a PostgreSQL regular expression matches. The server's engine decides, with the collation
    /// of `pg_ident.conf` (`hba.c`, `regcomp_auth_token`).
    pub async fn first_match(
        &self,
        expression: &str,
        names: &[&str],
    ) -> Result<Option<String>, Error> {
        let (names, expression) = (
            names.iter().copied().map(literal).collect::<Vec<_>>().join(", "),
            literal(expression),
        );
        let query = format!(
            "SELECT name FROM pg_catalog.unnest(ARRAY[{names}]::pg_catalog.text[]) WITH ORDINALITY AS known (name, place) \
              WHERE name OPERATOR(pg_catalog.~) {expression}::pg_catalog.text COLLATE pg_catalog.\"C\" ORDER BY place LIMIT 1"
        );
        let rows = self.rows(&query, Allowance::FEW).await?;
        Ok(rows.into_iter().next().and_then(|mut row| row.pop()).flatten())
    }

    /// The text for `\1` where a PostgreSQL regular expression matches a text, or the whole match if the expression has no
    /// parentheses; `None` if it does not match.
    pub async fn first_part(&self, expression: &str, text: &str) -> Result<Option<String>, Error> {
        let (text, expression) = (literal(text), literal(expression));
        let query = format!(
            "SELECT (pg_catalog.regexp_match({text}::pg_catalog.text, {expression}::pg_catalog.text COLLATE pg_catalog.\"C\"))[1]"
        );
        let rows = self.rows(&query, Allowance::FEW).await?;
        rows.into_iter().next().and_then(|mut row| row.pop()).ok_or(Error::Unexpected)
    }
}
