//! The handle: an agent that serves from a thread of its own.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pgsvid_proto::X509svidResponse;
use tokio::sync::watch;
use tonic::Status;

use crate::authorities::Authorities;
use crate::shared::Shared;
use crate::state::State;
use crate::thread::ServingThread;
use crate::{Activity, Authority, Builder, Entry, Error, Misbehaviour, Svid};

/// A Workload API that runs until it is stopped or dropped; dropping is [`Stop::Terminate`].
///
/// Methods take effect before they return, and what they send is sent in the order of the calls,
/// but *when* it arrives is up to the thread that serves.
pub struct DevAgent {
    shared: Arc<Shared>,
    thread: Mutex<Option<ServingThread>>,
}

/// How an agent ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// As by SIGTERM: the socket file is removed, connections break.
    Terminate,
    /// As by SIGKILL: the socket file stays and refuses connections, those that are open break.
    Kill,
}

impl DevAgent {
    /// Settings for an agent that makes its socket at this path. The directory has to exist; the
    /// path may have at most 107 bytes.
    pub fn builder(socket: impl Into<PathBuf>) -> Builder {
        Builder::new(socket.into())
    }

    pub(crate) fn start(settings: Builder) -> Result<Self, Error> {
        let shared = Arc::new(Shared::new(settings)?);
        let thread = ServingThread::start(&shared)?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Ends the agent; without effect if it has ended. Entries and authorities are kept for
    /// [`restart`](Self::restart), since in SPIRE they are the server's.
    pub fn stop(&self, how: Stop) {
        if let Some(thread) = self.thread().take() {
            thread.stop(how);
            self.shared.state().streams.end(None);
            self.shared.jwt().end();
        }
    }

    /// Starts a stopped agent again: a new socket at the same path, new SVIDs with new keys.
    pub fn restart(&self) -> Result<(), Error> {
        let mut thread = self.thread();
        if thread.is_some() {
            return Err(Error::Running);
        }
        self.shared.state().rotate()?;
        *thread = Some(ServingThread::start(&self.shared)?);
        Ok(())
    }

    /// Stops the agent's whole thread, as SIGSTOP does: connections are accepted by the kernel
    /// alone, nothing is read, answered or renewed. What the handle sends meanwhile is kept.
    pub fn freeze(&self) {
        if let Some(thread) = self.thread().as_mut() {
            thread.freeze();
        }
    }

    /// Undoes [`freeze`](Self::freeze), as SIGCONT does.
    pub fn thaw(&self) {
        if let Some(thread) = self.thread().as_mut() {
            thread.thaw();
        }
    }

    /// The socket's path.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.shared.settings.socket
    }

    /// The socket as `SPIFFE_ENDPOINT_SOCKET` wants it: `unix:///run/agent.sock`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// What has happened so far.
    #[must_use]
    pub fn activity(&self) -> Activity {
        self.shared.recorder.now()
    }

