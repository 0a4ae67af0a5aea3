//! What replication by certificate needs, as text to paste: on the primary, on a standby, and on a subscriber.

use std::fmt::Write as _;

use crate::companions::{conninfo, service_file};
use crate::sql::statements::{SCRIPT_HEAD, configuration_value, identifier, literal};
use crate::survey::PublishedPaths;
use crate::text::argument;

/// The map of `pg_ident.conf`.
const MAP: &str = "replication";
/// The functions that `pg_rewind` calls (PostgreSQL's page about it).
const REWIND: [&str; 4] = [
    "pg_catalog.pg_ls_dir(text, boolean, boolean)",
    "pg_catalog.pg_stat_file(text, boolean)",
    "pg_catalog.pg_read_binary_file(text)",
    "pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean)",
];

/// What replicates, and how.
#[derive(Debug, Clone)]
pub struct Replicating {
    /// The published files, as the standby or subscriber finds them.
    pub paths: PublishedPaths,
    /// The primary's host, a DNS name of its certificate.
    pub host: String,
    /// The primary's port.
    pub port: u16,
    /// The CN of the standby's or subscriber's certificate.
    pub common_name: String,
    /// The role that replicates.
    pub role: String,
    /// The physical slot, if there is to be one; for logical replication the subscription's slot.
    pub slot: Option<String>,
    /// Whether `pg_rewind` is to be possible.
    pub rewind: bool,
    /// The publication and its database, for logical replication.
    pub publication: Option<(String, String)>,
}

impl Replicating {
    /// The options of a connection to the primary; `database` for others than those that stream.
    fn conninfo(&self, database: Option<&str>) -> String {
        let path = |path: &std::path::Path| path.display().to_string();
        let port = self.port.to_string();
        let paths = &self.paths;
        let mut pairs = vec![
            ("host", self.host.clone()),
            ("port", port),
            ("user", self.role.clone()),
            ("application_name", self.common_name.clone()),
            ("sslmode", "verify-full".to_owned()),
            ("sslcert", path(&paths.certificate)),
            ("sslkey", path(&paths.private_key)),
            ("sslrootcert", path(&paths.bundle)),
        ];
        pairs.extend(database.map(|database| ("dbname", database.to_owned())));
        let pairs = pairs.iter().map(|(keyword, value)| conninfo::pair(keyword, value));
        pairs.collect::<Vec<_>>().join(" ")
    }

    fn hba_line(&self, database: &str) -> String {
        format!("hostssl  {database}  \"{}\"  all  cert map={MAP}", self.role)
    }
}

// Writing to a String does not fail, so the results are ignored.

/// The text, in parts that begin with `##` and say where each belongs.
///
/// # Errors
/// If libpq would take the path of the private key for the name of an engine.
pub fn replication(this: &Replicating) -> Result<String, service_file::Invalid> {
    service_file::refuse_engine(&this.paths.private_key)?;
    Ok(match &this.publication {
        None => physical(this),
        Some((publication, database)) => logical(this, publication, database),
    })
}

fn physical(this: &Replicating) -> String {
    let mut text = primary(this, "replication");
    if let Some(slot) = &this.slot {
        let _ = writeln!(
            text,
            "SELECT pg_catalog.pg_create_physical_replication_slot({slot})\n WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots WHERE slot_name = {slot});",
            slot = literal(slot)
        );
    }
    let mut databases = vec!["replication"];
    if this.rewind {
        databases.push("\"postgres\"");
        text.push_str(
            "-- For pg_rewind: the role reads every file of the data directory by them.\n",
        );
        for function in REWIND {
            let role = identifier(&this.role);
            let _ = writeln!(text, "GRANT EXECUTE ON FUNCTION {function} TO {role};");
        }
    }
    text.push_str(&access(this, &databases));
    if this.rewind {
        text.push_str(
            "
## On every server, in postgresql.conf; needs a restart
# pg_rewind needs this from before the failure, unless the cluster has data checksums (SHOW data_checksums).
wal_log_hints = on
",
        );
    }
    let slot = this.slot.as_ref();
    let option = slot.map(|slot| format!(" -S {}", argument(slot))).unwrap_or_default();
    let without_slot = if slot.is_none() {
        "# A copy of another standby has that standby's slot.\necho \"primary_slot_name = ''\" >> \"$PGDATA/postgresql.auto.conf\"\n"
    } else {
        ""
    };
    let streams = this.conninfo(None);
    let _ = write!(
        text,
        "
## On the standby, as PostgreSQL's user in a shell: the first copy, into the empty directory $PGDATA
# -R writes primary_conninfo. Never give it service=: it would write the paths of the present generation, which is deleted later.
pg_basebackup -D \"$PGDATA\" -X stream -R{option} -d {}
{without_slot}
## On the standby, in postgresql.conf: instead of -R, or after a copy made in another way
primary_conninfo = {}
",
        argument(&streams),
        configuration_value(&streams)
    );
    if let Some(slot) = slot {
        let _ = writeln!(text, "primary_slot_name = {}", configuration_value(slot));
    }
    if this.rewind {
        let _ = write!(
        text,
        "
## On a former primary, as PostgreSQL's user in a shell, while its server is stopped: make it a standby
# pg_rewind replaces the configuration files in $PGDATA by the other server's. Put your own back before you start the server.
# postgresql.auto.conf then has the other server's primary_slot_name: correct it.
pg_rewind -D \"$PGDATA\" -R --source-server={}
",
        argument(this.conninfo(Some("postgres")))
    );
    }
    text
}

