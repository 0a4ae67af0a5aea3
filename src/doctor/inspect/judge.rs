//! Whether leaf, key, chain and bundle belong together. The checks are `material`'s; here they meet the files.

use std::rc::Rc;
use std::time::SystemTime;

use super::{File, Problem};
use crate::doctor::certificate::Role;
use crate::doctor::finding::{Code, Finding, Group, Section};
use crate::doctor::profile::warned;
use crate::doctor::words::{self, for_shell, remaining, shown};
use crate::material::reading::Unreadable;
use crate::material::{
    Certificate, Rejection, Usage, Warning, key_kind, leaf_rules, validity, verify_path,
};
use crate::timing;

/// Most leaves that are judged: each is validated against every authority.
const MOST_LEAVES: usize = 64;

/// A leaf, and what else its file holds: a file may hold thousands, so this is found out once.
struct Leaf<'a> {
    file: &'a File,
    certificate: &'a Certificate,
    /// Whether the file holds no other leaf, so that its place says something.
    is_single: bool,
    /// The certificates of the file that are no leaves.
    rest: Rc<[Certificate]>,
}

/// Everything that was read, by what it is.
struct Found<'a> {
    leaves: Vec<Leaf<'a>>,
    /// Of files without a leaf, or of the file that was named for it.
    authorities: Vec<Certificate>,
    keys: Vec<(&'a File, &'a [u8])>,
}

pub(super) fn judge(files: &[File], now: SystemTime) -> Section {
    let mut section = Section::new(Group::Judgement, "");
    section.extend(files.iter().flat_map(problems));
    let found = found(files);
    for leaf in found.leaves.iter().take(MOST_LEAVES) {
        section.extend(of_leaf(leaf, &found, now));
    }
    if found.leaves.len() > MOST_LEAVES {
        let number = found.leaves.len();
        section.add(Finding::skipped(
            Code::InspectionLimited,
            format!("only {MOST_LEAVES} of {number} leaves are judged"),
        ));
    }
    section.extend(other_keys(&found, files));
    section.extend(of_authorities(files, now));
    if found.leaves.is_empty() && section.findings.is_empty() {
        section.add(Finding::ok(Code::CertificateValidity, "nothing here has expired"));
    }
    section
}

fn problems(file: &File) -> Vec<Finding> {
    let path = words::path(&file.path);
    let nothing_of_ours = |problem: &Problem| {
        matches!(
            problem,
            Problem::Content(Unreadable::Neither | Unreadable::Empty | Unreadable::Other { .. })
        )
    };
    file.items
        .iter()
        .filter_map(|item| item.as_ref().err())
        .map(|problem| {
            let text = format!("{path}: {}", problem.text());
            // A directory may hold other things, too.
            if !file.named && nothing_of_ours(problem) {
                return Finding::skipped(Code::FileUnreadable, text);
            }
            let fix = problem.fix(&for_shell(&file.path)).unwrap_or_default();
            Finding::failure(Code::FileUnreadable, text).fix(fix)
        })
        .collect()
}

fn found(files: &[File]) -> Found<'_> {
    let mut leaves = Vec::new();
    let mut authorities = Vec::new();
    let bundle_is_named = files.iter().any(|file| file.bundle);
    for file in files {
        if file.bundle {
            authorities.extend(file.certificates().cloned());
            continue;
        }
        let (of_file, rest): (Vec<&Certificate>, Vec<&Certificate>) =
            file.certificates().partition(|found| Role::of(found) == Role::Leaf);
        let rest: Rc<[Certificate]> = rest.into_iter().cloned().collect();
        if of_file.is_empty() && !bundle_is_named {
            authorities.extend(rest.iter().cloned());
        }
        let is_single = of_file.len() == 1;
        let leaf = |certificate| Leaf { file, certificate, is_single, rest: Rc::clone(&rest) };
        leaves.extend(of_file.into_iter().map(leaf));
    }
    if authorities.is_empty() && !bundle_is_named {
        // Everything in one file.
        let roots = files.iter().flat_map(File::certificates);
        authorities.extend(roots.filter(|found| Role::of(found) == Role::Root).cloned());
    }
    let keys = files.iter().flat_map(|file| file.keys().map(move |key| (file, key))).collect();
    Found { leaves, authorities, keys }
}

fn of_leaf(leaf: &Leaf<'_>, found: &Found<'_>, now: SystemTime) -> Vec<Finding> {
    let Leaf { file, certificate, .. } = leaf;
    let path = words::path(&file.path);
    let name = match found.leaves.len() {
        1 => "the leaf".to_owned(),
        _ => format!("{path}: the leaf with serial {}", certificate.serial().short()),
    };
    let mut findings = Vec::new();

    findings.push(match validity(certificate, now) {
        Ok(()) => {
            let left = remaining(now, certificate.not_after(), now);
            Finding::ok(Code::CertificateValidity, format!("{name} is valid, {left}"))
        }
        Err(Rejection::Expired(at)) => Finding::failure(
            Code::CertificateValidity,
            format!("{name} expired at {}", timing::utc(at)),
        ),
        Err(_) => {
            let start = timing::utc(certificate.not_before());
            Finding::failure(
                Code::CertificateValidity,
                format!("{name} is valid only from {start}"),
            )
        }
    });
    findings.push(key(certificate, &name, found));
    if file.certificates().next() != Some(certificate) && leaf.is_single {
        findings.push(
            Finding::failure(
                Code::LeafNotFirst,
                format!("{path}: the leaf is not the first certificate"),
            )
            .cause("PostgreSQL and libpq take the first certificate of the file for the leaf")
            .fix("write the leaf first, then its intermediates"),
        );
    }
    findings.extend(chain(leaf, &name, found, now));
    match leaf_rules(certificate) {
        Ok(_) => findings.push(Finding::ok(Code::SvidProfile, format!("{name} is an X.509-SVID"))),
        Err(broken) => findings.extend(broken.iter().map(|rule| {
            Finding::warning(
                Code::SvidProfile,
                format!("{name} is no X.509-SVID: {}", shown(&rule.to_string())),
            )
        })),
    }
    // What an SVID should have is nothing to demand of other certificates.
    if leaf_rules(certificate).is_ok() {
        findings.extend(Warning::of_leaf(certificate).into_iter().map(warned));
    }
    findings
}

