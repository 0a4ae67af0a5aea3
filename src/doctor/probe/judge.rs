//! The judgement about what a server shows. It is pure, except that it reads the bundle.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls::AlertDescription;

use crate::diagnose;
use crate::doctor::finding::{Code, Finding, Group, Section};
use crate::doctor::unverifiable::unchecked;
use crate::doctor::words::{self, for_shell, remaining};
use crate::files;
use crate::login;
use crate::material::reading::{self, Item};
use crate::material::{
    Certificate, Fault, ForbiddenBy, Refusal, Rejection, Usage, Warning, validity, verify_path,
};
use crate::text::ascii;
use crate::timing;
use crate::verify::{self, Answer, Facts, Served, Verdict};

/// The authorities to judge a server by.
#[derive(Debug, Clone)]
pub enum Bundle {
    /// No bundle was given, and none is configured.
    None,
    /// The configured bundle cannot be used, for this reason.
    Absent(String),
    /// The authorities of a file.
    Of(PathBuf, Vec<Certificate>),
}

/// The given bundle cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot use the bundle {path}: {why}")]
pub struct UnusableBundle {
    path: String,
    why: String,
}

/// Reads a bundle. Fails if it cannot be read, or is not a list of certificates; for a `published` one that is not an error, but
/// [`Bundle::Absent`].
pub(super) fn read(path: &Path, published: bool) -> Result<Bundle, UnusableBundle> {
    let failed = |why: String| UnusableBundle { path: words::path(path), why };
    match authorities(path) {
        Ok(found) => Ok(Bundle::Of(path.to_owned(), found)),
        Err(why) if published => Ok(Bundle::Absent(failed(why).to_string())),
        Err(why) => Err(failed(why)),
    }
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, String> {
    let bytes = files::contents(path).map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    for item in reading::read(&bytes) {
        match item.map_err(|error| error.to_string())? {
            Item::Certificate(certificate) => found.push(*certificate),
            Item::Key { .. } | Item::Store(_) => {
                return Err("it holds a private key, not a bundle".to_owned());
            }
        }
    }
    if found.is_empty() { Err("it holds no certificate".to_owned()) } else { Ok(found) }
}

pub(super) fn judge(
    facts: &Facts,
    bundle: &Bundle,
    host: Option<&str>,
    now: SystemTime,
) -> Section {
    let mut section = Section::new(Group::Judgement, "");
    match &facts.answer {
        Answer::Nothing(why) => section.add(
            Finding::failure(Code::ServerUnreachable, format!("{}: {}", facts.address, ascii(why)))
                .fix("check that PostgreSQL runs, and its listen_addresses and port"),
        ),
        Answer::Refused(alert) => section.add(refused(facts, *alert)),
        Answer::TooLarge => section.add(diagnose::explain(Verdict::Unreachable, facts, now)),
        Answer::Plaintext => section.add(
            Finding::failure(Code::ServerTlsOff, format!("{}: PostgreSQL has TLS turned off", facts.address)).fix(
                "ALTER SYSTEM SET ssl = on; then SELECT pg_reload_conf(); if `SHOW ssl` says on already, the server \
                 log says why the files were refused",
            ),
        ),
        Answer::Served(served) => {
            section.add(of_validity(&served.leaf, now));
            section.add(of_path(served, &facts.address, bundle, now));
            section.extend(host.map(|host| of_name(&served.leaf, host)));
            section.extend(of_request(served));
        }
    }
    section
}

/// A server that answers, but shows no certificate.
fn refused(facts: &Facts, alert: AlertDescription) -> Finding {
    let listed =
        |names: &mut dyn Iterator<Item = &'static str>| names.collect::<Vec<_>>().join(", ");
    let why = if verify::is_without_common_tls(alert) {
        format!(
            "it accepts nothing that pgsvid supports (key exchange {}; TLS 1.3 {}; TLS 1.2 {}). psql may support more",
            listed(&mut verify::groups()),
            listed(&mut verify::suites()),
            listed(&mut verify::ciphers()),
        )
    } else {
        "that is a fault of the server, which affects its other clients, too".to_owned()
    };
    Finding::failure(
        Code::ServerTlsUnspoken,
        format!(
            "{}: PostgreSQL ends the TLS handshake before it shows a certificate",
            facts.address
        ),
    )
    .cause(format!("it answers with the alert {}: {why}", verify::alert_name(alert)))
    .fix("see \"could not accept SSL connection\" in the server log: the line names the reason")
}

fn of_validity(leaf: &Certificate, now: SystemTime) -> Finding {
    match validity(leaf, now) {
        Ok(()) => Finding::ok(
            Code::ServedValidity,
            format!("the leaf is valid, {}", remaining(now, leaf.not_after(), now)),
        ),
        Err(Rejection::Expired(at)) => Finding::failure(
            Code::ServedValidity,
            format!("the leaf expired at {}", timing::utc(at)),
        )
        .fix("let pgsvid renew it (pgsvid status, pgsvid check), or publish a new one and reload"),
        Err(_) => {
            let start = timing::utc(leaf.not_before());
            Finding::failure(Code::ServedValidity, format!("the leaf is valid only from {start}"))
                .fix("compare the clocks of this machine and of the issuing authority")
        }
    }
}

fn of_path(served: &Served, address: &str, bundle: &Bundle, now: SystemTime) -> Finding {
    let (file, authorities) = match bundle {
        Bundle::None => {
            return Finding::skipped(
                Code::ServedChain,
                "whether an authority has signed the leaf: no bundle is given",
            )
            .fix("name the bundle: --bundle FILE");
        }
        Bundle::Absent(why) => {
            return Finding::skipped(
                Code::ServedChain,
                format!("whether an authority has signed the leaf: {why}"),
            );
        }
        Bundle::Of(path, authorities) => (path, authorities),
    };
    let path = words::path(file);
    // OpenSSL accepts a self-signed certificate that is itself trusted, whatever it may sign.
    if served.leaf.is_self_signed() && authorities.contains(&served.leaf) {
        return Finding::ok(
            Code::ServedChain,
            format!("the self-signed certificate itself is in {path}"),
        );
    }
    // A chain is verified for one point in time, and the leaf is not valid now.
    if validity(&served.leaf, now).is_err() {
        return Finding::skipped(Code::ServedChain, format!("whether the leaf chains to {path}"));
    }
    match verify_path(&served.leaf, &served.rest, authorities, Usage::Server, now) {
        Ok(_) => Finding::ok(Code::ServedChain, format!("the leaf chains to {path}")),
        Err(Refusal::Certificate { which, fault: Fault::NotForServers }) => {
            let warning = Warning::NotForServers(ForbiddenBy::of(&which));
            Finding::failure(Code::SvidNotForServers, warning.cause()).fix(warning.fix())
        }
        Err(why) if why.is_unchecked() => {
            let file = for_shell(file);
            unchecked(&why.to_string(), &format!(
                "openssl s_client -starttls postgres -connect {address} -CAfile {file} -verify_return_error </dev/null"
            ))
        }
        Err(why) => Finding::failure(Code::ServedChain, format!("the leaf does not chain to {path}: {why}"))
            .fix("use the bundle of the server's own trust domain, or find out which PostgreSQL answers there"),
    }
}

/// The finding about the server's name. It gives no command that adds the name to the registration entry, because it is unknown
/// whose server this is, and with that name another server could impersonate the host.
fn of_name(leaf: &Certificate, host: &str) -> Finding {
    let shown_host = ascii(host);
    if login::matches(leaf, host) {
        return Finding::ok(
            Code::ServedName,
            format!("sslmode=verify-full accepts it for {shown_host}"),
        );
    }
    let names = if leaf.dns_names().is_empty() {
        "it has none".to_owned()
    } else {
        ascii(&format!("it has {}", leaf.dns_names().join(", ")))
    };
    Finding::failure(
        Code::ServedName,
        format!("sslmode=verify-full does not accept it for {shown_host}: {names}"),
    )
    .cause("libpq compares the host with DNS and IP names, and with the CN where there are none")
    .fix("connect by a name that it has; or, if this is the server that you mean, add the name to its registration entry")
}

fn of_request(served: &Served) -> Option<Finding> {
    served.authorities.is_none().then(|| {
        Finding::warning(
            Code::ClientCertificatesUnasked,
            "the server does not ask for a client certificate, so `cert` and clientcert cannot work",
        )
        .fix("ALTER SYSTEM SET ssl_ca_file = '<the bundle>'")
    })
}
