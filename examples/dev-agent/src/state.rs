//! What the agent knows: entries, their SVIDs, authorities, foreign bundles; and what it tells.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use pgsvid_proto::{X509BundlesResponse, X509svidResponse};
use tokio::time::Instant;
use tonic::Status;

use crate::activity::Recorder;
use crate::authorities::{Authorities, SHORTEST_PAUSE};
use crate::streams::Streams;
use crate::{Authority, Builder, Entry, Error, Flaw, KeyType, Svid, clock};

pub(crate) struct State {
    pub(crate) authorities: Authorities,
    pub(crate) streams: Streams,
    registered: Vec<Registered>,
    federated: BTreeMap<String, Vec<u8>>,
    /// What the streams of bundles know.
    told: X509BundlesResponse,
    ttl: std::time::Duration,
    key_type: KeyType,
    recorder: Arc<Recorder>,
}

struct Registered {
    entry: Entry,
    svid: Svid,
    renew_at: Instant,
}

impl State {
    pub(crate) fn new(settings: &Builder, recorder: Arc<Recorder>) -> Result<Self, Error> {
        let mut state = Self {
            authorities: Authorities::new(&settings.trust_domain, settings.authority)?,
            streams: Streams::new(Arc::clone(&recorder)),
            registered: Vec::new(),
            federated: BTreeMap::new(),
            told: X509BundlesResponse::default(),
            ttl: settings.ttl,
            key_type: settings.key_type,
            recorder,
        };
        state.set_entries(settings.entries.clone())?;
        Ok(state)
    }

    /// The answer to a caller without an entry.
    pub(crate) fn denied() -> Status {
        Status::permission_denied("no identity issued")
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.registered.iter().map(|known| &known.entry)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.registered.is_empty()
    }

    pub(crate) fn svids(&self) -> Vec<Svid> {
        self.registered.iter().map(|known| known.svid.clone()).collect()
    }

    /// The message that describes the present state.
    pub(crate) fn response(&self) -> X509svidResponse {
        let svids = self.registered.iter();
        X509svidResponse {
            svids: svids.map(|known| known.svid.to_message()).collect(),
            crl: Vec::new(),
            federated_bundles: self.federated.clone().into_iter().collect(),
        }
    }

    /// The same for `FetchX509Bundles`.
    pub(crate) fn bundles(&self) -> X509BundlesResponse {
        let mut bundles: HashMap<_, _> = self.federated.clone().into_iter().collect();
        let own = self.authorities.issuing().spiffe_id();
        bundles.insert(own, self.authorities.roots().concat());
        X509BundlesResponse { crl: Vec::new(), bundles }
    }

    /// Issues an SVID as a registered workload would get it.
    pub(crate) fn issue(&self, entry: &Entry) -> Result<Svid, Error> {
        self.issue_with(self.authorities.issuing(), entry, None)
    }

    /// Replaces all entries.
    pub(crate) fn set_entries(&mut self, entries: Vec<Entry>) -> Result<(), Error> {
        let registered = entries.into_iter().map(|entry| self.register(entry, None));
        self.registered = registered.collect::<Result<_, _>>()?;
        self.count(self.registered.len());
        self.publish();
        Ok(())
    }

    pub(crate) fn add_entry(&mut self, entry: Entry) -> Result<(), Error> {
        let registered = self.register(entry, None)?;
        self.registered.push(registered);
        self.count(1);
        self.publish();
        Ok(())
    }

    pub(crate) fn remove_entry(&mut self, spiffe_id: &str) {
        self.registered.retain(|known| known.entry.spiffe_id != spiffe_id);
        self.publish();
    }

    /// Renews all SVIDs.
    pub(crate) fn rotate(&mut self) -> Result<(), Error> {
        self.reissue(|_| true)?;
        self.publish();
        Ok(())
    }

    /// Renews what is due.
    pub(crate) fn renew(&mut self, now: Instant) -> Result<(), Error> {
        let roots = self.authorities.roots();
        self.authorities.renew(now)?;
        let issued = self.reissue(|known| known.renew_at <= now)?;
        if issued || roots != self.authorities.roots() {
            self.publish();
        }
        Ok(())
    }

