//! What the outcome of a client's login means, and its remedy.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use crate::diagnose::{self, AccessFacts};
use crate::doctor::entry;
use crate::doctor::finding::{Code, Finding};
use crate::doctor::profile::warned;
use crate::login::{self, Distrust, Login, Outcome, Refusal as LoginRefusal, Session};
use crate::material::{Fault, ForbiddenBy, Material, Refusal, Warning, Which, workload_id};
use crate::sql::statements::identifier;
use crate::sql::{Psql, Settings, TlsSettings, word};
use crate::verify;

/// A login that was tried.
pub(super) struct Tried<'a> {
    pub(super) login: Login<'a>,
    pub(super) material: &'a Material,
    /// How a superuser reaches the server.
    pub(super) psql: &'a Psql,
    pub(super) groups: Option<&'a BTreeSet<String>>,
    /// The two ends of the connection.
    pub(super) from: Option<IpAddr>,
    pub(super) to: Option<IpAddr>,
}

/// The finding about a login that was tried.
pub(super) fn explain(
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
                .fix("check what is served: pgsvid probe")
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
        Outcome::ConnectionLost(_) | Outcome::Alert(_) if material.allowed_uses().clients.is_some() => {
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
    let (map, line) = diagnose::line_by_certificate(material.leaf(), login.role, &database);
    format!("{map}put `{line}` above the line that asks for it, and reload")
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
    let by = material.allowed_uses().clients.unwrap_or(ForbiddenBy::Leaf);
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
            finding(Code::SvidNotForServers).fix(Warning::NotForServers(ForbiddenBy::of(which)).fix())
        }
        Distrust::Chain(_) => finding(Code::ServedChain)
            .cause("OpenSSL accepts no path from its chain to a root of the published bundle")
            .fix("check that client and server are in the same trust domain, and that ssl_cert_file names the whole chain"),
        Distrust::Malformed => {
            finding(Code::ServerUntrusted).fix("check what is served: pgsvid probe")
        }
    }
}
