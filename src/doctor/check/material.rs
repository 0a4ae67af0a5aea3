//! The SVID: every check that `run` makes before it writes, and what will hurt later.

use std::time::{Duration, SystemTime};

use crate::doctor::codes;
use crate::doctor::finding::{Code, Finding, Group, Section};
use crate::doctor::profile::warned;
use crate::material::{Material, Rejection};
use crate::source::Discarded;
use crate::text::sentence;
use crate::timing;

/// Examines what the agent offers, or else what is on disk.
pub(super) fn section(
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
            _ => Finding::skipped(Code::Svid, "there is no SVID to look at"),
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
            "the agent gives none; this is about the published one",
        ));
    }
    section.add(lifetime(material, timing::now()));
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
    section.extend(material.warnings().into_iter().map(warned));
    section
}

/// How long it has to live, and when the next one is due: agents renew at half of the lifetime.
fn lifetime(material: &Material, now: SystemTime) -> Finding {
    let end = material.not_after();
    let life = end.duration_since(material.leaf().not_before()).unwrap_or_default();
    let left = end.duration_since(now).unwrap_or_default();
    let until = format!("expires in {} ({})", timing::roughly(left), timing::utc(end));
    match left.checked_sub(life / 2) {
        Some(due) => Finding::ok(
            Code::SvidLifetime,
            format!("{until}, renewal due in about {}", timing::roughly(due)),
        ),
        // SPIRE's agents look every few seconds; a quarter of the life is late by any measure.
        None if left < life / 4 && life > Duration::from_secs(60) => {
            Finding::warning(Code::SvidLifetime, format!("{until}; its renewal is overdue"))
                .fix("see that the agent reaches its server: spire-agent healthcheck, and its log")
        }
        None => Finding::ok(Code::SvidLifetime, format!("{until}, renewal due now")),
    }
}

/// What to do about a refusal. Most are an agent's or a server's mistakes, or a wrong clock.
pub(super) fn remedy(rejection: &Rejection) -> &'static str {
    match rejection {
        Rejection::Expired(_) | Rejection::NotYetValid(_) => {
            "compare the clocks of this machine and of the SPIRE server (timedatectl); an agent that cannot reach \
             its server hands out what it has"
        }
        Rejection::UnexpectedIdentity { .. } | Rejection::UnexpectedTrustDomain { .. } => {
            "mend svid.spiffe_id or svid.trust_domain, or the entry whose selectors this process has"
        }
        Rejection::UriNames(_) | Rejection::Identity(_) | Rejection::OtherIdentity { .. } => {
            "mend the entry's -spiffeID: spiffe://<trust domain>/<path>; see the agent's log"
        }
        Rejection::Key(_) => {
            "let the agent use a supported key: workload_x509_svid_key_type in its configuration"
        }
        Rejection::NoRoot(_) | Rejection::Unsigned(_) => {
            "see that the bundle holds the self-signed root that signs the SVIDs: spire-server bundle show"
        }
        Rejection::TooManyNames { .. } => {
            "see which authorities are not needed any more: spire-server bundle show; with files.federated_bundles, \
             which trust domains"
        }
        _ => "this is a fault of the agent or its server: see their logs",
    }
}
