//! The SVID: every check that `run` makes before it writes, and problems that appear later.

use std::time::{Duration, SystemTime};

use crate::doctor::codes;
use crate::doctor::finding::{Code, Finding, Group, Section};
use crate::doctor::profile::{warned, warned_of_any};
use crate::material::{Fault, ForbiddenBy, Material, Policy, Refusal, Rejection, Warning};
use crate::source;
use crate::source::workload_api::Discarded;
use crate::text::sentence;
use crate::timing;

/// Examines what the source offers, or otherwise what is on disk.
pub(super) fn section(
    source: &source::Settings,
    offered: Option<&Material>,
    rejected: Option<&Discarded>,
    on_disk: Option<&Material>,
) -> Section {
    let Some(material) = offered.or(on_disk) else {
        let mut section = Section::new(Group::Material, "");
        section.add(match rejected {
            Some(Discarded::Rejected(rejection)) => Finding::failure(
                codes::rejection(rejection),
                sentence(&format!("the SVID is refused: {rejection}")),
            )
            .fix(remedy(rejection)),
            _ => Finding::skipped(Code::Svid, "there is no certificate to examine"),
        });
        return section;
    };
    let mut section = Section::new(Group::Material, super::identity(material));
    if let Some(Discarded::Rejected(rejection)) = rejected {
        section.add(
            Finding::failure(
                codes::rejection(rejection),
                sentence(&format!("the agent's SVID is refused: {rejection}")),
            )
            .fix(remedy(rejection)),
        );
    }
    if offered.is_none() {
        section.add(Finding::skipped(
            Code::Svid,
            match source.files() {
                None => "the agent offers none; this is about the published one",
                Some(_) => "the files are not a set; this is about the published one",
            },
        ));
    }
    section.add(lifetime(source, material, timing::now()));
    let (links, roots) = (material.chain().count() - 1, material.authorities().count());
    section.add(Finding::ok(
        Code::Svid,
        format!(
            "key, leaf, {links} intermediate{} and bundle ({roots} authorit{}) belong together",
            if links == 1 { "" } else { "s" },
            if roots == 1 { "y" } else { "ies" },
        ),
    ));
    let leaf = material.leaf();
    section.add(Finding::ok(
        Code::SvidDnsName,
        match leaf.dns_names() {
            [] => sentence(&format!("no DNS name, subject {}", leaf.distinguished_name())),
            names => sentence(&format!(
                "DNS {}, subject {}",
                names.join(", "),
                leaf.distinguished_name()
            )),
        },
    ));
    section.extend(material.warnings().into_iter().map(|warning| match material.policy() {
        Policy::Spiffe => warned(warning, leaf),
        Policy::X509 => warned_of_any(warning),
    }));
    section
}

/// How long it is still valid, and when its renewal is due: agents renew at half of the lifetime, others later.
fn lifetime(source: &source::Settings, material: &Material, now: SystemTime) -> Finding {
    let end = material.not_after();
    let life = end.duration_since(material.leaf().not_before()).unwrap_or_default();
    let left = end.duration_since(now).unwrap_or_default();
    let until = format!("expires in {} ({})", timing::roughly(left), timing::utc(end));
    let percent = source.files().map_or(50, |files| files.renewal_percent);
    let after_renewal = life * (100 - percent) / 100;
    match left.checked_sub(after_renewal) {
        Some(due) => Finding::ok(
            Code::SvidLifetime,
            format!("{until}, renewal due in about {}", timing::roughly(due)),
        ),
        // A renewal is late once half of the time between its due date and the expiry has passed. SPIRE's agents check every few
        // seconds, so lifetimes of up to a minute are left out.
        None if left < after_renewal / 2 && life > Duration::from_secs(60) => {
            let fix = match source.files() {
                None => {
                    "check that the agent reaches its server: spire-agent healthcheck, and its log"
                }
                Some(_) => {
                    "read the log of the program that renews the files; if it renews them later than \
                     certificates.renewal_percent says, change that"
                }
            };
            Finding::warning(Code::SvidLifetime, format!("{until}; its renewal is overdue"))
                .fix(fix)
        }
        None => Finding::ok(Code::SvidLifetime, format!("{until}, renewal due now")),
    }
}

/// The remedy for a refusal. Most refusals are mistakes of an agent or a server, or a wrong clock.
pub(super) fn remedy(rejection: &Rejection) -> &'static str {
    match rejection {
        Rejection::Expired(_) | Rejection::NotYetValid(_) => {
            "compare the clocks of this machine and of the SPIRE server (timedatectl); an agent that cannot reach \
             its server hands out its old SVIDs"
        }
        Rejection::UnexpectedIdentity { .. } | Rejection::UnexpectedTrustDomain { .. } => {
            "fix svid.spiffe_id or svid.trust_domain, or the entry whose selectors this process has"
        }
        Rejection::UriNames(_) | Rejection::Identity(_) | Rejection::OtherIdentity { .. } => {
            "fix the entry's -spiffeID: spiffe://<trust domain>/<path>; see the agent's log"
        }
        Rejection::Key(_) => {
            "let the agent use a supported key: workload_x509_svid_key_type in its configuration"
        }
        Rejection::Unsigned(Refusal::Certificate {
            fault: Fault::NotForServersOrClients,
            which,
        }) => Warning::NotForServers(ForbiddenBy::of(which)).fix(),
        Rejection::NoRoot(_) | Rejection::Unsigned(_) => {
            "check that the bundle holds the self-signed root that signs the SVIDs: spire-server bundle show"
        }
        Rejection::TooManyNames { .. } => {
            "see which authorities are no longer needed: spire-server bundle show; with files.federated_bundles, \
             which trust domains"
        }
        _ => "this is a fault of the agent or its server: read their logs",
    }
}