    pub(crate) fn next_due(&self) -> Instant {
        let renewals = self.registered.iter().map(|known| known.renew_at);
        renewals.fold(self.authorities.next_due(), Instant::min)
    }

    pub(crate) fn prepare(
        &mut self,
        how: fn(&mut Authorities) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let roots = self.authorities.roots();
        how(&mut self.authorities)?;
        if roots != self.authorities.roots() {
            self.publish();
        }
        Ok(())
    }

    /// The same SVIDs again, then their successors: a burst of two messages, as SPIRE sends it.
    pub(crate) fn taint(&mut self) -> Result<(), Error> {
        let before = self.response();
        self.reissue(|_| true)?;
        self.streams.send(&before);
        self.publish();
        Ok(())
    }

    /// The same SVIDs with the smaller bundle, then their successors.
    pub(crate) fn revoke(&mut self) -> Result<(), Error> {
        let roots = self.authorities.roots();
        self.authorities.revoke();
        if roots == self.authorities.roots() {
            return Ok(());
        }
        self.refresh_bundles();
        let before = self.response();
        self.reissue(|_| true)?;
        self.streams.send(&before);
        self.publish();
        Ok(())
    }

    pub(crate) fn federate(&mut self, key: String, bundle: Option<Vec<u8>>) {
        match bundle {
            Some(bundle) => self.federated.insert(key, bundle),
            None => self.federated.remove(&key),
        };
        self.publish();
    }

    /// Tells all streams how things stand.
    fn publish(&mut self) {
        self.refresh_bundles();
        if self.is_empty() {
            self.streams.end(Some(&Self::denied()));
            return;
        }
        self.streams.send(&self.response());
        let bundles = self.bundles();
        if bundles != self.told {
            self.streams.send_bundles(&bundles);
            self.told = bundles;
        }
    }

    fn refresh_bundles(&mut self) {
        let roots = self.authorities.roots();
        for known in &mut self.registered {
            if !known.entry.has(&Flaw::EmptyBundle) {
                known.svid.bundle.clone_from(&roots);
            }
        }
    }

    fn reissue(&mut self, due: impl Fn(&Registered) -> bool) -> Result<bool, Error> {
        let mut renewed = Vec::new();
        for (index, known) in self.registered.iter().enumerate() {
            if due(known) {
                let key = Some(known.svid.key.as_slice()).filter(|_| known.entry.keep_key);
                renewed.push((index, self.register(known.entry.clone(), key)?));
            }
        }
        let any = !renewed.is_empty();
        self.count(renewed.len());
        for (index, registered) in renewed {
            self.registered[index] = registered;
        }
        Ok(any)
    }

    fn count(&self, issued: usize) {
        if issued > 0 {
            self.recorder.record(|activity| activity.issued += issued as u64);
        }
    }

    fn register(&self, entry: Entry, key: Option<&[u8]>) -> Result<Registered, Error> {
        let svid = self.issue_with(self.authorities.issuing(), &entry, key)?;
        // A flawed one may have expired already; then half of what it should have had.
        let lifetime =
            svid.not_after.duration_since(clock::now()).unwrap_or(entry.ttl.unwrap_or(self.ttl));
        Ok(Registered {
            renew_at: Instant::now() + (lifetime / 2).max(SHORTEST_PAUSE),
            entry,
            svid,
        })
    }

    fn issue_with(
        &self,
        authority: &Authority,
        entry: &Entry,
        key: Option<&[u8]>,
    ) -> Result<Svid, Error> {
        let mut entry = entry.clone();
        entry.ttl.get_or_insert(self.ttl);
        entry.key_type.get_or_insert(self.key_type);
        let mut svid = authority.issue_with(&entry, key)?;
        if !entry.has(&Flaw::EmptyBundle) {
            svid.bundle = self.authorities.roots();
        }
        Ok(svid)
    }
}
