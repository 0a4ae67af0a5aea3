//! What the verdicts on instances mean, and what to do. Pure.
//!
//! pgsvid has no rights at these servers, and does not know who reloads them: a remedy says where to look.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::instances::{Instance, Instances, MOST, RevertedAddress};
use super::settings::ServedAddress;
use crate::consumers::delivery::Obstacle;
use crate::consumers::problem::Problem;
use crate::consumers::trouble::{Trouble, Weight, identity};
use crate::finding::{Code, Finding};
use crate::login;
use crate::material::{Certificate, Fingerprint};
use crate::resolve;
use crate::text::{argument, ascii, shown};
use crate::timing;
use crate::verify::{Answer, Begin, Facts, Verdict, alert_name, shown_address};

/// Most instances that one sentence names.
const NAMED: usize = 4;

/// What a verdict on one instance means. `behind` is how long it could have served the published set.
pub(super) fn of_instance(
    settings: &ServedAddress,
    verdict: Verdict,
    facts: &Facts,
    behind: Option<Duration>,
    now: SystemTime,
) -> Finding {
    let address = facts.address.as_str();
    let who = format!("the instance {address} of {}", shown(&settings.name));
    let late = behind.map(|behind| format!(", {} after the hand-over", timing::roughly(behind)));
    let late = late.unwrap_or_default();
    let found =
        |code, text: String, fix: String| Finding::failure(code, text).about(address).fix(fix);
    let see = match settings.begin {
        Begin::SslRequest => format!("check what it serves: pgsvid probe {}", argument(address)),
        Begin::Tls | Begin::Direct => {
            format!(
                "check what it serves: openssl s_client -alpn postgresql -connect {} </dev/null",
                argument(address)
            )
        }
    };
    match verdict {
        Verdict::Current => Finding::ok(
            Code::VerdictCurrent,
            format!("the instance {address} serves the published certificate"),
        ),
        Verdict::Standby => Finding::skipped(
            Code::VerdictStandby,
            format!("{who} is not compared with this certificate: another replica may have written the Secrets"),
        ),
        Verdict::Unverifiable => Finding::skipped(
            Code::VerdictUnverifiable,
            format!("{who} has no TLS parameters in common with pgsvid: what it serves is not known"),
        ),
        Verdict::Plaintext => found(
            Code::VerdictPlaintext,
            format!("{who} has TLS turned off"),
            "turn TLS on in the configuration of the cluster; or take the address out of [[served]]".to_owned(),
        ),
        Verdict::Expired => found(
            Code::VerdictExpired,
            format!("{who} serves a certificate that expired{}", served_until(facts, now)),
            format!("read the log of the instance, and that of its operator: it has not loaded the newer one; {see}"),
        ),
        Verdict::Foreign => found(
            Code::VerdictForeign,
            format!("{who} serves a certificate that is not pgsvid's{late}"),
            format!("let the cluster use the certificate that pgsvid hands over, or correct served.address; {see}"),
        ),
        Verdict::StillOld => found(
            Code::VerdictStillOld,
            format!("{who} still serves{}{late}", served_until(facts, now)),
            format!("read the log of the instance, and that of its operator: they say why it has not loaded the newer one; {see}"),
        ),
        Verdict::OldAuthorities => found(
            Code::VerdictOldAuthorities,
            format!("{who} serves the new certificate, but trusts other authorities{late}"),
            format!("let the cluster take the authorities for clients from the published bundle; {see}"),
        ),
        _ => found(
            Code::VerdictUnreachable,
            format!("cannot see what {who} serves: {}", why_unseen(facts)),
            "check that the instance runs, and that a network policy lets pgsvid connect to it; if it does not run any more, take its address out of DNS".to_owned(),
        ),
    }
}

fn why_unseen(facts: &Facts) -> String {
    match &facts.answer {
        Answer::Nothing(reason) => reason.clone(),
        Answer::Refused(alert) => {
            format!("it ended the handshake with the alert {}", alert_name(*alert))
        }
        Answer::TooLarge => "one message of its handshake has more than 64 KiB".to_owned(),
        Answer::Plaintext | Answer::Served(_) => "nobody answers".to_owned(),
    }
}

