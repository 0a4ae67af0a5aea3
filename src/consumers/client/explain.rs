//! What the end of a login means: a verdict, and a finding with cause and remedy. Pure.
//!
//! Only what the server says is known here: a TLS alert, the SQLSTATE, and the name of the function that refused. What its
//! files say, `pgsvid check` on the database's machine explains.

use rustls::AlertDescription;

use super::settings::{ClientLogin, TargetState};
use super::walk::End;
use crate::diagnose::{self, line_by_certificate, more_connections};
use crate::finding::{Code, Finding};
use crate::login::{self, Distrust, Negotiation, Outcome, Refusal, Versions};
use crate::material::{self, Certificate, Fault, Material, Warning, Which};
use crate::sql::statements::identifier;
use crate::sql::word;
use crate::text::{argument, shown};
use crate::verify::{self, Verdict, is_without_common_tls};

/// The verdict on a login, and its finding; `None` if the client is admitted, and all is proven.
pub(super) fn explain(
    settings: &ClientLogin,
    end: &End,
    material: &Material,
) -> (Verdict, Option<Finding>) {
    let server = format!("the server at {}", end.address);
    let role = shown(&settings.role);
    let failure = |code, text: String| Finding::failure(code, text).about(end.address.as_str());
    let (verdict, finding) = match &end.outcome {
        Outcome::LoggedIn(_) if end.is_met == Some(false) => {
            (Verdict::Unavailable, wrong_state(settings, end))
        }
        Outcome::LoggedIn(_) => return (Verdict::Admitted, None),
        Outcome::Unreachable(why) => (Verdict::Unreachable, unreachable(settings, end, why)),
        Outcome::Busy => (
            Verdict::Unavailable,
            failure(
                Code::PostgresqlStarting,
                format!("{server} answers the request for TLS with an error: it starts, or has no more processes"),
            ),
        ),
        Outcome::ConnectionLost(why) => (
            Verdict::Unavailable,
            failure(Code::SessionLost, format!("{server} ended the login without an answer"))
                .cause(why.as_str())
                .fix("read the server's log: it says why it ended the connection"),
        ),
        Outcome::Plaintext => (
            Verdict::Plaintext,
            failure(Code::ServerTlsOff, format!("{server} has TLS turned off, so the client does not connect"))
                .fix("set ssl = on in postgresql.conf (PgBouncer: client_tls_sslmode), then reload"),
        ),
        Outcome::Untrusted(distrust) => (Verdict::ServerUntrusted, untrusted(end, distrust)),
        Outcome::Tls(why) => (
            Verdict::ServerUntrusted,
            failure(Code::ServerUntrusted, format!("the client does not trust {server}: {why}"))
                .fix(format!("check what is served: pgsvid probe {}", argument(&end.name))),
        ),
        Outcome::TooMuch => (
            Verdict::ServerUntrusted,
            failure(Code::NotPostgresql, format!("{server} sends far more than a PostgreSQL does at a login"))
                .fix("find out what listens there: host and port of the client's options"),
        ),
        Outcome::NoDirectTls => (Verdict::Refused, no_direct_tls(end)),
        Outcome::NoCertificate(None, _) if settings.negotiation == Negotiation::Direct => {
            (Verdict::Refused, no_direct_tls(end))
        }
        Outcome::NoCertificate(Some(AlertDescription::ProtocolVersion), _)
            if settings.versions != Versions::Both =>
        {
            (
                Verdict::Refused,
                failure(
                    Code::ServerTlsUnspoken,
                    format!("{server} has none of the versions of TLS that the client's options allow"),
                )
                .fix("change ssl_min_protocol_version or ssl_max_protocol_version, in the client's options or on the server, so that they have a version in common"),
            )
        }
        Outcome::NoCertificate(Some(alert), why) if is_without_common_tls(*alert) => (
            Verdict::Unverifiable,
            failure(
                Code::ServerTlsUnspoken,
                format!("pgsvid cannot try a login: {server} has no TLS parameters in common with it ({why})"),
            )
            .fix("try the login with psql: it has more of them"),
        ),
        Outcome::NoCertificate(_, why) => (
            Verdict::Unreachable,
            failure(Code::ServerUnreachable, format!("{server} ended the handshake before it showed a certificate"))
                .cause(why.as_str())
                .fix("read the server's log: it says why it ended the connection"),
        ),
        Outcome::WrongCurve => (Verdict::Refused, diagnose::wrong_curve(None, material.leaf())),
        Outcome::Alert(alert) => (Verdict::Refused, refused_certificate(end, *alert, material)),
        Outcome::Password => (
            Verdict::PasswordAsked,
            failure(
                Code::LoginPassword,
                format!("{server} asks {role} for a password, in addition to the certificate or instead of it"),
            )
            .cause("the line of pg_hba.conf that decides does not have the method cert")
            .fix(line_above(settings, material.leaf())),
        ),
        Outcome::OtherMethod => (
            Verdict::PasswordAsked,
            failure(
                Code::LoginOtherLine,
                format!("{server} asks {role} for another proof than the certificate, such as gss or oauth"),
            )
            .cause("the line of pg_hba.conf that decides does not have the method cert")
            .fix(line_above(settings, material.leaf())),
        ),
        Outcome::LoginRefused(refusal) => refused(settings, end, refusal, material.leaf()),
    };
    (verdict, Some(finding))
}

