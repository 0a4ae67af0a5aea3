//! Proof at a distance: the servers behind a name are only looked at, as a client would see them. Somebody else, such as the
//! operator of a cluster, lets them load what was handed over.
//!
//! Each address of the name is an instance of its own. A look is one handshake with each; no role and no right is needed. After a
//! hand-over the looks follow each other closely, until each instance serves the set. They delay nothing else.

mod explain;
mod instances;
mod report;
mod settings;

use std::net::IpAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::watch;
use tokio::time::Instant;

pub use settings::ServedAddress;

use super::attempt::Attempt;
use super::delivery::Obstacle;
use super::leaves::Leaves;
use super::trouble::Trouble;
use super::{Delivery, HandOver, Publication};
use crate::finding::{Finding, Severity};
use crate::material::Material;
use crate::resolve::{self, Resolver};
use crate::status::{self, Pulse};
use crate::timing;
use crate::verify::{self, Answer, Client, Expected, Facts, Settings, Target, Verdict};

use explain::Look;
use instances::{HandedOver, Instances, by_another};

/// How many instances are looked at at once.
const AT_ONCE: usize = 8;
/// How long the handshakes of one look take at most, with the farewells of servers that close no connection.
const HANDSHAKES: Duration = Duration::from_secs(60);

/// What is not proven of an instance that has no TLS parameters in common with the probe.
const UNSPOKEN: &str =
    "an instance has no TLS parameters in common with pgsvid: what it serves is not proven";

pub(super) struct Served {
    settings: ServedAddress,
    /// Its name in the log, if there are several consumers.
    label: Option<String>,
    resolver: Resolver,
    handed_over: watch::Receiver<Option<HandOver>>,
    leaves: Leaves,
    instances: Instances,
    /// Why the name could not be looked up at the last look.
    failed: Option<resolve::Error>,
    concerns: Vec<Finding>,
    /// Whether instances may still take their time.
    awaited: bool,
    pulse: Pulse,
}

/// One look, for the command `check`: a finding for each instance, and those about the name. `is_shared` means that another replica may
/// have handed over a set of its own.
pub(crate) async fn look_once(
    settings: &ServedAddress,
    material: &Material,
    is_shared: bool,
) -> Vec<Finding> {
    let mut resolver = Resolver::default();
    let mut instances = Instances::default();
    let found = match resolver.addresses(&settings.host).await {
        Ok(found) => instances.choose(found),
        Err(error) => return vec![explain::without_address(settings, Some(&error))],
    };
    let expected = Expected::of(material, &[], Vec::new());
    let now = timing::now();
    let age = now.duration_since(material.leaf().not_before()).unwrap_or_default();
    let mut findings = Vec::new();
    let mut looked = look(settings, &found, &expected, material).await;
    looked.sort_by_key(|(address, ..)| *address);
    for (_, facts, verdict) in looked {
        let is_own = verdict == Verdict::Current;
        let verdict = if is_shared && !is_own { by_another(verdict) } else { verdict };
        let mut found = explain::of_instance(settings, verdict, &facts, None, now);
        // The instances may not have had the time yet.
        if verdict == Verdict::StillOld && age < settings.within {
            found.severity = Severity::Warning;
        }
        findings.push(found);
    }
    findings.extend(explain::concerns(settings, material.leaf(), instances.left_out, None));
    findings
}

/// A handshake with each of these instances, in the order in which they answer.
async fn look(
    settings: &ServedAddress,
    addresses: &[IpAddr],
    expected: &Expected,
    material: &Material,
) -> Vec<(IpAddr, Facts, Verdict)> {
    let client = Client::of(material, timing::now());
    let probe = Settings {
        target: Target::Nowhere,
        every: settings.every,
        looks_up: false,
        begin: settings.begin,
    };
    let probed = futures_util::stream::iter(addresses.iter().copied()).map(async |address| {
        let facts = probe.probe(&[address.to_string()], settings.port, client.as_ref()).await;
        (address, facts)
    });
    let seen: Vec<_> = probed.buffer_unordered(AT_ONCE).collect().await;
    if client.is_some() {
        drop(client);
        verify::wipe_stack();
    }
    let now = timing::now();
    let judge = |(address, facts)| {
        let verdict = verify::judge(&facts, expected, now);
        (address, facts, verdict)
    };
    seen.into_iter().map(judge).collect()
}

impl Served {
    pub(super) fn new(settings: ServedAddress, label: Option<String>, pulse: Pulse) -> Self {
        Self {
            settings,
            label,
            resolver: Resolver::default(),
            handed_over: watch::channel(None).1,
            leaves: Leaves::default(),
            instances: Instances::default(),
            failed: None,
            concerns: Vec::new(),
            awaited: false,
            pulse,
        }
    }

    /// Follows which set was handed over to those who reload the instances, and when.
    pub(super) fn follow(&mut self, handed_over: watch::Receiver<Option<HandOver>>) {
        self.handed_over = handed_over;
    }

    /// What may cause trouble although each instance serves the published set.
    pub(super) fn concerns(&self) -> &[Finding] {
        &self.concerns
    }