/// The serial number, and when it expires or has expired.
fn served_until(facts: &Facts, now: SystemTime) -> String {
    let Answer::Served(served) = &facts.answer else { return String::new() };
    let serial = served.leaf.serial().short();
    match served.not_after().duration_since(now) {
        Ok(left) => format!(" serial {serial}, which expires in {}", timing::roughly(left)),
        Err(over) => format!(" {} ago (serial {serial})", timing::roughly(over.duration())),
    }
}

/// A name without an address.
pub(super) fn without_address(settings: &ServedAddress, why: Option<&resolve::Error>) -> Finding {
    let why = why.map_or_else(|| resolve::Error::NoAddress.to_string(), ToString::to_string);
    let (name, host) = (shown(&settings.name), shown(&settings.host));
    Finding::failure(Code::ServedNameUnresolved, format!("{name} has no instance: {host}: {why}"))
        .about(settings.host.as_str())
        .fix("correct served.address; a headless Service has an address only for pods that are ready. A network policy must allow TCP to port 53 of the name server")
}

/// An address has shown different sets alternately.
fn mixed(settings: &ServedAddress, at: IpAddr) -> Finding {
    let (name, address) = (shown(&settings.name), shown_address(&at.to_string(), settings.port));
    let text = format!(
        "the instance {address} of {name} has served the published set, another one, and the published one again: several servers may answer there, and one of them has not loaded it"
    );
    Finding::failure(Code::ServedMixed, text)
        .about(address)
        .fix("name a headless Service in served.address, which has an address for each server; if the address is that of one server, read its log")
}

/// What may cause trouble although each instance serves the published set.
pub(super) fn concerns(
    settings: &ServedAddress,
    leaf: &Certificate,
    left_out: usize,
    failed: Option<&resolve::Error>,
) -> Vec<Finding> {
    let name = shown(&settings.name);
    let mut found = Vec::new();
    if let Some(host) = &settings.server_name
        && !login::matches(leaf, host)
    {
        let host = ascii(host);
        let text = format!(
            "clients with sslmode=verify-full refuse {name}: the published certificate has no name {host}"
        );
        let fix = format!(
            "issue the certificate with the DNS name {host}, or set served.server_name to the name by which clients connect (\"\" if none)"
        );
        found.push(Finding::warning(Code::ServedName, text).about(host).fix(fix));
    }
    if left_out > 0 {
        let host = shown(&settings.host);
        let text = format!(
            "{host} has {} addresses, and {left_out} of them are not looked at",
            left_out + MOST
        );
        let fix = "name a Service with fewer instances in served.address";
        found.push(Finding::warning(Code::ServedInstancesMany, text).about(host).fix(fix));
    }
    if let Some(error) = failed {
        let text = format!(
            "{} cannot be looked up: {error}; the instances of the last look are looked at",
            shown(&settings.host)
        );
        let fix = "check that the name server of /etc/resolv.conf answers over TCP, and that a network policy allows that (port 53)";
        found.push(
            Finding::warning(Code::ServedNameUnresolved, text)
                .about(settings.host.as_str())
                .fix(fix),
        );
    }
    found
}

/// What a look has shown that is not as it should be.
pub(super) struct Look<'a> {
    pub(super) settings: &'a ServedAddress,
    pub(super) instances: &'a Instances,
    /// Why the name could not be looked up.
    pub(super) failed: Option<&'a resolve::Error>,
    /// The published leaf.
    pub(super) leaf: Fingerprint,
    pub(super) verdict: Verdict,
}

