//! `--as-client ROLE`: a login with the published certificate, and an explanation of a refusal in terms of `pg_hba.conf` and
//! `pg_ident.conf`.

use super::login_outcome::{Tried, explain};
use super::postgresql::Sql;
use crate::companions::{self, hosts::Invalid};
use crate::config::Config;
use crate::consumers::Server;
use crate::diagnose::AccessFacts;
use crate::doctor::entry;
use crate::doctor::finding::{Code, Finding, Group, Section, Severity};
use crate::login::{self, Login, Negotiation, Outcome, Verify, Versions};
use crate::material::{Certificate, Material};
use crate::sql::{HbaRule, Psql};
use crate::text::{argument, shown};
use crate::verify::Client;

/// Where a client would connect: the service's host, or the configured PostgreSQL.
struct ClientRoute {
    hosts: Vec<String>,
    port: u16,
    database: String,
    /// The name that the server must prove.
    name: Option<String>,
    /// How a superuser reaches the server.
    psql: Psql,
}

pub(super) async fn section(
    config: &Config,
    server: Option<&Server>,
    sql: &Sql,
    on_disk: Option<&Material>,
    access: Option<&AccessFacts>,
    role: &str,
) -> Section {
    let nowhere = |text: &str| {
        let mut section = Section::new(Group::Login, format!("as {role}"));
        section.add(Finding::skipped(Code::ClientLogin, text));
        section
    };
    let Some(material) = on_disk else {
        return nowhere("there is no published set to log in with");
    };
    let routes = match routes(config, server, sql, material, role) {
        Ok(routes) => routes,
        Err(error) => {
            let mut section = nowhere(
                "no login was tried: libpq refuses host, hostaddr and port of files.service.options",
            );
            section.add(
                Finding::failure(Code::ServiceHosts, error.to_string())
                    .fix("correct host, hostaddr and port of files.service.options"),
            );
            return section;
        }
    };
    let Some(first) = routes.first() else {
        return nowhere("there is no address to log in at: set host in files.service.options");
    };
    let subject = format!(
        "{}:{}/{} as {role}",
        first.hosts.first().map_or("", String::as_str),
        first.port,
        first.database
    );
    let mut section = Section::new(Group::Login, subject);
    for route in &routes {
        section.add(log_in(route, server, sql, material, access, role).await);
    }
    let failed = section.findings.iter().any(|found| found.severity == Severity::Failure);
    let name = material.leaf().common_name();
    if failed && server.is_some() && name.as_deref() != Some(role) {
        let whose = name.map_or_else(String::new, |name| format!(", whose CN is {}", shown(&name)));
        section.add(
            Finding::skipped(
                Code::ClientLogin,
                format!(
                    "not checked: whether a client with a certificate of its own can log in. pgsvid logged in with the database's certificate{whose}"
                ),
            )
            .fix("use --as-client on the client's machine, with the client's configuration"),
        );
    }
    section
}

/// The section if no role is named for a login, and the service says where clients connect.
pub(super) fn untried(config: &Config) -> Option<Section> {
    let options = &config.service()?.options;
    let host = options.get("host").or_else(|| options.get("hostaddr"))?;
    let role = options.get("user").map_or("ROLE", String::as_str);
    let mut section = Section::new(Group::Login, shown(host));
    section.add(
        Finding::skipped(
            Code::ClientLogin,
            "whether a client reaches the server, trusts it, and can log in: no login was tried",
        )
        .fix(format!("add --as-client {}", argument(role))),
    );
    Some(section)
}