/// An error of the server after TLS. Errors that go away by themselves are no refusal.
fn refused(
    settings: &ClientLogin,
    end: &End,
    refusal: &Refusal,
    leaf: &Certificate,
) -> (Verdict, Finding) {
    let Refusal { code, text, routine } = refusal;
    let (role, database) = (&settings.role, &settings.database);
    let server = format!("the server at {}", end.address);
    let found = |code, text: String| Finding::failure(code, text).about(end.address.as_str());
    let says = format!("{server} refuses {}: {text}", shown(role));
    let busy = format!("{server} takes no new session now: {text}");
    // SQLSTATE classes (PostgreSQL: "PostgreSQL Error Codes").
    match (code.as_str(), routine.as_str()) {
        ("53300", _) => (
            Verdict::Unavailable,
            found(Code::ConnectionSlots, busy).fix(more_connections(role, database)),
        ),
        ("57P01" | "57P02" | "57P03", _) => {
            (Verdict::Unavailable, found(Code::PostgresqlStarting, busy))
        }
        // Out of resources, or an error of the system.
        (code, _) if code.starts_with("53") || code.starts_with("58") => {
            (Verdict::Unavailable, found(Code::SessionRefused, busy).fix("read the server's log"))
        }
        ("28000", "ClientAuthentication") => (
            Verdict::Refused,
            found(Code::LoginRejected, says)
                .cause("no line of pg_hba.conf lets the client in, or the first that matches rejects it or wants a valid certificate")
                .fix(line_above(settings, leaf)),
        ),
        ("28000", "InitializeSessionUserId") => (
            Verdict::Refused,
            found(Code::LoginRoleRefused, says)
                .cause("pg_hba.conf lets the certificate in, but the role does not exist, or may not log in")
                .fix(format!(
                    "create the role on the database, or let it log in: CREATE ROLE {0} LOGIN, or ALTER ROLE {0} LOGIN",
                    identifier(role)
                )),
        ),
        ("28000", "auth_failed") => (
            Verdict::Refused,
            found(Code::LoginNameRefused, says)
                .cause("the certificate's name is not the role's, and the map of the line in pg_hba.conf has no line in pg_ident.conf for both")
                .fix(line_above(settings, leaf)),
        ),
        ("3D000", _) => (
            Verdict::Refused,
            found(Code::DatabaseMissing, says).fix(format!(
                "set dbname to a database that exists, or create this one: CREATE DATABASE {}",
                identifier(database)
            )),
        ),
        ("42501", _) => (
            Verdict::Refused,
            found(Code::ConnectPrivilege, says).fix(format!(
                "let the role connect: GRANT CONNECT ON DATABASE {} TO {}",
                identifier(database),
                identifier(role)
            )),
        ),
        ("28000" | "28P01", _) => (
            Verdict::Refused,
            found(Code::LoginRefused, says)
                .cause("pg_hba.conf, pg_ident.conf or the role does not let the client in")
                .fix(line_above(settings, leaf)),
        ),
        _ => (
            Verdict::Refused,
            found(Code::LoginRefused, format!("{says} (SQLSTATE {code})"))
                .fix("read the server's log"),
        ),
    }
}

/// What `pg_hba.conf` and `pg_ident.conf` need, and which command judges them.
fn line_above(settings: &ClientLogin, leaf: &Certificate) -> String {
    let (map, line) = line_by_certificate(leaf, &settings.role, &word(&settings.database));
    format!(
        "on the database's machine: {map}put `{line}` above the line of pg_hba.conf that decides, and reload; `pgsvid check` there judges \
         these files"
    )
}

