//! What libpq makes of the values that a service gives, and of the variables for what it leaves out.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject as _;

use crate::companions::parameters::{self, Effect, Flaw};
use crate::companions::places::{self, Place};
use crate::companions::service_reader::Entry;
use crate::config::Environment;
use crate::doctor::finding::{Code, Finding};
use crate::files;
use crate::material::{Certificate, Material};
use crate::text::argument;

/// Largest file of revocation lists that is read, in bytes, and most files of a directory.
const LARGEST: u64 = 16 * 1024 * 1024;
const MOST: usize = 1000;

/// A service, and where it is written.
pub(super) struct Service<'a> {
    pub(super) entries: &'a [Entry],
    pub(super) environment: &'a Environment,
    pub(super) file: &'a Path,
}

impl Service<'_> {
    /// The service's value, or else the variable's. An empty variable counts, as libpq has it.
    fn value(&self, keyword: &str) -> Option<String> {
        let written = self.entries.iter().find(|entry| entry.keyword == keyword);
        written.map(|entry| entry.value.clone()).or_else(|| {
            let value = self.environment.get(parameters::variable(keyword)?)?;
            Some(value.to_string_lossy().into_owned())
        })
    }

    fn given(&self, keyword: &str) -> String {
        self.value(keyword).unwrap_or_default()
    }

    /// `keyword` as it is written there, or as the variable.
    fn name(&self, keyword: &str) -> String {
        let is_written = self.entries.iter().any(|entry| entry.keyword == keyword);
        match parameters::variable(keyword) {
            Some(variable) if !is_written => variable.to_owned(),
            _ => keyword.to_owned(),
        }
    }

    /// How it is taken away.
    fn without(&self, keyword: &str) -> String {
        let name = self.name(keyword);
        if name == keyword {
            format!("take {keyword} out of the service in {}", self.file.display())
        } else {
            format!("unset {name}")
        }
    }

    /// All of it. `on_disk` is the published set, whose issuers are those of the servers as well.
    pub(super) fn judge(&self, on_disk: Option<&Material>) -> Vec<Finding> {
        let flaws = parameters::flaws(|keyword| self.value(keyword));
        let mut findings: Vec<_> = flaws.iter().map(|flaw| self.flaw(flaw)).collect();
        match places::places(&self.given("host"), &self.given("hostaddr"), &self.given("port")) {
            Ok(places) => findings.extend(places.iter().filter_map(|place| self.place(place))),
            Err(error) => findings.push(
                Finding::failure(Code::ServiceHosts, format!("libpq refuses the service: {error}"))
                    .fix("write lists of one length, separated by commas and without blanks"),
            ),
        }
        findings.extend(self.revocation(on_disk));
        findings
    }

    fn flaw(&self, flaw: &Flaw) -> Finding {
        let Flaw { keyword, effect, why } = flaw;
        let text = format!("{}={}: {why}", self.name(keyword), self.given(keyword));
        match effect {
            Effect::Refused => Finding::failure(Code::ServiceValue, text),
            Effect::NoCertificate => Finding::failure(Code::ServiceCertificateUnused, text),
            Effect::NotByCertificate => Finding::warning(Code::ServiceMethod, text),
        }
        .fix(self.without(keyword))
    }

    fn place(&self, place: &Place) -> Option<Finding> {
        let Place { host, address, .. } = place;
        if place.is_socket() {
            if host.is_empty() {
                return Some(
                    Finding::warning(
                        Code::ServiceSocket,
                        "no host: libpq connects over a Unix socket, without TLS and without a certificate, unless the \
                         client names one",
                    )
                    .fix("give the service a host"),
                );
            }
            return Some(
                Finding::failure(
                    Code::ServiceSocket,
                    format!(
                        "host={host} is a Unix socket: libpq connects without TLS and without a certificate, whatever sslmode says"
                    ),
                )
                .fix("give the server's name as host, for a connection over TCP"),
            );
        }
        if !matches!(self.given("sslmode").as_str(), "verify-full" | "") {
            return None;
        }
        let wrong = |why: String| {
            Finding::failure(Code::ServiceHostName, why).fix(
                "let host be a DNS name of the server's certificate; hostaddr may say where it is",
            )
        };
        if host.is_empty() {
            return Some(wrong(format!(
                "hostaddr={address} without host: libpq has no name to look for in the server's certificate"
            )));
        }
        if host.trim() != host
            || host.ends_with('.')
            || host.contains(':') && host.parse::<IpAddr>().is_err()
        {
            return Some(wrong(format!(
                "host={host:?}: libpq compares all of it with the names of the server's certificate, and none has a blank, a \
                 port, or a dot at its end"
            )));
        }
        host.parse::<IpAddr>().is_ok().then(|| {
            Finding::warning(
                Code::ServiceHostName,
                format!("host={host}: an SVID has no addresses, so libpq does not take the server's for this one"),
            )
            .fix("let host be a DNS name of the server's certificate, and hostaddr the address")
        })
    }

    /// libpq checks revocation as soon as it has read anything from these, and then wants a list of each authority
    /// (`X509_V_FLAG_CRL_CHECK_ALL`; `initialize_SSL`).
    fn revocation(&self, on_disk: Option<&Material>) -> Option<Finding> {
        let (file, directory) = (self.given("sslcrl"), self.given("sslcrldir"));
        let home = self.environment.get("HOME").filter(|home| !home.is_empty());
        let (path, lists, fix) = if !directory.is_empty() {
            (PathBuf::from(&directory), lists_in(Path::new(&directory)), self.without("sslcrldir"))
        } else if !file.is_empty() {
            (PathBuf::from(&file), lists(Path::new(&file))?, self.without("sslcrl"))
        } else {
            let path = Path::new(home?).join(".postgresql/root.crl");
            let name = argument(&path);
            let lists = lists(&path)?;
            (path, lists, format!("mv {name} {name}.unused"))
        };
        let issuers = on_disk.map(issuers).unwrap_or_default();
        let missing = issuers.iter().find(|issuer| {
            let names = |list: &Vec<u8>| holds(list, issuer.subject());
            !lists.iter().any(names)
        });
        let text = match missing {
            Some(issuer) => format!(
                "{} has no revocation list of {}: libpq then trusts no certificate of it (certificate verify failed)",
                path.display(),
                issuer.subject_text()
            ),
            None if issuers.is_empty() => format!(
                "libpq reads {}, and trusts no server then unless it has a revocation list of each authority",
                path.display()
            ),
            None => return None,
        };
        Some(Finding::failure(Code::ClientRevocationList, text).fix(fix))
    }
}

