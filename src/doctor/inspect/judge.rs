//! Whether leaf, key, chain and bundle belong together. The checks are those of `material`; this applies them to files.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::SystemTime;

use super::{File, Problem, stores};
use crate::doctor::certificate::Role;
use crate::doctor::finding::{Code, Finding, Group, Section};
use crate::doctor::profile::warned;
use crate::doctor::unverifiable::unchecked;
use crate::doctor::words::{self, for_shell, remaining};
use crate::material::reading::{Foreign, Unreadable};
use crate::material::{
    AllowedUses, Certificate, Rejection, Usage, Warning, key_kind, leaf_rules, validity,
    verify_path,
};
use crate::text::ascii;
use crate::timing;

/// Most leaves that are judged: each is validated against every authority.
const MOST_LEAVES: usize = 64;

/// A leaf, and what else its file holds. A file may hold thousands of certificates, so this is computed once.
struct Leaf<'a> {
    file: &'a File,
    certificate: &'a Certificate,
    /// Whether the file holds no other leaf, so that its position matters.
    is_single: bool,
    /// The certificates of the file that are not leaves.
    rest: Rc<[Certificate]>,
}

/// Everything that was read, by kind.
struct Found<'a> {
    leaves: Vec<Leaf<'a>>,
    /// From files without a leaf, or from the file that `bundle` names.
    authorities: Vec<Certificate>,
    /// The first file with authorities.
    bundle: PathBuf,
    keys: Vec<(&'a File, &'a [u8])>,
}

pub(super) fn judge(files: &[File], now: SystemTime) -> Section {
    let mut section = Section::new(Group::Judgement, "");
    section.extend(files.iter().flat_map(problems));
    section.extend(files.iter().flat_map(stores::judge));
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
    // OpenSSL looks for the blocks that it needs, and skips these beside them (`PEM_bytes_read_bio`, `PEM_X509_INFO_read_bio`).
    let is_skipped = |problem: &Problem| {
        matches!(
            problem,
            Problem::Content(
                Unreadable::Other { .. }
                    | Unreadable::PassedOver { commented: true, .. }
                    | Unreadable::Foreign(
                        Foreign::Request | Foreign::RevocationList | Foreign::PublicKey
                    )
            )
        )
    };
    let holds_more = file.items.iter().any(Result::is_ok);
    file.items
        .iter()
        .filter_map(|item| item.as_ref().err())
        .map(|problem| {
            let text = format!("{path}: {}", problem.text());
            if holds_more && is_skipped(problem) {
                return Finding::skipped(Code::FileUnreadable, text)
                    .cause("OpenSSL skips this block, and reads the others");
            }
            // A directory may also hold other things.
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
    let mut bundles = Vec::new();
    let bundle_is_named = files.iter().any(|file| file.bundle);
    for file in files {
        if file.bundle {
            authorities.extend(file.certificates().cloned());
            bundles.push(&file.path);
            continue;
        }
        let (of_file, rest): (Vec<&Certificate>, Vec<&Certificate>) =
            file.certificates().partition(|found| Role::of(found) == Role::Leaf);
        let rest: Rc<[Certificate]> = rest.into_iter().cloned().collect();
        if of_file.is_empty() && !bundle_is_named {
            authorities.extend(rest.iter().cloned());
            bundles.push(&file.path);
        }
        let is_single = of_file.len() == 1;
        let leaf = |certificate| Leaf { file, certificate, is_single, rest: Rc::clone(&rest) };
        leaves.extend(of_file.into_iter().map(leaf));
    }
    if authorities.is_empty() && !bundle_is_named {
        // Everything is in one file.
        let roots = files.iter().flat_map(File::certificates);
        authorities.extend(roots.filter(|found| Role::of(found) == Role::Root).cloned());
    }
    let keys = files.iter().flat_map(|file| file.keys().map(move |key| (file, key))).collect();
    // Without a bundle, the path of the first file stands for it.
    let bundle = bundles.first().copied().or(files.first().map(|file| &file.path));
    Found { leaves, authorities, bundle: bundle.cloned().unwrap_or_default(), keys }
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
            .cause("PostgreSQL and libpq use the first certificate of the file as the leaf")
            .fix("write the leaf first, then its intermediates"),
        );
    }
    findings.extend(chain(leaf, &name, found, now));
    match leaf_rules(certificate) {
        Ok(_) => findings.push(Finding::ok(Code::SvidProfile, format!("{name} is an X.509-SVID"))),
        Err(broken) => findings.extend(broken.iter().map(|rule| {
            Finding::warning(
                Code::SvidProfile,
                format!("{name} is not an X.509-SVID: {}", ascii(&rule.to_string())),
            )
        })),
    }
    // The rules of an SVID do not apply to other certificates.
    if leaf_rules(certificate).is_ok() {
        findings.extend(
            Warning::of_leaf(certificate).into_iter().map(|warning| warned(warning, certificate)),
        );
    }
    findings
}

