//! How libpq uses the values of a service, and the variables for values that it leaves out.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject as _;

use super::remedy;
use crate::companions::hosts::{self, HostEntry};
use crate::companions::parameters::{self, Effect, Flaw};
use crate::companions::service_reader::Entry;
use crate::config::Environment;
use crate::doctor::finding::{Code, Finding};
use crate::files;
use crate::material::{Certificate, Material};
use crate::survey;
use crate::text::argument;

/// Largest file of revocation lists that is read, in bytes.
const LARGEST: u64 = 16 * 1024 * 1024;
/// Most files of a directory of revocation lists that are read.
const MOST: usize = 1000;
/// How much of all lists of a directory is read, in bytes.
const MOST_OF_ALL: u64 = 32 * 1024 * 1024;

/// A service, and where it is written.
pub(super) struct Service<'a> {
    pub(super) entries: &'a [Entry],
    pub(super) environment: &'a Environment,
    pub(super) file: &'a Path,
}

impl Service<'_> {
    /// The service's value, otherwise the variable's. An empty variable counts, as in libpq.
    pub(super) fn value(&self, keyword: &str) -> Option<String> {
        let written = self.entries.iter().find(|entry| entry.keyword == keyword);
        written.map(|entry| entry.value.clone()).or_else(|| {
            let value = self.environment.get(parameters::variable(keyword)?)?;
            Some(value.to_string_lossy().into_owned())
        })
    }

    fn given(&self, keyword: &str) -> String {
        self.value(keyword).unwrap_or_default()
    }

    /// `keyword` as it is written in the file, or the variable.
    fn name(&self, keyword: &str) -> String {
        let is_written = self.entries.iter().any(|entry| entry.keyword == keyword);
        match parameters::variable(keyword) {
            Some(variable) if !is_written => variable.to_owned(),
            _ => keyword.to_owned(),
        }
    }

    /// Where it is written: the file, or the variable that gives it.
    pub(super) fn place(&self, keyword: &str) -> String {
        let name = self.name(keyword);
        if name == keyword || self.value(keyword).is_none() {
            self.file.display().to_string()
        } else {
            name
        }
    }

    /// How to remove it.
    fn without(&self, keyword: &str) -> String {
        let name = self.name(keyword);
        if name == keyword {
            remedy::without_keyword(keyword, self.file)
        } else {
            format!("unset {name}")
        }
    }

    /// All findings. `on_disk` is the published set, whose issuers are also those of the servers.
    pub(super) fn judge(&self, on_disk: Option<&Material>) -> Vec<Finding> {
        let mut findings = self.judge_values();
        findings.extend(self.judge_places());
        findings.extend(self.revocation(on_disk));
        findings.extend(self.authorities_among_lists());
        findings
    }

    /// The findings about values only.
    pub(super) fn judge_values(&self) -> Vec<Finding> {
        let flaws = parameters::flaws(|keyword| self.value(keyword));
        flaws.iter().map(|flaw| self.flaw(flaw)).collect()
    }

    /// The findings about the server's address.
    pub(super) fn judge_places(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        match hosts::listed(&self.given("host"), &self.given("hostaddr"), &self.given("port")) {
            Ok(places) => {
                findings.extend(places.iter().filter_map(|place| self.judge_place(place)));
            }
            Err(error) => findings.push(
                Finding::failure(Code::ServiceHosts, format!("libpq refuses the service: {error}"))
                    .fix("write lists of one length, separated by commas and without blanks"),
            ),
        }
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

    fn judge_place(&self, place: &HostEntry) -> Option<Finding> {
        let HostEntry { host, address, .. } = place;
        if let Err(error) = place.check_address() {
            let text = format!("libpq cannot connect there: {error}");
            return Some(
                Finding::failure(Code::ServiceHosts, text)
                    .fix("write an address, or leave hostaddr out"),
            );
        }
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
                .fix("set host to the server's name, for a connection over TCP"),
            );
        }
        if !matches!(self.given("sslmode").as_str(), "verify-full" | "") {
            return None;
        }
        let wrong = |why: String| {
            Finding::failure(Code::ServiceHostName, why).fix(
                "set host to a DNS name of the server's certificate; hostaddr may hold its address",
            )
        };
        if host.is_empty() {
            return Some(wrong(format!(
                "hostaddr={address} without host: libpq has no name to compare with the server's certificate"
            )));
        }
        if host.trim() != host
            || host.ends_with('.')
            || host.contains(':') && host.parse::<IpAddr>().is_err()
        {
            return Some(wrong(format!(
                "host={host:?}: libpq compares all of it with the names of the server's certificate, but no name has a blank, a \
                 port, or a dot at its end"
            )));
        }
        let is_address = host.parse::<IpAddr>().is_ok() || hosts::is_ipv4(host);
        is_address.then(|| {
            Finding::warning(
                Code::ServiceHostName,
                format!("host={host}: an SVID has no addresses, so libpq refuses the server's certificate"),
            )
            .fix("set host to a DNS name of the server's certificate, and hostaddr to the address")
        })
    }

    /// Certificates among the revocation lists: libpq loads them into the same store as those of `sslrootcert` (`initialize_SSL`),
    /// and accepts servers whose certificates they have signed.
    pub(super) fn authorities_among_lists(&self) -> Vec<Finding> {
        let (file, directories) = (self.given("sslcrl"), self.given("sslcrldir"));
        let home = self.environment.get("HOME").filter(|home| !home.is_empty());
        let usual = home.map(|home| Path::new(home).join(".postgresql/root.crl"));
        let file = if file.is_empty() {
            usual.filter(|_| directories.is_empty())
        } else {
            Some(PathBuf::from(file))
        };
        let (authorities, unseen) = survey::among_lists(file.as_deref(), &directories);
        let failures = authorities.iter().map(|path| {
            Finding::failure(
                Code::CrlHoldsCertificate,
                format!(
                    "{}, which libpq reads for revocation lists, holds a certificate: libpq accepts servers whose certificates this one has \
                     signed, as if it were in sslrootcert",
                    path.display()
                ),
            )
            .fix(format!("remove the certificates from {}, and keep the lists (X509 CRL)", path.display()))
        });
        let skipped = unseen.iter().map(|path| {
            Finding::skipped(
                Code::CrlHoldsCertificate,
                format!(
                    "whether {} holds a certificate, which libpq would accept as an authority: it cannot be read from here, or is too large",
                    path.display()
                ),
            )
            .fix("run check as the client's user")
        });
        failures.chain(skipped).collect()
    }

    /// The finding about a missing revocation list. As soon as libpq has loaded `sslcrldir`, `sslcrl` or
    /// `~/.postgresql/root.crl`, it needs a list of each authority (`X509_V_FLAG_CRL_CHECK_ALL`; `initialize_SSL`).
    pub(super) fn revocation(&self, on_disk: Option<&Material>) -> Option<Finding> {
        let (file, directory) = (self.given("sslcrl"), self.given("sslcrldir"));
        let home = self.environment.get("HOME").filter(|home| !home.is_empty());
        let mut is_complete = true;
        let (path, lists, fix) = if !directory.is_empty() {
            let lists;
            (lists, is_complete) = lists_in(&directory);
            (PathBuf::from(&directory), lists, self.without("sslcrldir"))
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
        if missing.is_some() && !is_complete {
            let path = path.display();
            return Some(Finding::skipped(
                Code::ClientRevocationList,
                format!(
                    "whether {path} has a revocation list of each authority: it has more than 32 MiB of lists"
                ),
            ));
        }
        let text = match missing {
            Some(issuer) => format!(
                "{} has no revocation list of {}: so libpq trusts no certificate of that authority (certificate verify failed)",
                path.display(),
                issuer.subject_text()
            ),
            None if issuers.is_empty() => format!(
                "libpq reads {}, so it only trusts a server if it has a revocation list of each authority",
                path.display()
            ),
            None => return None,
        };
        Some(Finding::failure(Code::ClientRevocationList, text).fix(fix))
    }
}