/// Who has signed what a server of the trust domain shows: the intermediates, and an authority that vouches for the last one.
fn issuers(material: &Material) -> Vec<&Certificate> {
    let mut issuers: Vec<_> = material.chain().skip(1).collect();
    if let [authority] = material.own_authorities() {
        issuers.push(authority);
    } else if issuers.is_empty() {
        issuers.extend(material.own_authorities());
    }
    issuers
}

/// The lists of a file; `None` if libpq passes over it, because there is nothing in it that OpenSSL loads.
fn lists(path: &Path) -> Option<Vec<Vec<u8>>> {
    let text = files::read(path, LARGEST).ok()?;
    let lists: Vec<Vec<u8>> = CertificateRevocationListDer::pem_slice_iter(&text)
        .filter_map(|list| Some(list.ok()?.to_vec()))
        .collect();
    let has_certificate = text.windows(11).any(|it| it == b"CERTIFICATE");
    (!lists.is_empty() || has_certificate).then_some(lists)
}

/// Those of a directory: `<hash>.r<number>`. libpq takes any directory, be it empty.
fn lists_in(directory: &Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().take(MOST).flatten();
    let is_list = |path: &PathBuf| {
        path.extension().and_then(|it| it.to_str()).is_some_and(|it| it.starts_with('r'))
    };
    entries
        .map(|entry| entry.path())
        .filter(is_list)
        .filter_map(|path| lists(&path))
        .flatten()
        .collect()
}

/// Whether the name is in the list: its issuer's, since there is no other name in one of a certificate authority's own.
fn holds(list: &[u8], name: &[u8]) -> bool {
    !name.is_empty() && list.windows(name.len()).any(|part| part == name)
}
