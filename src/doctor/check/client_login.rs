//! `--as-client ROLE`: a login with the published certificate, and an explanation of a refusal in terms of `pg_hba.conf` and
//! `pg_ident.conf`.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use super::postgresql::Sql;
use crate::companions::{self, hosts::Invalid};
use crate::config::Config;
use crate::consumers::Server;
use crate::diagnose::{self, AccessFacts};
use crate::doctor::entry;
use crate::doctor::finding::{Code, Finding, Group, Section, Severity};
use crate::doctor::profile::warned;
use crate::login::{
    self, Distrust, Login, Negotiation, Outcome, Refusal as LoginRefusal, Session, Verify, Versions,
};
use crate::material::{By, Certificate, Fault, Material, Refusal, Warning, Which, workload_id};
use crate::sql::statements::identifier;
use crate::sql::{HbaRule, Psql, Settings, TlsSettings, word};
use crate::text::{argument, shown};
use crate::verify::{self, Client};

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
    let routes = match routes(config, server, sql, material) {
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
                    "whether a client with a certificate of its own can log in: this login showed the database's certificate{whose}"
                ),
            )
            .fix("run check on the client, with the client's configuration"),
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

/// A login that was tried.
struct Tried<'a> {
    login: Login<'a>,
    material: &'a Material,
    /// How a superuser reaches the server.
    psql: &'a Psql,
    groups: Option<&'a BTreeSet<String>>,
    /// The two ends of the connection.
    from: Option<IpAddr>,
    to: Option<IpAddr>,
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
                database: if database.is_empty() { "postgres" } else { database }.to_owned(),
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

fn explain(
    tried: &Tried<'_>,
    outcome: Outcome,
    access: Option<&AccessFacts>,
    settings: Option<(&TlsSettings, &Settings)>,
) -> Finding {
    let Tried { login, material, psql, groups, from, to } = tried;
    let Login { role, name, database, .. } = login;
    match outcome {
        Outcome::LoggedIn(session) => logged_in(login, session),
        Outcome::Unreachable(reason) => Finding::failure(Code::ServerUnreachable, "the server cannot be reached")
            .cause(reason)
            .fix("check that the host's name has an address (DNS, /etc/hosts), that PostgreSQL runs and listens there (listen_addresses, port), and that no \
                  firewall is in between"),
        Outcome::Plaintext => Finding::failure(Code::ServerTlsOff, "the server has TLS turned off, so verify-full refuses it")
            .fix("set ssl = on in postgresql.conf, then reload"),
        Outcome::Busy => Finding::skipped(
            Code::ClientLogin,
            "whether a client can log in: the server answers the request for TLS with an error, because it starts, or has no more processes",
        ),
        // This login begins with an SSLRequest.
        Outcome::NoDirectTls => Finding::skipped(Code::ClientLogin, "the server has no direct TLS"),
        Outcome::Untrusted(distrust) => untrusted(name, &distrust),
        Outcome::Tls(why) => {
            Finding::failure(Code::ServerUntrusted, format!("clients do not trust the server: {why}"))
                .fix("see what is served: pgsvid probe")
        }
        Outcome::NoCertificate(_, alert) => Finding::skipped(
            Code::ServerTlsUnspoken,
            format!("pgsvid cannot try a login: the server ends the handshake before it shows a certificate ({alert})"),
        )
        .fix(format!(
            "try the login with psql; pgsvid supports the key exchange groups {} (ssl_ecdh_curve, ssl_groups), and for TLS 1.2 the cipher suites {} (ssl_ciphers)",
            verify::groups().collect::<Vec<_>>().join(", "),
            verify::ciphers().collect::<Vec<_>>().join(", ")
        )),
        Outcome::WrongCurve => diagnose::wrong_curve(settings, material.leaf()),
        Outcome::ConnectionLost(_) | Outcome::Alert(_) if material.fitness().clients.is_some() => {
            not_for_clients(material)
        }
        Outcome::Alert(alert) => match settings.filter(|(settings, _)| settings.revocation) {
            Some((settings, _)) => diagnose::refused_by_lists(settings, alert, material.leaf()),
            None => certificate_refused(format!("alert {}", verify::alert_name(alert))),
        },
        Outcome::ConnectionLost(why) => certificate_refused(why),
        Outcome::TooMuch => Finding::failure(Code::NotPostgresql, "the server sends far more than a PostgreSQL does at a login; \
                 the rest was not read")
            .fix("find out what listens there (host and port of files.service.options, or of postgres)"),
        Outcome::Password => Finding::failure(Code::LoginPassword, format!("PostgreSQL asks role {role} for a password, in addition to or instead of the certificate"))
            .fix(line_above(login, material)),
        Outcome::OtherMethod => Finding::failure(Code::LoginOtherLine, format!("PostgreSQL asks role {role} for a login by another method than the certificate, such as gss or oauth"))
            .fix(line_above(login, material)),
        Outcome::LoginRefused(LoginRefusal { code, text, .. }) => match code.as_str() {
            "28000" | "28P01" => {
                let login = diagnose::RefusedLogin {
                    role,
                    database,
                    from: from.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                    leaf: material.leaf(),
                    replication: login.replication,
                    groups: *groups,
                    to: *to,
                    message: &text,
                    psql,
                };
                let found = diagnose::refused_login(&login, access);
                Finding::failure(found.code, format!("PostgreSQL refuses the login: {text}"))
                    .because_of(found)
            }
            "53300" => Finding::failure(Code::ConnectionSlots, format!("PostgreSQL refuses the login: {text}"))
                .fix(diagnose::more_connections(role, database)),
            "3D000" => Finding::failure(Code::DatabaseMissing, format!("PostgreSQL refuses the login: {text}"))
                .fix("set dbname in files.service.options to a database that exists, or create this one")
                .command(psql.execute(&format!("CREATE DATABASE {}", identifier(database)))),
            // PostgreSQL: "must be superuser or replication role to start walsender".
            "42501" if login.replication => Finding::failure(Code::ConnectPrivilege, format!("PostgreSQL refuses the login: {text}"))
                .cause("pg_hba.conf lets the role in for replication only, but the role may not replicate")
                .fix(format!(
                    "for a client of a database put `hostssl {} {} all cert` into pg_hba.conf, then reload; for a standby",
                    word(database),
                    word(role)
                ))
                .command(psql.execute(&format!("ALTER ROLE {} REPLICATION", identifier(role)))),
            "42501" => Finding::failure(Code::ConnectPrivilege, format!("PostgreSQL refuses the login: {text}"))
                .command(psql.execute(&format!(
                    "GRANT CONNECT ON DATABASE {} TO {}",
                    identifier(database),
                    identifier(role)
                ))),
            _ => Finding::failure(Code::LoginRefused, format!("PostgreSQL refuses the login: {text} (SQLSTATE {code})"))
                .fix("the server log says more"),
        },
    }
}

