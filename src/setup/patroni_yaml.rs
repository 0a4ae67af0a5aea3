//! What each node needs in Patroni's configuration, as text to paste.

use std::fmt::Write as _;
use std::path::Path;

use super::Settings;
use super::managed;
use crate::companions::patroni_yaml::scalar;
use crate::companions::service_file;
use crate::consumers::RestApi;
use crate::text::argument;

/// The map of the nodes in `pg_ident.conf`.
const NODES: &str = "pgsvid_nodes";
/// The map of Patroni's own sessions over the socket.
const LOCAL: &str = "pgsvid_patroni";
/// The names in `postgresql.authentication`: superuser, replication, rewind.
const ROLES: [&str; 3] = ["postgres", "replicator", "rewind_user"];

// Writing to a String does not fail, so the results are ignored.

/// The text for Patroni's configuration, with a final newline.
///
/// # Errors
/// If libpq would take the path of the private key for the name of an engine.
pub fn patroni_yaml(settings: &Settings, api: &RestApi) -> Result<String, service_file::Invalid> {
    let paths = &settings.server.paths;
    service_file::refuse_engine(&paths.private_key)?;
    let [certificate, key, bundle] =
        [&paths.certificate, &paths.private_key, &paths.bundle].map(|path| quoted(path));
    let mut yaml = String::from(
        "\
# For Patroni's configuration on each node (docs/patroni.md). The lines of pg_hba and pg_ident go above your own.
# postgres, replicator and rewind_user: the names in your postgresql.authentication.
",
    );
    let patroni = patroni_user(settings);
    yaml.push_str(&managed::patroni(settings, &hba(patroni), &(ident(settings) + &local(patroni))));
    let _ = write!(
        yaml,
        "  # pg_ident needs the three lines with {NODES} for EACH node:\n  \
         # {NODES} \"<first DNS name of that node's certificate>\" {}\n",
        ROLES.join(" | ")
    );
    if patroni.is_some() {
        yaml.push_str(
            "  # Patroni's own sessions need no certificate. By TCP its replication login fails unless the certificate has the name\n  \
             # that Patroni connects to, often \"localhost\"; then an old leader does not follow the new one after a crash.\n  \
             use_unix_socket: true\n  use_unix_socket_repl: true\n",
        );
    }
    yaml.push_str("  authentication:\n");
    for (user, name) in
        [("superuser", "postgres"), ("replication", "replicator"), ("rewind", "rewind_user")]
    {
        let _ = write!(
            yaml,
            "    {user}:\n      username: {name}\n      sslmode: verify-full\n      sslcert: {certificate}\n      \
             sslkey: {key}\n      sslrootcert: {bundle}\n"
        );
    }
    yaml.push_str(
        "restapi:\n  # HAProxy and other health checks then need a certificate, too. With \"optional\" only POST, PUT, PATCH and DELETE do.\n  \
         verify_client: required\n",
    );
    // Patroni's configuration names programs that it runs: `callbacks`, `archive_command`, `bin_dir`.
    yaml.push_str(
        "  # Every certificate of the published authorities gets this far, and a request can change the configuration, which runs programs.\n  \
         # So only the nodes may change something. Against other workloads on the nodes: a password (restapi.authentication, the same on\n  \
         # all nodes; patroni.username and patroni.password_file for pgsvid).\n  \
         allowlist: [127.0.0.1]\n  allowlist_include_members: true\n",
    );
    match &api.part {
        Some(part) => {
            let _ = writeln!(
                yaml,
                "  # certfile, keyfile and cafile, all of one set, come from a link in a directory that Patroni is started with\n  \
                 # (docs/patroni.md, step 2):\n  \
                 # ln -s {} /etc/patroni/node/50-pgsvid.yml",
                argument(part)
            );
        }
        None => {
            let _ = write!(
                yaml,
                "  # Without files.patroni in pgsvid's configuration, a reload in the middle of a rotation can end the REST API.\n  \
                 certfile: {certificate}\n  keyfile: {key}\n  cafile: {bundle}\n"
            );
        }
    }
    let _ = write!(
        yaml,
        "# patronictl, and Patroni itself towards other nodes.\n\
         ctl:\n  certfile: {certificate}\n  keyfile: {key}\n  cacert: {bundle}\n\
         # If your store is an etcd that demands certificates, add this to your section with its hosts:\n\
         # etcd3:\n#   protocol: https\n#   cert: {certificate}\n#   key: {key}\n#   cacert: {bundle}\n"
    );
    Ok(yaml)
}

/// The lines that let Patroni itself in over the socket, and the nodes: replication, and `pg_rewind`.
fn hba(patroni: Option<&str>) -> String {
    let [superuser, replication, rewind] = ROLES;
    let mut text = String::new();
    if patroni.is_some() {
        let _ = write!(
            text,
            "local all {superuser} peer map={LOCAL}\nlocal replication {replication} peer map={LOCAL}\n"
        );
    }
    let _ = write!(
        text,
        "hostssl replication {replication} all cert map={NODES}\nhostssl all {superuser},{rewind} all cert map={NODES}\n"
    );
    text
}

/// The lines that let Patroni's user be the superuser and the role for replication over the socket.
fn local(patroni: Option<&str>) -> String {
    let [superuser, replication, _] = ROLES;
    patroni.map_or_else(String::new, |user| {
        format!("{LOCAL} \"{user}\" {superuser}\n{LOCAL} \"{user}\" {replication}\n")
    })
}

/// Patroni's operating-system user: pgsvid runs as the same (docs/patroni.md), unless it logs in with a password.
fn patroni_user(settings: &Settings) -> Option<&str> {
    settings.roles.login.as_ref().and_then(|login| login.os_user.as_deref())
}

/// The lines that let the CN of this node, its first DNS name, be the roles of Patroni.
fn ident(settings: &Settings) -> String {
    let Some(name) = settings.expectations.dns_names.first() else { return String::new() };
    let mut text = String::new();
    for role in ROLES {
        let _ = writeln!(text, "{NODES} \"{name}\" {role}");
    }
    text
}

fn quoted(path: &Path) -> String {
    scalar(&path.display().to_string())
}
