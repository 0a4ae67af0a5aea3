//! The keys with which tokens are verified, as the agent's stream tells them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::claims::{Claims, Rejection};
use super::failure::Failure;
use super::keys::{Keys, Proof, for_helper};
use super::settings::Format;
use crate::source::workload_api::{JwtBundles, JwtClient};
use crate::source::{Identity, SourceState};
use crate::timing::Backoff;

/// First and longest back-off.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How often an agent that has no JWT-SVIDs is asked again.
const SLOWLY: Duration = Duration::from_secs(300);
/// How long a stream must have lasted for the back-off to start over.
const HELD: Duration = Duration::from_secs(10);

/// The JWK set of each trust domain, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundles(BTreeMap<String, Vec<u8>>);

impl Bundles {
    /// Reads a message, and checks each set. Fails with a text that follows "the JWT bundle ".
    pub(super) fn read(message: &JwtBundles) -> Result<Self, String> {
        let sets = message.read().map_err(|error| format!("cannot be read: {error}"))?;
        for set in sets.values() {
            Keys::read(set)?;
        }
        Ok(Self(sets.into_iter().map(|(name, set)| (name.to_owned(), set.to_vec())).collect()))
    }

    /// The keys of the trust domain of this SPIFFE ID.
    fn keys(&self, spiffe_id: &str) -> Result<(Keys, &[u8]), String> {
        let domain = trust_domain(spiffe_id);
        let set = self.0.get(domain).ok_or(format!("lacks the trust domain {domain}"))?;
        Ok((Keys::read(set)?, set))
    }

    /// Verifies a token of this SPIFFE ID, if the key that it names is there.
    pub fn verify(
        &self,
        spiffe_id: &str,
        token: &str,
        claims: &Claims,
    ) -> Result<Proof, Rejection> {
        match self.keys(spiffe_id) {
            Ok((keys, _)) => keys.verify(token, claims),
            Err(why) => Ok(Proof::Unverified(format!("the JWT bundle {why}"))),
        }
    }

    /// The contents of the file, and how many keys of the own trust domain are in it.
    pub(super) fn render(
        &self,
        format: Format,
        spiffe_id: &str,
    ) -> Result<(Vec<u8>, usize), Failure> {
        let (keys, set) = self.keys(spiffe_id).map_err(Failure::Keys)?;
        let bytes = match format {
            Format::Jwks => set.to_vec(),
            Format::SpiffeHelper => {
                for_helper(self.0.iter().map(|(name, set)| (name.as_str(), set.as_slice())))
            }
        };
        Ok((bytes, keys.count()))
    }
}

fn trust_domain(spiffe_id: &str) -> &str {
    let rest = spiffe_id.strip_prefix("spiffe://").unwrap_or(spiffe_id);
    rest.split('/').next().unwrap_or(rest)
}

/// What is known of the keys.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// The latest that could be used.
    pub(super) bundles: Option<Arc<Bundles>>,
    /// Why there are no newer ones; `None` while the stream is open.
    pub(super) trouble: Option<Arc<Failure>>,
}

/// Keeps the stream open, as long as there is an identity.
pub(super) async fn run(
    client: Arc<JwtClient>,
    mut identity: watch::Receiver<SourceState>,
    known: watch::Sender<Known>,
) -> Infallible {
    let mut backoff = Backoff::new(AGAIN.0, AGAIN.1);
    loop {
        let is_current = |state: &SourceState| matches!(state.identity, Identity::Current(_));
        if identity.wait_for(is_current).await.is_err() {
            // The source has ended, and its owner reports why.
            return std::future::pending().await;
        }
        let begun = Instant::now();
        let ended = follow(&client, &known).await;
        if begun.elapsed() >= HELD {
            backoff.reset();
        }
        let mut pause = backoff.delay();
        if let Err(failure) = ended {
            if failure.is_permanent() {
                pause = SLOWLY;
            }
            known.send_modify(|known| known.trouble = Some(Arc::new(failure)));
        }
        sleep(pause).await;
    }
}

/// Reads one stream until it ends.
async fn follow(client: &JwtClient, known: &watch::Sender<Known>) -> Result<(), Failure> {
    let (mut stream, first) = client.bundles().await?;
    let mut next = Some(first);
    while let Some(message) = next {
        let read = Bundles::read(&message);
        drop(message);
        known.send_modify(|known| match read {
            Ok(bundles) => {
                *known = Known { bundles: Some(Arc::new(bundles)), trouble: None };
            }
            Err(why) => known.trouble = Some(Arc::new(Failure::Keys(why))),
        });
        next = stream.next().await?;
    }
    Ok(())
}