fn key(certificate: &Certificate, name: &str, found: &Found<'_>) -> Finding {
    let own = found.keys.iter().find(|(_, key)| *key == certificate.public_key());
    match own {
        Some((file, _)) => Finding::ok(
            Code::KeyPair,
            format!("the private key in {} belongs to {name}", words::path(&file.path)),
        ),
        None if found.keys.is_empty() => Finding::skipped(
            Code::KeyPair,
            format!("whether a private key belongs to {name}: none is here"),
        ),
        None => Finding::skipped(Code::KeyPair, format!("the private key of {name} is not here")),
    }
}

fn chain(leaf: &Leaf<'_>, name: &str, found: &Found<'_>, now: SystemTime) -> Vec<Finding> {
    let Leaf { certificate, rest, .. } = leaf;
    let mut findings: Vec<Finding> = rest
        .iter()
        .filter(|found| found.not_after() <= now && Role::of(found) == Role::Intermediate)
        .map(|found| {
            let subject = shown(&found.subject_text());
            let at = timing::utc(found.not_after());
            Finding::failure(
                Code::IntermediateExpired,
                format!("the intermediate {subject} expired at {at}"),
            )
        })
        .collect();
    if found.authorities.is_empty() {
        findings.push(
            Finding::skipped(
                Code::CertificateChain,
                format!("whether an authority vouches for {name}: none is here"),
            )
            .fix("name the bundle, too, or use --bundle FILE"),
        );
        return findings;
    }
    if validity(certificate, now).is_err() {
        findings.push(Finding::skipped(
            Code::CertificateChain,
            format!("whether an authority vouches for {name}"),
        ));
        return findings;
    }
    findings.push(match verify_path(certificate, rest, &found.authorities, Usage::Any, now) {
        Ok(_) => Finding::ok(
            Code::CertificateChain,
            format!("{name} is signed by an authority of the bundle"),
        ),
        Err(why) => Finding::failure(
            Code::CertificateChain,
            format!("{name} and the bundle do not belong together: {why}"),
        ),
    });
    findings
}

/// Keys that are no leaf's.
fn other_keys(found: &Found<'_>, files: &[File]) -> Vec<Finding> {
    let certificates: Vec<(&File, &Certificate)> = files
        .iter()
        .flat_map(|file| file.certificates().map(move |certificate| (file, certificate)))
        .collect();
    let of_no_leaf = found
        .keys
        .iter()
        .filter(|(_, key)| found.leaves.iter().all(|leaf| leaf.certificate.public_key() != *key));
    of_no_leaf
        .map(|(file, key)| {
            let path = words::path(&file.path);
            let kind = key_kind(key);
            if certificates.is_empty() {
                let text = format!("whether the private key in {path} belongs to a certificate");
                return Finding::skipped(Code::KeyPair, format!("{text}: none is here"));
            }
            if let Some((other, _)) =
                certificates.iter().find(|(_, found)| found.public_key() == *key)
            {
                let other = words::path(&other.path);
                return Finding::ok(
                    Code::KeyPair,
                    format!("the private key in {path} is that of the authority in {other}"),
                );
            }
            let whose = match found.leaves.as_slice() {
                [leaf] => format!(
                    "the private key in {path} ({kind}) does not belong to the leaf in {} ({})",
                    words::path(&leaf.file.path),
                    key_kind(leaf.certificate.public_key())
                ),
                _ => format!(
                    "the private key in {path} ({kind}) belongs to none of the certificates"
                ),
            };
            Finding::failure(Code::KeyPair, whose)
                .fix("use certificate and key of the same issuance; a new SVID has a new key")
        })
        .collect()
}

/// An old root beside a valid one is how authorities are changed; no valid one is a fault.
fn of_authorities(files: &[File], now: SystemTime) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        let roots: Vec<&Certificate> =
            file.certificates().filter(|found| Role::of(found) == Role::Root).collect();
        let usable = roots.iter().any(|root| validity(root, now).is_ok());
        for root in &roots {
            let Err(why) = validity(root, now) else { continue };
            let what = match why {
                Rejection::Expired(at) => format!("expired at {}", timing::utc(at)),
                _ => format!("is valid only from {}", timing::utc(root.not_before())),
            };
            let subject = shown(&root.subject_text());
            let text = format!("{}: the root {subject} {what}", words::path(&file.path));
            findings.push(if usable {
                Finding::warning(Code::AuthorityValidity, text)
            } else {
                Finding::failure(Code::AuthorityValidity, text)
            });
        }
    }
    findings
}