fn logical(this: &Replicating, publication: &str, database: &str) -> String {
    let mut text = primary(this, "logical replication");
    let (role, name) = (literal(&this.role), literal(publication));
    let _ = write!(
        text,
        "\
\\connect {shown}
{SCRIPT_HEAD}
-- It reads the published tables for the first copy.
SELECT DISTINCT pg_catalog.format('GRANT USAGE ON SCHEMA %I TO %I', schemaname, {role})
  FROM pg_catalog.pg_publication_tables WHERE pubname = {name} \\gexec
SELECT pg_catalog.format('GRANT SELECT ON TABLE %I.%I TO %I', schemaname, tablename, {role})
  FROM pg_catalog.pg_publication_tables WHERE pubname = {name} \\gexec
",
        shown = identifier(database)
    );
    text.push_str(&access(this, &[&format!("\"{database}\"")]));
    let connection = literal(&this.conninfo(Some(database)));
    let publication = identifier(publication);
    // Each subscriber has a slot of its own at the publisher. Without a name it would be that of the subscription, which is the
    // same for all, and may have characters that a slot's name cannot have.
    let slot = this.slot.as_deref();
    let slot = slot.map(|slot| format!(" WITH (slot_name = {})", literal(slot)));
    let slot = slot.unwrap_or_default();
    let _ = write!(
        text,
        "
## On the publisher, in postgresql.conf; needs a restart
wal_level = logical

## On the subscriber, in psql as a superuser in its database, which has the tables
-- Its server reads the files at each connection, so they belong to PostgreSQL's user.
CREATE SUBSCRIPTION {publication} CONNECTION {connection} PUBLICATION {publication}{slot};
"
    );
    text
}

fn primary(this: &Replicating, what: &str) -> String {
    let (role, name) = (identifier(&this.role), literal(&this.role));
    // Nothing is granted to a role that has another purpose.
    let refused = literal(&format!(
        "role {role} exists without LOGIN and REPLICATION: ALTER ROLE {role} LOGIN REPLICATION, or name another one with --role"
    ));
    format!(
        "\
# {what} from {host}:{port}, by the certificate of {cn}. For a standby behind a standby run this command again: the standby in front is its --primary.

## On the primary, in psql as a superuser
{SCRIPT_HEAD}
DO $pgsvid$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {name}) THEN
    CREATE ROLE {role} LOGIN REPLICATION;
  ELSIF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {name} AND rolcanlogin AND rolreplication) THEN
    RAISE EXCEPTION USING MESSAGE = {refused};
  END IF;
END $pgsvid$;
",
        host = this.host,
        port = this.port,
        cn = this.common_name
    )
}

fn access(this: &Replicating, databases: &[&str]) -> String {
    let lines: Vec<String> = databases.iter().map(|database| this.hba_line(database)).collect();
    format!(
        "
## On the primary, in pg_hba.conf, above its general lines; then SELECT pg_catalog.pg_reload_conf()
{}

## On the primary, in pg_ident.conf; one line for each standby or subscriber
{MAP}  \"{}\"  \"{}\"
",
        lines.join("\n"),
        this.common_name,
        this.role
    )
}