/// The server's answer to the certificate in the handshake (RFC 8446, section 6.2; OpenSSL: `ssl_x509err2alert`).
fn refused_certificate(end: &End, alert: AlertDescription, material: &Material) -> Finding {
    let server = format!("the server at {}", end.address);
    if let Some(by) = material.allowed_uses().clients {
        let warning = Warning::NotForClients(by);
        return Finding::failure(
            Code::SvidNotForClients,
            format!("{server} refuses the published certificate: it is not for clients"),
        )
        .cause(warning.cause())
        .fix(warning.fix())
        .about(end.address.as_str());
    }
    let bundle = "set ssl_ca_file (PgBouncer: client_tls_ca_file) to a bundle with the certificate's authority, then reload; `pgsvid check` on the \
                  database's machine judges it";
    let lists = "set ssl_crl_file and ssl_crl_dir to nothing, or to valid lists of every authority in the certificate's chain, then reload";
    let (cause, fix) = match alert {
        AlertDescription::CertificateRevoked => (
            "the certificate is on a revocation list of the server (ssl_crl_file, ssl_crl_dir)",
            "find out why it was revoked; a renewal gives the client another certificate. If the list is wrong, correct it on the database's machine, then reload",
        ),
        AlertDescription::CertificateExpired => (
            "the server's clock is after the certificate's end, or a revocation list of the server is past its nextUpdate",
            "compare the clocks of both machines; renew the server's revocation lists, then reload",
        ),
        AlertDescription::UnknownCA => (
            "the server does not know the certificate's authority, or has revocation lists and none of that authority",
            bundle,
        ),
        AlertDescription::DecryptError => {
            ("the server has another authority of the same name", bundle)
        }
        AlertDescription::BadCertificate => (
            "the certificate is not valid yet by the server's clock, or a revocation list of the server cannot be used",
            lists,
        ),
        _ => ("the server's log says why", bundle),
    };
    Finding::failure(
        Code::LoginCertificateRefused,
        format!(
            "{server} refuses the published certificate in the handshake (alert {})",
            verify::alert_name(alert)
        ),
    )
    .cause(cause)
    .fix(fix)
    .about(format!("{} {}", end.address, verify::alert_name(alert)))
}

/// Why the client's own checks refuse the server.
fn untrusted(end: &End, distrust: &Distrust) -> Finding {
    let found = |code| {
        let text = format!("the client does not trust the server at {}: {distrust}", end.address);
        Finding::failure(code, text).about(end.address.as_str())
    };
    let probe = format!("check what is served: pgsvid probe {}", argument(&end.name));
    match distrust {
        Distrust::Name(leaf) => found(Code::ServedName)
            .cause(format!(
                "the server's certificate has {}, and not {}; verify-full compares DNS names, never the SPIFFE ID",
                login::names(leaf),
                shown(&end.name)
            ))
            .fix("set host to a name of the server's certificate, or add this one to the server's registration entry"),
        Distrust::Chain(material::Refusal::Certificate { which: Which::Leaf, fault: Fault::Expired }) => {
            found(Code::ServedValidity)
                .cause("the server serves an expired certificate")
                .fix("on the database's machine see why it is not renewed: pgsvid status")
        }
        Distrust::Chain(material::Refusal::Certificate { fault: Fault::NotForServers, .. }) => {
            found(Code::SvidNotForServers).fix("let its authority issue the server's certificate with serverAuth")
        }
        Distrust::Chain(_) => found(Code::ServedChain)
            .cause("no path leads from the server's certificate to a root of the published bundle")
            .fix(format!(
                "check that client and server are of the same trust domain, and that the server has loaded its newest certificate (pgsvid status there); {probe}"
            )),
        Distrust::Malformed => found(Code::ServerUntrusted).fix(probe),
    }
}

fn unreachable(settings: &ClientLogin, end: &End, why: &str) -> Finding {
    if end.is_unresolved {
        return Finding::failure(Code::LoginNameUnresolved, why)
            .fix("let the name have an address in /etc/hosts or DNS, and let pgsvid reach the name servers over TCP, port 53: it looks again at the next login")
            .about(end.address.as_str());
    }
    let hosts = settings.hosts.len();
    let others =
        if hosts > 1 { format!(", nor any other of {hosts} hosts") } else { String::new() };
    Finding::failure(
        Code::ServerUnreachable,
        format!("the server at {} cannot be reached{others}", end.address),
    )
    .cause(why)
    .fix("start the server, or correct host and port of the client's options")
    .about(end.address.as_str())
}

fn wrong_state(settings: &ClientLogin, end: &End) -> Finding {
    let named = TargetState::NAMES.iter().find(|(_, state)| *state == settings.target);
    let name = named.map_or("any", |(name, _)| *name);
    Finding::failure(
        Code::LoginSessionState,
        format!("the client is let in at {}, but no host of its list is {name}", end.address),
    )
    .cause(format!("target_session_attrs={name}: the application does not use the other hosts"))
    .fix("let a server of the list be in that state: a standby is promoted, or a primary starts")
    .about(name)
}

fn no_direct_tls(end: &End) -> Finding {
    Finding::failure(
        Code::LoginDirectTls,
        format!("the server at {} has no direct TLS", end.address),
    )
    .cause("sslnegotiation=direct needs PostgreSQL 17 or later, or a PgBouncer that has it")
    .fix("leave sslnegotiation out of the client's options")
    .about(end.address.as_str())
}

#[cfg(test)]
mod tests;