    /// What has happened so far and what happens from now on. For asynchronous tests:
    /// `agent.watch().wait_for(|activity| activity.open_streams == 1).await`.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Activity> {
        self.shared.recorder.subscribe()
    }

    /// Blocks until the condition holds. Not for asynchronous code, see [`watch`](Self::watch).
    ///
    /// # Panics
    ///
    /// Within a tokio runtime, which it would block.
    pub fn wait_until(
        &self,
        limit: Duration,
        condition: impl FnMut(&Activity) -> bool,
    ) -> Result<Activity, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(Error::Thread)?;
        let mut receiver = self.watch();
        let seen = runtime.block_on(async {
            // Made inside: a time-out needs the runtime's timer.
            let seen = tokio::time::timeout(limit, receiver.wait_for(condition)).await;
            seen.ok().and_then(Result::ok).map(|activity| *activity)
        });
        seen.ok_or_else(|| Error::TimedOut { waited: limit, last: self.activity() })
    }

    /// The SVIDs in force, in the order of the entries. Their bundle is the current one.
    #[must_use]
    pub fn svids(&self) -> Vec<Svid> {
        self.shared.state().svids()
    }

    /// The SVID of the first entry.
    ///
    /// # Panics
    ///
    /// If there is no entry.
    #[must_use]
    pub fn svid(&self) -> Svid {
        self.svids().swap_remove(0)
    }

    /// The message that describes the present state: what a new stream begins with. Tests change
    /// it and [`push`](Self::push) it.
    #[must_use]
    pub fn response(&self) -> X509svidResponse {
        self.shared.state().response()
    }

    /// The authority that issues now.
    #[must_use]
    pub fn authority(&self) -> Authority {
        self.shared.state().authorities.issuing().clone()
    }

    /// Issues an SVID with the agent's defaults and whole bundle, without telling any stream: a
    /// client's certificate, or what a message is to be made from.
    pub fn issue(&self, entry: &Entry) -> Result<Svid, Error> {
        self.shared.state().issue(entry)
    }

    /// Registers one more workload and tells all streams.
    pub fn add_entry(&self, entry: Entry) -> Result<(), Error> {
        self.change(|state| state.add_entry(entry))
    }

    /// Replaces all entries by these, and tells all streams in one message.
    pub fn set_entries(&self, entries: impl IntoIterator<Item = Entry>) -> Result<(), Error> {
        self.change(|state| state.set_entries(entries.into_iter().collect()))
    }

    /// Removes a workload's entries. If it was the last one, streams end with `PermissionDenied`.
    pub fn remove_entry(&self, spiffe_id: &str) {
        self.shared.state().remove_entry(spiffe_id);
    }

    /// Removes all entries: streams end with `PermissionDenied`, and new ones get it at once.
    pub fn remove_entries(&self) {
        // Without entries nothing is issued that could fail.
        let _ = self.set_entries([]);
    }

    /// Renews all SVIDs now, with new keys, in one message.
    pub fn rotate(&self) -> Result<(), Error> {
        self.change(State::rotate)
    }

    /// Renews all SVIDs so many times, one renewal per interval, while this returns at once.
    pub fn storm(&self, renewals: u32, interval: Duration) {
        if let Some(thread) = self.thread().as_ref() {
            thread.storm(Arc::clone(&self.shared), renewals, interval);
        }
    }

    /// Makes a coming authority, and tells all streams if that changes the bundle: with an
    /// intermediate it does not, because the root stays.
    pub fn prepare_authority(&self) -> Result<(), Error> {
        self.change(|state| state.prepare(Authorities::prepare))
    }

    /// The same, but with a new root even if there is an intermediate.
    pub fn prepare_root(&self) -> Result<(), Error> {
        self.change(|state| state.prepare(Authorities::prepare_root))
    }

    /// Lets the coming authority issue what is issued from now on. SVIDs in force stay until they
    /// are renewed, so nothing is sent.
    pub fn activate_authority(&self) -> Result<(), Error> {
        self.change(|state| state.authorities.activate())
    }

    /// Distrusts former authorities: two messages at once, the old SVIDs again and new ones.
    pub fn taint_authority(&self) -> Result<(), Error> {
        self.change(State::taint)
    }

    /// Takes former authorities out of the bundle: two messages at once, the old SVIDs with the
    /// smaller bundle (which vouches for them only if they were renewed since
    /// [`activate_authority`](Self::activate_authority)) and new ones. Nothing is sent if the
    /// bundle stays the same, because of a common root.
    pub fn revoke_authority(&self) -> Result<(), Error> {
        self.change(State::revoke)
    }

    /// Adds the bundle of a foreign trust domain, and returns the authority behind it.
    pub fn federate(&self, trust_domain: &str) -> Result<Authority, Error> {
        let foreign = Authority::new(trust_domain, false)?;
        self.federate_raw(foreign.spiffe_id(), foreign.root().to_vec());
        Ok(foreign)
    }

    /// Adds a federated bundle as it is: malformed, or with the own trust domain as its key, which
    /// otherwise looks like `spiffe://other.org`.
    pub fn federate_raw(&self, key: impl Into<String>, bundle: Vec<u8>) {
        self.shared.state().federate(key.into(), Some(bundle));
    }

    /// Removes a federated bundle.
    pub fn unfederate(&self, key: &str) {
        self.shared.state().federate(key.to_owned(), None);
    }

    /// A token with these claims in JSON, signed by the present key for tokens, whatever they say.
    #[must_use]
    pub fn sign_token(&self, claims: &serde_json::Value) -> String {
        self.shared.jwt().sign(claims)
    }

    /// The claims of a token as the agent would issue it now.
    #[must_use]
    pub fn token_claims(&self, spiffe_id: &str, audience: &[&str]) -> serde_json::Value {
        let audience: Vec<String> = audience.iter().map(|one| (*one).to_owned()).collect();
        self.shared.jwt().claims(spiffe_id, &audience)
    }

    /// The keys with which tokens are verified: the JWK set of the trust domain.
    #[must_use]
    pub fn jwt_bundle(&self) -> Vec<u8> {
        self.shared.jwt().bundles().bundles.into_values().next().unwrap_or_default()
    }

    /// Makes a new key for tokens, and tells all streams of JWT bundles. The former keys stay in the bundle, or not.
    pub fn renew_jwt_key(&self, keep: bool) -> Result<(), Error> {
        self.shared.jwt().renew(keep)
    }

    /// Sends this message to all open streams of JWT bundles, whatever it says.
    pub fn push_jwt_bundles(&self, message: &pgsvid_proto::JwtBundlesResponse) {
        self.shared.jwt().send(message);
    }

    /// Sends this message to all open streams, whatever it says.
    pub fn push(&self, message: &X509svidResponse) {
        self.shared.state().streams.send(message);
    }

    /// Sends these messages to all open streams, one right after the other.
    pub fn push_all<'a>(&self, messages: impl IntoIterator<Item = &'a X509svidResponse>) {
        let state = self.shared.state();
        for message in messages {
            state.streams.send(message);
        }
    }

    /// Sends the message that describes the present state once more.
    pub fn repeat(&self) {
        let state = self.shared.state();
        state.streams.send(&state.response());
    }

    /// Ends all open streams, cleanly or with a status. Connections stay.
    pub fn end_streams(&self, status: Option<&Status>) {
        self.shared.state().streams.end(status);
    }

    /// Breaks all open connections.
    pub fn drop_connections(&self) {
        let mut token = self.shared.connections();
        std::mem::take(&mut *token).cancel();
    }

    /// Misbehaves on new connections or streams until [`behave`](Self::behave) is called. There is
    /// one misbehaviour at a time.
    pub fn misbehave(&self, misbehaviour: Misbehaviour) {
        self.shared.script().set(misbehaviour, None);
    }

    /// The same, for so many connections or streams only. Mind that a tonic channel makes a second
    /// connection by itself when the first one breaks.
    pub fn misbehave_times(&self, times: u64, misbehaviour: Misbehaviour) {
        self.shared.script().set(misbehaviour, Some(times));
    }

    /// Ends misbehaviour. What has begun under it stays as it is: a silent connection stays
    /// silent, see [`drop_connections`](Self::drop_connections).
    pub fn behave(&self) {
        self.shared.script().clear();
    }

    fn change<T>(&self, how: impl FnOnce(&mut State) -> Result<T, Error>) -> Result<T, Error> {
        let result = how(&mut self.shared.state());
        self.shared.changed.notify_one();
        result
    }

    fn thread(&self) -> MutexGuard<'_, Option<ServingThread>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for DevAgent {
    fn drop(&mut self) {
        self.stop(Stop::Terminate);
    }
}

impl fmt::Debug for DevAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevAgent")
            .field("socket", &self.socket())
            .field("activity", &self.activity())
            .finish_non_exhaustive()
    }
}
