//! `--as-client ROLE`: a login with our certificate, and its refusal in terms of `pg_hba.conf` and `pg_ident.conf`.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use super::postgresql::Sql;
use crate::companions::{self, places::Invalid};
use crate::config::Config;
use crate::consumers::Server;
use crate::diagnose::{self, AccessFacts};
use crate::doctor::distrust::Distrust;
use crate::doctor::finding::{Code, Finding, Group, Section};
use crate::doctor::login::{self, Login, Outcome};
use crate::material::{Fault, Material, Refusal, Which};
use crate::sql::statements::identifier;
use crate::sql::{HbaRule, Psql, word};
use crate::text::argument;

/// Where a client would go: the service's host, or the PostgreSQL that takes part.
struct Place {
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
    let places = match places(config, server, sql, material) {
        Ok(places) => places,
        Err(error) => {
            let mut section = nowhere("libpq could not, either");
            section.add(
                Finding::failure(Code::ServiceHosts, error.to_string())
                    .fix("correct host, hostaddr and port of files.service.options"),
            );
            return section;
        }
    };
    let Some(first) = places.first() else {
        return nowhere("there is no address to log in at: set host in files.service.options");
    };
    let subject = format!(
        "{}:{}/{} as {role}",
        first.hosts.first().map_or("", String::as_str),
        first.port,
        first.database
    );
    let mut section = Section::new(Group::Login, subject);
    for place in &places {
        section.add(log_in(place, sql, material, access, role).await);
    }
    section
}

/// libpq tries one after the other; a client may end up at each.
async fn log_in(
    place: &Place,
    sql: &Sql,
    material: &Material,
    access: Option<&AccessFacts>,
    role: &str,
) -> Finding {
    let Some(name) = &place.name else {
        return Finding::failure(
            Code::SvidDnsName,
            "clients cannot use sslmode=verify-full: the server's SVID has no DNS name",
        )
        .fix("spire-server entry update -entryID <id> … -dns <the name that clients connect to>");
    };
    // rustls passes over the dot, and libpq does not.
    if name.ends_with('.') {
        return Finding::failure(
            Code::ServiceHostName,
            format!("clients do not trust the server: no certificate has a name with a dot at its end, as {name} has"),
        )
        .fix("take the dot out of host in files.service.options");
    }
    let login = Login {
        hosts: &place.hosts,
        port: place.port,
        name,
        role,
        database: &place.database,
        replication: false,
        material,
    };
    let groups = sql.answers().and_then(|answers| answers.groups.as_ref());
    let (outcome, from, to) = login::attempt(&login).await;
    if is_refused(&outcome) && may_replicate(access, role) {
        // A standby logs in for replication alone, and a line about databases does not let it in.
        let login = Login { replication: true, ..login.clone() };
        let (outcome, from, to) = login::attempt(&login).await;
        return explain(&login, &place.psql, groups, outcome, (from, to), access);
    }
    explain(&login, &place.psql, groups, outcome, (from, to), access)
}

