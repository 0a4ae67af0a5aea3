//! The judgement about what a server shows: pure, but for reading the bundle.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::doctor::finding::{Code, Finding, Group, Section};
use crate::doctor::host_name;
use crate::doctor::words::{self, remaining, shown};
use crate::files;
use crate::material::reading::{self, Item};
use crate::material::{Certificate, Rejection, Usage, validity, verify_path};
use crate::timing;
use crate::verify::{Answer, Facts, Served};

/// What a server is judged by.
#[derive(Debug, Clone)]
pub enum Bundle {
    /// Nothing was named, and nothing is configured.
    None,
    /// What is configured cannot be used, for this reason.
    Absent(String),
    /// The authorities of a file.
    Of(PathBuf, Vec<Certificate>),
}

/// The bundle that was asked for cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot use the bundle {path}: {why}")]
pub struct UnusableBundle {
    path: String,
    why: String,
}

/// Reads a bundle. The `published` one may be missing.
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
            Item::Key { .. } => return Err("it holds a private key, not a bundle".to_owned()),
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
            Finding::failure(Code::ServerUnreachable, format!("{}: {}", facts.address, shown(why)))
                .fix("look whether PostgreSQL runs, and at its listen_addresses and port"),
        ),
        Answer::Plaintext => section.add(
            Finding::failure(Code::ServerTlsOff, format!("{}: PostgreSQL has TLS turned off", facts.address)).fix(
                "ALTER SYSTEM SET ssl = on; then SELECT pg_reload_conf(); if `SHOW ssl` says on already, the server \
                 log says why the files were refused",
            ),
        ),
        Answer::Served(served) => {
            section.add(of_validity(&served.leaf, now));
            section.add(of_path(served, bundle, now));
            section.extend(host.map(|host| of_name(&served.leaf, host)));
            section.extend(of_request(served));
        }
    }
    section
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

fn of_path(served: &Served, bundle: &Bundle, now: SystemTime) -> Finding {
    let (path, authorities) = match bundle {
        Bundle::None => {
            return Finding::skipped(
                Code::ServedChain,
                "whether an authority vouches for the leaf: no bundle is given",
            )
            .fix("--bundle FILE");
        }
        Bundle::Absent(why) => {
            return Finding::skipped(
                Code::ServedChain,
                format!("whether an authority vouches for the leaf: {why}"),
            );
        }
        Bundle::Of(path, authorities) => (words::path(path), authorities),
    };
    // OpenSSL takes a self-signed certificate that is itself among the trusted ones, whatever it may sign.
    if served.leaf.is_self_signed() && authorities.contains(&served.leaf) {
        return Finding::ok(
            Code::ServedChain,
            format!("the self-signed certificate itself is in {path}"),
        );
    }
    // A path is valid at a time, and its leaf is not.
    if validity(&served.leaf, now).is_err() {
        return Finding::skipped(Code::ServedChain, format!("whether the leaf chains to {path}"));
    }
    match verify_path(&served.leaf, &served.rest, authorities, Usage::Server, now) {
        Ok(_) => Finding::ok(Code::ServedChain, format!("the leaf chains to {path}")),
        Err(why) => Finding::failure(Code::ServedChain, format!("the leaf does not chain to {path}: {why}"))
            .fix("use the bundle of the server's own trust domain, or look which PostgreSQL answers there"),
    }
}

fn of_name(leaf: &Certificate, host: &str) -> Finding {
    let shown_host = shown(host);
    if host_name::matches(leaf, host) {
        return Finding::ok(
            Code::ServedName,
            format!("sslmode=verify-full takes it for {shown_host}"),
        );
    }
    let names = if leaf.dns_names().is_empty() {
        "it has none".to_owned()
    } else {
        shown(&format!("it has {}", leaf.dns_names().join(", ")))
    };
    Finding::failure(
        Code::ServedName,
        format!("sslmode=verify-full does not take it for {shown_host}: {names}"),
    )
    .cause("libpq compares the host with DNS and IP names, and with the CN where there are none")
    .fix(format!(
        "spire-server entry update -entryID <id> … -dns {shown_host}, or connect by a name it has"
    ))
}

fn of_request(served: &Served) -> Option<Finding> {
    served.authorities.is_none().then(|| {
        Finding::warning(
            Code::ClientCertificatesUnasked,
            "the server asks for no client certificate: `cert` and clientcert cannot work",
        )
        .fix("ALTER SYSTEM SET ssl_ca_file = '<the bundle>'")
    })
}
