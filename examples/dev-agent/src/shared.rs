//! What the handle and the serving thread have in common.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pgsvid_proto::{JwtsvidRequest, JwtsvidResponse};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::activity::Recorder;
use crate::jwt::{JwtAuthority, JwtBundleStream};
use crate::misbehave::{Misbehaviour, Occasion, Script};
use crate::state::State;
use crate::streams::{BundleStream, SvidStream};
use crate::{Builder, Error};

pub(crate) struct Shared {
    pub(crate) settings: Builder,
    pub(crate) recorder: Arc<Recorder>,
    /// Somebody changed the state, and with it perhaps the time of the next renewal.
    pub(crate) changed: Notify,
    state: Mutex<State>,
    script: Mutex<Script>,
    jwt: Mutex<JwtAuthority>,
    connections: Mutex<CancellationToken>,
}

impl Shared {
    pub(crate) fn new(settings: Builder) -> Result<Self, Error> {
        let recorder = Arc::new(Recorder::default());
        let mut script = Script::default();
        if let Some(misbehaviour) = settings.misbehaviour.clone() {
            script.set(misbehaviour, None);
        }
        Ok(Self {
            state: Mutex::new(State::new(&settings, Arc::clone(&recorder))?),
            recorder,
            changed: Notify::new(),
            jwt: Mutex::new(JwtAuthority::new(&settings.trust_domain, settings.jwt_ttl)?),
            script: Mutex::new(script),
            connections: Mutex::new(CancellationToken::new()),
            settings,
        })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        lock(&self.script)
    }

    pub(crate) fn jwt(&self) -> MutexGuard<'_, JwtAuthority> {
        lock(&self.jwt)
    }

    /// Cancelled when all connections that are open now have to be dropped.
    pub(crate) fn connections(&self) -> MutexGuard<'_, CancellationToken> {
        lock(&self.connections)
    }

    /// Begins an X.509-SVID stream, or misbehaves.
    pub(crate) fn open_svids(&self) -> Result<SvidStream, Status> {
        let misbehaviour = self.script().next(Occasion::Stream);
        let mut state = self.state();
        if let Some(Misbehaviour::Refuse(status)) = misbehaviour {
            return Err(status);
        }
        let scripted = matches!(misbehaviour, Some(Misbehaviour::Reply(_)));
        if state.is_empty() && !scripted {
            return Err(State::denied());
        }
        let (mut sender, stream) = state.streams.open();
        match misbehaviour {
            Some(Misbehaviour::HeadersOnly) => sender.muted = true,
            Some(Misbehaviour::Reply(messages)) => {
                for message in messages {
                    sender.send(message);
                }
            }
            Some(Misbehaviour::EndAfterFirst(status)) => {
                sender.send(state.response());
                sender.end(status);
                return Ok(stream);
            }
            _ => sender.send(state.response()),
        }
        state.streams.keep(sender);
        Ok(stream)
    }

    /// The answer to a request for tokens, or misbehaviour.
    pub(crate) fn jwt_svids(&self, request: &JwtsvidRequest) -> Result<JwtsvidResponse, Status> {
        match self.script().next(Occasion::Token) {
            Some(Misbehaviour::RefuseJwt(status)) => return Err(status),
            Some(Misbehaviour::ReplyJwt(message)) => return Ok(message),
            _ => {}
        }
        if request.audience.is_empty() {
            return Err(Status::invalid_argument("audience must be specified"));
        }
        let state = self.state();
        let entries = state.entries();
        let message = self.jwt().tokens(entries, &request.audience, &request.spiffe_id);
        if message.svids.is_empty() { Err(State::denied()) } else { Ok(message) }
    }

    /// Begins a stream of JWT bundles, or misbehaves.
    pub(crate) fn open_jwt_bundles(&self) -> Result<JwtBundleStream, Status> {
        let misbehaviour = self.script().next(Occasion::JwtBundles);
        if let Some(Misbehaviour::RefuseJwtBundles(status)) = misbehaviour {
            return Err(status);
        }
        if self.state().is_empty() {
            return Err(State::denied());
        }
        let mut jwt = self.jwt();
        let first = jwt.bundles();
        Ok(jwt.open(first))
    }

    /// Begins a stream of bundles.
    pub(crate) fn open_bundles(&self) -> Result<BundleStream, Status> {
        let mut state = self.state();
        if state.is_empty() {
            return Err(State::denied());
        }
        let first = state.bundles();
        Ok(state.streams.open_bundles(first))
    }
}

// A test that panics while it holds a lock shall fail for its own reason, not for this one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