fn key(certificate: &Certificate, name: &str, found: &Found<'_>) -> Finding {
    let own = found.keys.iter().find(|(_, key)| *key == certificate.public_key());
    match own {
        // No private key has proven that the public key is valid.
        None if certificate.has_loadable_key() == Some(false) => Finding::failure(
            Code::KeyPair,
            format!(
                "the public key of {name} is broken, or of a type that is not supported: OpenSSL cannot load it"
            ),
        ),
        Some((file, _)) => Finding::ok(
            Code::KeyPair,
            format!("the private key in {} belongs to {name}", words::path(&file.path)),
        ),
        None if found.keys.is_empty() => Finding::skipped(
            Code::KeyPair,
            format!("whether a private key belongs to {name}: there is none here"),
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
            let subject = ascii(&found.subject_text());
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
                format!("whether an authority has signed {name}: there is none here"),
            )
            .fix("name the bundle as well, or use --bundle FILE"),
        );
        return findings;
    }
    if validity(certificate, now).is_err() {
        findings.push(Finding::skipped(
            Code::CertificateChain,
            format!("whether an authority has signed {name}"),
        ));
        return findings;
    }
    findings.push(match verify_path(certificate, rest, &found.authorities, Usage::Any, now) {
        Ok(found) => {
            let signed = format!("{name} is signed by an authority of the bundle");
            let text = match found.allowed_uses {
                AllowedUses { servers: None, clients: None } => signed,
                some => format!("{signed}, and may be used for {}", some.in_words()),
            };
            Finding::ok(Code::CertificateChain, text)
        }
        Err(why) if why.is_unchecked() => {
            unchecked(&format!("{name}: {why}"), &ask_openssl(&found.bundle, &leaf.file.path))
        }
        Err(why) => Finding::failure(
            Code::CertificateChain,
            format!("{name} and the bundle do not belong together: {why}"),
        ),
    });
    findings
}

/// `bundle` is a file that holds authorities.
fn ask_openssl(bundle: &Path, leaf: &Path) -> String {
    let (bundle, leaf) = (for_shell(bundle), for_shell(leaf));
    format!("openssl verify -CAfile {bundle} -untrusted {leaf} {leaf}")
}

/// Keys that belong to no leaf.
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
                return Finding::skipped(Code::KeyPair, format!("{text}: there is none here"));
            }
            if let Some((other, _)) =
                certificates.iter().find(|(_, found)| found.public_key() == *key)
            {
                let other = words::path(&other.path);
                return Finding::ok(
                    Code::KeyPair,
                    format!("the private key in {path} belongs to the authority in {other}"),
                );
            }
            let whose = match found.leaves.as_slice() {
                [leaf] => format!(
                    "the private key in {path} ({kind}) does not belong to the leaf in {} ({})",
                    words::path(&leaf.file.path),
                    key_kind(leaf.certificate.public_key())
                ),
                _ => format!(
                    "the private key in {path} ({kind}) does not belong to any of the certificates"
                ),
            };
            Finding::failure(Code::KeyPair, whose)
                .fix("use certificate and key of the same issuance; a new SVID has a new key")
        })
        .collect()
}

/// An expired root next to a valid one is normal while authorities change; having no valid root is a fault.
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
            let subject = ascii(&root.subject_text());
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
