//! How an agent is set up.

use std::path::PathBuf;
use std::time::Duration;

use crate::ca::Recipe;
use crate::leaf::DEFAULT_TTL;
use crate::{DevAgent, Entry, Error, KeyType, Misbehaviour};

/// Settings of an agent that is to be started. What is not set is as in SPIRE: SVIDs live for an
/// hour and the authority for a day, all keys are EC P-256, and there is no intermediate.
#[derive(Debug, Clone)]
pub struct Builder {
    pub(crate) socket: PathBuf,
    pub(crate) trust_domain: String,
    pub(crate) entries: Vec<Entry>,
    pub(crate) ttl: Duration,
    pub(crate) key_type: KeyType,
    pub(crate) authority: Recipe,
    pub(crate) automatic: bool,
    pub(crate) jwt_ttl: Duration,
    pub(crate) has_jwt: bool,
    pub(crate) misbehaviour: Option<Misbehaviour>,
}

impl Builder {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            trust_domain: "example.org".to_owned(),
            entries: Vec::new(),
            ttl: DEFAULT_TTL,
            key_type: KeyType::default(),
            authority: Recipe {
                key_type: KeyType::default(),
                ttl: Duration::from_secs(24 * 3600),
                intermediate: false,
            },
            automatic: true,
            jwt_ttl: Duration::from_secs(300),
            has_jwt: true,
            misbehaviour: None,
        }
    }

    /// The authority's trust domain. Default: `example.org`.
    #[must_use]
    pub fn trust_domain(mut self, name: impl Into<String>) -> Self {
        self.trust_domain = name.into();
        self
    }

    /// Registers a workload. Every caller gets the SVIDs of all entries, in this order. Without
    /// any, callers get the answer that no identity was issued.
    #[must_use]
    pub fn entry(mut self, entry: Entry) -> Self {
        self.entries.push(entry);
        self
    }

    /// How long SVIDs live, for entries that do not say it.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// The type of leaves' keys, for entries that do not say it.
    #[must_use]
    pub fn key_type(mut self, kind: KeyType) -> Self {
        self.key_type = kind;
        self
    }

    /// How long authorities live. As in SPIRE a new one is prepared at half of that time and used
    /// from five sixths of it on.
    #[must_use]
    pub fn ca_ttl(mut self, ttl: Duration) -> Self {
        self.authority.ttl = ttl;
        self
    }

    /// The type of the authorities' keys.
    #[must_use]
    pub fn ca_key_type(mut self, kind: KeyType) -> Self {
        self.authority.key_type = kind;
        self
    }

    /// Whether an intermediate signs the leaves, as in SPIRE with an upstream authority.
    #[must_use]
    pub fn intermediate(mut self, yes: bool) -> Self {
        self.authority.intermediate = yes;
        self
    }

    /// Whether SVIDs and authorities are renewed by themselves. If not, all is up to
    /// [`DevAgent::rotate`] and its siblings, and an SVID may expire. Default: yes.
    #[must_use]
    pub fn automatic(mut self, yes: bool) -> Self {
        self.automatic = yes;
        self
    }

    /// How long tokens live. Default, as in SPIRE: five minutes.
    #[must_use]
    pub fn jwt_ttl(mut self, ttl: Duration) -> Self {
        self.jwt_ttl = ttl;
        self
    }

    /// Whether there are JWT-SVIDs at all. If not, their calls are unimplemented. Default: yes.
    #[must_use]
    pub fn jwt(mut self, yes: bool) -> Self {
        self.has_jwt = yes;
        self
    }

    /// Misbehaves from the first connection on, see [`DevAgent::misbehave`].
    #[must_use]
    pub fn misbehaviour(mut self, misbehaviour: Misbehaviour) -> Self {
        self.misbehaviour = Some(misbehaviour);
        self
    }

    /// Makes the authority and the first SVIDs, binds the socket and begins to serve. Connections
    /// are accepted as soon as this returns.
    pub fn start(self) -> Result<DevAgent, Error> {
        DevAgent::start(self)
    }
}