    /// A sentence that says what is not proven, although no instance serves anything else.
    pub(super) fn unproven(&self) -> Option<&'static str> {
        let mut all = self.instances.iter();
        all.any(|(_, it)| it.verdict == Verdict::Unverifiable).then_some(UNSPOKEN)
    }

    /// What is known of the instances.
    pub(super) fn status(&self) -> status::Instances {
        let port = self.settings.port;
        let mixed = |at: &IpAddr| self.instances.mixed().filter(|it| it.address == *at);
        let instances = self.instances.iter().map(|(address, it)| status::Instance {
            address: verify::shown_address(&address.to_string(), port),
            // Not alternately, as the looks show it.
            verdict: mixed(address).map_or(it.verdict, |it| it.verdict),
            since: it.since,
            seen: it.seen,
            served: it.served.clone(),
            delay: it.delay,
        });
        status::Instances {
            address: self.settings.shown(),
            within: self.settings.within,
            awaited: self.awaited,
            instances: instances.collect(),
            left_out: self.instances.left_out,
        }
    }

    /// Looks at each instance, once. `is_new` means that the set was just published.
    pub(super) async fn attempt(
        &mut self,
        delivery: &mut Delivery,
        publication: &Publication,
        is_new: bool,
    ) -> Attempt {
        let Publication { material, extra_authorities, .. } = publication;
        let leaf = material.leaf().fingerprint();
        self.leaves.publish(leaf);
        let expected = Expected::of(material, extra_authorities, self.leaves.earlier());
        let features = super::features(&expected);
        delivery.begin(&features, is_new);
        // Others reload.
        delivery.reloaded(Instant::now());
        let handed = self.handed(publication.generation);
        self.instances.want(features, handed, Instant::now());
        let begun = Instant::now();
        self.pulse.step("looking a name up", resolve::LIMIT);
        let addresses = self.find().await;
        self.pulse.step("looking at what instances serve", HANDSHAKES);
        let mut looked = look(&self.settings, &addresses, &expected, material).await;
        if matches!(handed, HandedOver::ByAnother(_)) {
            for (.., verdict) in &mut looked {
                *verdict = by_another(*verdict);
            }
        }
        let label = self.label.as_deref();
        for change in
            self.instances.note(looked, self.settings.within, (Instant::now(), timing::now()))
        {
            report::changed(label, &self.settings, publication, &change);
        }
        // If there is no instance, that is reported as the problem.
        let failed = self.failed.as_ref().filter(|_| !addresses.is_empty());
        let left_out = self.instances.left_out;
        let concerns = explain::concerns(&self.settings, material.leaf(), left_out, failed);
        let is_reported = |found: &&Finding| {
            self.concerns.iter().any(|it| (it.code, &it.object) == (found.code, &found.object))
        };
        for found in concerns.iter().filter(|found| !is_reported(found)) {
            report::concern(label, &self.settings, found);
        }
        self.concerns = concerns;
        let nobody = || Facts {
            address: self.settings.shown(),
            answer: Answer::Nothing("the name has no address".to_owned()),
        };
        let worst = self.instances.worst();
        Attempt {
            reload: None,
            reload_error: None,
            verify: begun.elapsed(),
            facts: worst.map_or_else(nobody, |it| it.facts.clone()),
            verdict: self.instances.verdict().unwrap_or(Verdict::Unreachable),
            leaf,
            findings: Vec::new(),
            no_common_tls: None,
            unasked: None,
        }
    }

    /// Since when the instances can have the set with this number.
    fn handed(&self, generation: u64) -> HandedOver {
        match *self.handed_over.borrow() {
            Some(HandOver::ByAnother(since)) => HandedOver::ByAnother(since),
            Some(HandOver::Own { generation: handed, at }) if handed == generation => {
                HandedOver::At(at)
            }
            // It is the set that this process has found.
            _ if generation == 0 => HandedOver::Earlier,
            _ => HandedOver::NotYet,
        }
    }

    /// The addresses of the name. While no name server answers, those of the last look count.
    async fn find(&mut self) -> Vec<IpAddr> {
        match self.resolver.addresses(&self.settings.host).await {
            Ok(found) => {
                self.failed = None;
                self.instances.choose(found)
            }
            Err(error) => {
                let known = if error.is_final() { Vec::new() } else { self.instances.addresses() };
                self.failed = Some(error);
                known
            }
        }
    }

    /// Logs that every instance serves the published set, or that this is not looked at because another replica writes.
    pub(super) fn in_force(&mut self, publication: &Publication, routine: bool) {
        self.awaited = false;
        let label = self.label.as_deref();
        if self.instances.iter().any(|(_, it)| it.verdict == Verdict::Standby) {
            return report::standby(label, &self.settings, &self.instances, routine);
        }
        report::everywhere(label, &self.settings, publication, &self.instances, routine);
    }

    /// Why not every instance serves the published set.
    pub(super) fn not_in_force(
        &mut self,
        attempt: &Attempt,
        why_not_newer: &Finding,
    ) -> (Trouble, Obstacle) {
        let look = Look {
            settings: &self.settings,
            instances: &self.instances,
            failed: self.failed.as_ref(),
            leaf: attempt.leaf,
            verdict: attempt.verdict,
        };
        let (trouble, obstacle) = look.trouble(why_not_newer, Instant::now());
        self.awaited = trouble.problem.pending;
        (trouble, obstacle)
    }
}