/// Logs in at one host. libpq tries the hosts in order, so a client may end at any of them.
async fn log_in(
    route: &ClientRoute,
    server: Option<&Server>,
    sql: &Sql,
    material: &Material,
    access: Option<&AccessFacts>,
    role: &str,
) -> Finding {
    let Some(name) = &route.name else {
        let finding = Finding::failure(
            Code::SvidDnsName,
            "clients cannot use sslmode=verify-full: the server's SVID has no DNS name",
        );
        return entry::add_own_name_to(finding, material);
    };
    // rustls ignores a dot at the end of a host name; libpq compares it.
    if name.ends_with('.') {
        return Finding::failure(
            Code::ServiceHostName,
            format!("clients do not trust the server: {name} ends with a dot, and no certificate has such a name"),
        )
        .fix("remove the dot at the end of host in files.service.options");
    }
    // rustls takes no key of this kind, for example one on the curve P-521.
    let Some(client) = Client::unchecked(material) else {
        return Finding::skipped(
            Code::ClientLogin,
            "whether a client can log in: pgsvid cannot sign with the published key",
        )
        .fix("try the login with psql");
    };
    let authorities: Vec<Certificate> = material.authorities().cloned().collect();
    let login = Login {
        name,
        verify: Verify::Full,
        negotiation: Negotiation::Request,
        versions: Versions::Both,
        role,
        database: &route.database,
        replication: false,
        application_name: "pgsvid check",
        parameters: &[],
        authorities: &authorities,
        client: Some(&client),
    };
    let place = (&route.hosts[..], route.port);
    let groups = sql.answers().and_then(|answers| answers.groups.as_ref());
    let settings = sql.answers().map(|answers| &answers.settings);
    let settings = settings.zip(server.map(|server| &server.session));
    let of = |login: &Login<'_>, (outcome, from, to)| {
        let tried = Tried { login: login.clone(), material, psql: &route.psql, groups, from, to };
        explain(&tried, outcome, access, settings)
    };
    let attempted = login::attempt(place, &login).await;
    if is_refused(&attempted.0) && may_replicate(access, role) {
        // A standby only logs in for replication, and a line about databases does not let it in.
        let login = Login { replication: true, ..login.clone() };
        return of(&login, login::attempt(place, &login).await);
    }
    of(&login, attempted)
}

/// Where clients connect over TCP: the hosts of `files.service.options`; without them, where the configured PostgreSQL listens.
///
/// # Errors
/// If libpq refuses the combination of `host`, `hostaddr` and `port`.
fn routes(
    config: &Config,
    server: Option<&Server>,
    sql: &Sql,
    material: &Material,
    role: &str,
) -> Result<Vec<ClientRoute>, Invalid> {
    let option = |name: &str| {
        let service = config.service();
        service.and_then(|service| service.options.get(name)).map_or("", String::as_str)
    };
    let socket = server.map(|server| server.session.administrator());
    let named = companions::hosts::listed(option("host"), option("hostaddr"), option("port"))?;
    named.iter().try_for_each(companions::hosts::HostEntry::check_address)?;
    let named: Vec<_> = named
        .into_iter()
        .filter(|route| !route.is_socket())
        .map(|route| {
            let port = route.port;
            let database = option("dbname");
            let [_, _, bundle] = config.place.paths();
            let name = if route.host.is_empty() { &route.address } else { &route.host };
            let psql = || Psql::at(name, &route.address, port, &bundle);
            ClientRoute {
                psql: socket.clone().unwrap_or_else(psql),
                // `hostaddr` is the address, `host` the name to expect there.
                hosts: vec![route.target().to_owned()],
                port,
                // As libpq does.
                database: if database.is_empty() { role } else { database }.to_owned(),
                name: Some(if route.host.is_empty() { route.address } else { route.host }),
            }
        })
        .collect();
    if !named.is_empty() {
        return Ok(named);
    }
    let Some(server) = server else { return Ok(Vec::new()) };
    let known = sql
        .answers()
        .map(|answers| (answers.settings.listen_addresses.as_str(), answers.settings.port));
    let Some((hosts, port)) = server.verify.target.hosts(known, server.session.port) else {
        return Ok(Vec::new());
    };
    Ok(vec![ClientRoute {
        hosts,
        port,
        database: server.session.database.clone(),
        // The address belongs to this machine; clients know the server by the first name in its certificate.
        name: material.leaf().dns_names().first().cloned(),
        psql: socket.unwrap_or_default(),
    }])
}

/// Whether PostgreSQL refused the client (SQLSTATE 28000): no line of `pg_hba.conf` lets it in, or another reason with this
/// code, such as a role that does not exist.
fn is_refused(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::LoginRefused(refusal) if refusal.code == "28000")
}

/// Whether a line that names replication may match the role, and no line for databases does.
fn may_replicate(access: Option<&AccessFacts>, role: &str) -> bool {
    let about = |rule: &&HbaRule| rule.matches_tls() && rule.is_about(role) != Some(false);
    let replicates = |rule: &HbaRule| rule.databases.iter().any(|word| word == "replication");
    let rules = access.map(|access| access.rules.as_slice()).unwrap_or_default();
    rules.iter().filter(about).any(|rule| replicates(rule) && rule.wants_certificate())
        && !rules.iter().filter(about).any(|rule| !replicates(rule) && rule.wants_certificate())
}