/// The issuers of a certificate that a server of the trust domain shows: the intermediates, and an authority that vouches for
/// the last one.
fn issuers(material: &Material) -> Vec<&Certificate> {
    let mut issuers: Vec<_> = material.chain().skip(1).collect();
    if let [authority] = material.own_authorities() {
        issuers.push(authority);
    } else if issuers.is_empty() {
        issuers.extend(material.own_authorities());
    }
    issuers
}

/// The lists in a file; `None` if libpq ignores the file because it holds nothing that OpenSSL loads.
fn lists(path: &Path) -> Option<Vec<Vec<u8>>> {
    let text = files::read(path, LARGEST).ok()?;
    let lists: Vec<Vec<u8>> = CertificateRevocationListDer::pem_slice_iter(&text)
        .filter_map(|list| Some(list.ok()?.to_vec()))
        .collect();
    let has_certificate = text.windows(11).any(|it| it == b"CERTIFICATE");
    (!lists.is_empty() || has_certificate).then_some(lists)
}

/// The lists in directories: `<hash>.r<number>`. libpq accepts any directory, even an empty one.
/// Also whether these are all: no more are read than [`MOST_OF_ALL`].
fn lists_in(directories: &str) -> (Vec<Vec<u8>>, bool) {
    // OpenSSL reads the value as a list with colons (`by_dir.c`, `add_cert_dir`).
    let entries = directories.split(':').flat_map(std::fs::read_dir).flatten().take(MOST).flatten();
    let is_list = |path: &PathBuf| {
        path.extension().and_then(|it| it.to_str()).is_some_and(|it| it.starts_with('r'))
    };
    let (mut found, mut left) = (Vec::new(), MOST_OF_ALL);
    for path in entries.map(|entry| entry.path()).filter(is_list) {
        let size = std::fs::metadata(&path).map_or(0, |file| file.len());
        if size > left {
            return (found, false);
        }
        left -= size;
        found.extend(lists(&path).into_iter().flatten());
    }
    (found, true)
}

/// Whether the list contains the name. That is its issuer's, because a CA's own list contains no other name.
fn holds(list: &[u8], name: &[u8]) -> bool {
    !name.is_empty() && list.windows(name.len()).any(|part| part == name)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// Hard links to one large file are enough to have others read endlessly.
    #[test]
    fn b107_no_more_lists_are_read_than_the_limit() {
        let place = tempfile::tempdir().unwrap();
        let first = place.path().join("12345678.r0");
        let list = vec![b'x'; 4 * 1024 * 1024];
        std::fs::File::create(&first).unwrap().write_all(&list).unwrap();
        let directory = place.path().display().to_string();
        assert!(lists_in(&directory).1);
        for number in 1..=8 {
            std::fs::hard_link(&first, place.path().join(format!("12345678.r{number}"))).unwrap();
        }
        assert!(!lists_in(&directory).1);
    }
}