impl Look<'_> {
    /// Why not every instance serves the published set. Until `within` is over this is only awaited.
    pub(super) fn trouble(&self, why_not_newer: &Finding, now: Instant) -> (Trouble, Obstacle) {
        let Self { settings, instances, verdict, .. } = self;
        let all: Vec<_> =
            instances.iter().filter(|(_, it)| !it.verdict.is_final()).map(|(_, it)| it).collect();
        let is_late = |it: &Instance| {
            it.verdict == Verdict::Expired
                || it.behind_for(now).is_some_and(|behind| behind >= settings.within)
        };
        let late: Vec<_> = all.iter().copied().filter(|it| is_late(it)).collect();
        let is_empty = instances.iter().next().is_none();
        let is_late_empty = instances.empty_for(now).is_some_and(|empty| empty >= settings.within);
        let is_long_stale = instances.stale_for().is_some_and(|it| it >= settings.within);
        let is_mixed_expired =
            instances.mixed().is_some_and(|fallen| fallen.verdict == Verdict::Expired);
        let weight = match () {
            () if is_long_stale || is_mixed_expired => Weight::Alarm,
            () if late.iter().any(|it| it.verdict != Verdict::Unreachable) => Weight::Alarm,
            () if !late.is_empty() || is_late_empty => Weight::Unproven,
            () => Weight::Awaited,
        };
        let is_awaited = matches!(weight, Weight::Awaited);
        let told = if is_awaited || late.is_empty() { &all } else { &late };
        let mut findings: Vec<_> =
            told.iter().map(|it| self.finding(it, why_not_newer, now)).collect();
        if is_empty {
            findings.push(without_address(settings, self.failed));
        }
        let mut sentence = self.sentence(told, is_awaited);
        if let Some(fallen) = instances.mixed() {
            let RevertedAddress { address, verdict, facts, .. } = fallen;
            let found = mixed(settings, *address);
            if told.is_empty() {
                sentence.clone_from(&found.text);
            }
            // The same findings as at the looks that show it.
            if !findings.iter().any(|it| it.object.as_deref() == Some(&facts.address)) {
                findings.push(of_instance(settings, *verdict, facts, None, timing::now()));
            }
            findings.push(found);
        }
        let state = if is_awaited { "awaited" } else { "late" };
        let key = identity(*verdict, state, &findings);
        let codes = findings.iter().map(|found| found.code).collect();
        if is_awaited {
            // Waiting is enough.
            findings.clear();
        }
        let problem = Problem { sentence, findings, codes, pending: is_awaited };
        let alarm = matches!(weight, Weight::Alarm);
        (Trouble { verdict: *verdict, problem, weight }, Obstacle { key, slow: !is_awaited, alarm })
    }

    fn finding(&self, it: &Instance, why_not_newer: &Finding, now: Instant) -> Finding {
        let is_ours = matches!(&it.facts.answer, Answer::Served(served)
            if served.leaf.fingerprint() == self.leaf);
        if it.verdict == Verdict::Expired && is_ours {
            let text = format!(
                "the instance {} of {} serves the published certificate, which has expired: {}",
                it.facts.address,
                shown(&self.settings.name),
                why_not_newer.text
            );
            return Finding { code: Code::PublishedExpired, text, ..why_not_newer.clone() };
        }
        let behind = it.behind_for(now);
        of_instance(self.settings, it.verdict, &it.facts, behind, timing::now())
    }

    fn sentence(&self, told: &[&Instance], is_awaited: bool) -> String {
        let name = shown(&self.settings.name);
        let count = self.instances.iter().count();
        if count == 0 {
            return format!("{name} has no instance");
        }
        let mut named: Vec<String> = told
            .iter()
            .take(NAMED)
            .map(|it| format!("{} ({})", it.facts.address, it.verdict))
            .collect();
        if let Some(more @ 1..) = told.len().checked_sub(NAMED) {
            named.push(format!("{more} more"));
        }
        let (those, named) = (told.len(), named.join(", "));
        let within = timing::shortly(self.settings.within);
        let limit = if is_awaited { "yet".to_owned() } else { format!("within {within}") };
        let who = match count {
            1 => format!("the only instance of {name} does"),
            _ => format!("{those} of {count} instances of {name} do"),
        };
        format!("{who} not serve the published set {limit}: {named}")
    }
}