/// The line to put above the one that asks for something else.
fn line_above(login: &Login<'_>, material: &Material) -> String {
    let database = if login.replication { "replication".to_owned() } else { word(login.database) };
    let (line, also) = diagnose::line_by_certificate(material.leaf(), login.role, &database);
    format!("put `{line}` above the line that asks for it{also}, then reload")
}

fn certificate_refused(why: String) -> Finding {
    Finding::failure(Code::LoginCertificateRefused, "the server refuses the published certificate in the handshake").cause(why).fix(
        "set ssl_ca_file to a bundle that contains the certificate's authority; set ssl_crl_file and ssl_crl_dir to nothing, or to revocation lists \
         of every authority in its chain; then reload. If the certificate has expired, see the findings about the published files",
    )
}

/// The finding about a certificate that is not for clients. It replaces every other cause of a refusal in the handshake, because
/// every server refuses such a certificate.
fn not_for_clients(material: &Material) -> Finding {
    let by = material.fitness().clients.unwrap_or(By::Leaf);
    warned(Warning::NotForClients(by), material.leaf())
}

fn logged_in(login: &Login<'_>, session: Session) -> Finding {
    let Login { role, name, .. } = login;
    let way = if login.replication { " for replication" } else { "" };
    if !session.certificate_asked {
        return Finding::warning(
            Code::ClientLogin,
            format!("logged in{way} as role {role}, but not by the certificate: the server asks for none"),
        )
        .cause("ssl_ca_file is empty, or the line of pg_hba.conf that lets the client in has another method than cert")
        .fix("set ssl_ca_file, and the method cert in that line, then reload; otherwise anyone who reaches the server can be this role");
    }
    let pooled = if session.is_process {
        ""
    } else {
        "; the server is a pooler such as PgBouncer, which lets a client in without asking PostgreSQL"
    };
    let text = format!(
        "logged in{way} as role {role}, proved that the server is {name}, and logged out{pooled}"
    );
    Finding::ok(Code::ClientLogin, text)
}

fn untrusted(name: &str, distrust: &Distrust) -> Finding {
    let finding =
        |code| Finding::failure(code, format!("clients do not trust the server: {distrust}"));
    match distrust {
        Distrust::Name(leaf) => {
            let finding = finding(Code::ServedName).cause(format!(
                "the server's certificate has {}, and not {name}; verify-full compares DNS names, never the SPIFFE ID",
                login::names(leaf)
            ));
            // The entry is the server's, which need not be that of the published set.
            let id = match leaf.uris() {
                [uri] => workload_id(uri).ok(),
                _ => None,
            };
            entry::add_name(finding, id.map(|id| id.to_string()).as_deref(), name)
        }
        Distrust::Chain(Refusal::Certificate { which: Which::Leaf, fault: Fault::Expired }) => {
            finding(Code::ServedValidity)
                .cause("PostgreSQL serves an expired certificate")
                .fix("see the findings about TLS above")
        }
        Distrust::Chain(Refusal::Certificate { which, fault: Fault::NotForServers }) => {
            finding(Code::SvidNotForServers).fix(Warning::NotForServers(By::of(which)).fix())
        }
        Distrust::Chain(_) => finding(Code::ServedChain)
            .cause("OpenSSL accepts no path from its chain to a root of the published bundle")
            .fix("check that client and server are in the same trust domain, and that ssl_cert_file names the whole chain"),
        Distrust::Malformed => {
            finding(Code::ServerUntrusted).fix("see what is served: pgsvid probe")
        }
    }
}