/// Where libpq would go over TCP by the service; or else where the PostgreSQL that takes part listens.
fn places(
    config: &Config,
    server: Option<&Server>,
    sql: &Sql,
    material: &Material,
) -> Result<Vec<Place>, Invalid> {
    let option = |name: &str| {
        let service = config.service.as_ref();
        service.and_then(|service| service.options.get(name)).map_or("", String::as_str)
    };
    let socket = server.map(|server| server.session.administrator());
    let named = companions::places::places(option("host"), option("hostaddr"), option("port"))?;
    let named: Vec<_> = named
        .into_iter()
        .filter(|place| !place.is_socket())
        .map(|place| {
            let port = place.port;
            let database = option("dbname");
            let psql = || Psql::at(format!(" -h {} -p {port}", argument(place.target())));
            Place {
                psql: socket.clone().unwrap_or_else(psql),
                // `hostaddr` says where, `host` whom to expect there.
                hosts: vec![place.target().to_owned()],
                port,
                database: if database.is_empty() { "postgres" } else { database }.to_owned(),
                name: Some(if place.host.is_empty() { place.address } else { place.host }),
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
    Ok(vec![Place {
        hosts,
        port,
        database: server.session.database.clone(),
        // The address is this machine's; clients know the server by the first name of its certificate.
        name: material.leaf().dns_names().first().cloned(),
        psql: socket.unwrap_or_default(),
    }])
}

/// Whether `pg_hba.conf` has no line that lets the client in.
fn is_refused(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Refused { code, .. } if code == "28000")
}

/// Whether a line that names replication may be about the role, and none for databases is.
fn may_replicate(access: Option<&AccessFacts>, role: &str) -> bool {
    let about = |rule: &&HbaRule| rule.admits_tls() && rule.is_about(role) != Some(false);
    let replicates = |rule: &HbaRule| rule.databases.iter().any(|word| word == "replication");
    let rules = access.map(|access| access.rules.as_slice()).unwrap_or_default();
    rules.iter().filter(about).any(|rule| replicates(rule) && rule.wants_certificate())
        && !rules.iter().filter(about).any(|rule| !replicates(rule) && rule.wants_certificate())
}

fn explain(
    login: &Login<'_>,
    psql: &Psql,
    groups: Option<&BTreeSet<String>>,
    outcome: Outcome,
    (from, to): (Option<IpAddr>, Option<IpAddr>),
    access: Option<&AccessFacts>,
) -> Finding {
    let Login { role, name, database, material, .. } = login;
    match outcome {
        Outcome::Welcome => {
            let way = if login.replication { " for replication" } else { "" };
            Finding::ok(Code::ClientLogin, format!("logged in{way} as role {role}, server proven to be {name}, and out again"))
        }
        Outcome::Unreachable(reason) => Finding::failure(Code::ServerUnreachable, "the server cannot be reached")
            .cause(reason)
            .fix("see that PostgreSQL runs and listens there (listen_addresses, port), and that nothing is between"),
        Outcome::Plaintext => Finding::failure(Code::ServerTlsOff, "the server has TLS turned off, so verify-full refuses it")
            .fix("set ssl = on in postgresql.conf, then reload"),
        Outcome::Untrusted(distrust) => untrusted(name, &distrust),
        Outcome::Tls(why) => {
            Finding::failure(Code::ServerUntrusted, format!("clients do not trust the server: {why}"))
                .fix("see what is served: pgsvid probe")
        }
        Outcome::Rejected(alert) => {
            Finding::failure(Code::LoginCertificateRefused, "the server refuses our certificate in the handshake").cause(alert).fix(
                "let ssl_ca_file name a bundle with our authority, then reload; an expired certificate is refused, too",
            )
        }
        Outcome::TooMuch => Finding::failure(Code::NotPostgresql, "the server says far more than a PostgreSQL at a login; \
                 the rest was not read")
            .fix("see what listens there (host and port of files.service.options, or of postgres)"),
        Outcome::Password => Finding::failure(Code::LoginPassword, format!("role {role} is asked for a password, beside or instead of the certificate"))
            .fix(format!(
                "put `hostssl {} {} all cert` above the line that asks for it, then reload",
                if login.replication { "replication".to_owned() } else { word(database) },
                word(role)
            )),
        Outcome::Refused { code, text } => match code.as_str() {
            "28000" | "28P01" => {
                let login = diagnose::Login {
                    role,
                    database,
                    from: from.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                    leaf: material.leaf(),
                    replication: login.replication,
                    groups,
                    to,
                    said: &text,
                    psql,
                };
                let found = diagnose::refused_login(&login, access);
                Finding::failure(found.code, format!("PostgreSQL refuses the login: {text}"))
                    .because_of(found)
            }
            "3D000" => Finding::failure(Code::DatabaseMissing, format!("PostgreSQL refuses the login: {text}"))
                .fix("name another one, or make it")
                .command(psql.execute(&format!("CREATE DATABASE {}", identifier(database)))),
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

fn untrusted(name: &str, distrust: &Distrust) -> Finding {
    let finding =
        |code| Finding::failure(code, format!("clients do not trust the server: {distrust}"));
    match distrust {
        Distrust::Name => finding(Code::ServedName)
            .cause(format!("the server's certificate is not for {name}; verify-full looks at DNS names, never at the SPIFFE ID"))
            .fix(format!("connect by a name that it has, or: spire-server entry update … -dns {name}")),
        Distrust::Chain(Refusal::Certificate { which: Which::Leaf, fault: Fault::Expired }) => {
            finding(Code::ServedValidity)
                .cause("PostgreSQL serves an expired certificate")
                .fix("see the findings about TLS above")
        }
        Distrust::Chain(_) => finding(Code::ServedChain)
            .cause("OpenSSL finds no path from its chain to a root of the published bundle that it takes")
            .fix("see that client and server are of one trust domain, and that ssl_cert_file names the whole chain"),
        Distrust::Malformed => {
            finding(Code::ServerUntrusted).fix("see what is served: pgsvid probe")
        }
    }
}
