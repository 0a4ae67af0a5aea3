//! The keys with which tokens are verified, as the agent's stream tells them.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::claims::{Claims, Rejection};
use super::failure::Failure;
use super::keys::{Keys, Proof, for_helper, of_helper};
use super::report;
use super::settings::Format;
use crate::source::SourceState;
use crate::source::workload_api::{Connection, JwtBundles, JwtClient};
use crate::timing::{Backoff, jittered};

/// First and longest back-off.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How often an agent that has no JWT-SVIDs is asked again.
const SLOWLY: Duration = Duration::from_secs(300);
/// Shortest pause before the stream is opened again because the agent is back.
const SOON: Duration = Duration::from_secs(1);
/// Most foreign trust domains with a faulty set that are reported.
const MOST_TOLD: usize = 32;
/// How long a stream must have lasted for the back-off to start over.
const HELD: Duration = Duration::from_secs(10);

/// The JWK set of each trust domain, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundles {
    sets: BTreeMap<String, Vec<u8>>,
    /// The foreign trust domains whose set is of no use, with the reason, which follows "the JWT bundle ".
    dropped: BTreeMap<String, String>,
}

impl Bundles {
    /// Reads a message, and checks each set. Drops faulty sets of foreign trust domains; fails if that of this SPIFFE ID is
    /// faulty, with a text that follows "the JWT bundle ".
    pub(super) fn read(message: &JwtBundles, spiffe_id: &str) -> Result<Self, String> {
        let sets = message.read().map_err(|error| format!("cannot be read: {error}"))?;
        Self::checked(sets, spiffe_id)
    }

    /// The same for sets that were read already.
    pub(super) fn checked(sets: BTreeMap<&str, &[u8]>, spiffe_id: &str) -> Result<Self, String> {
        let own = trust_domain(spiffe_id);
        let mut bundles = Self { sets: BTreeMap::new(), dropped: BTreeMap::new() };
        for (name, set) in sets {
            match Keys::read(set) {
                Ok(_) => drop(bundles.sets.insert(name.to_owned(), set.to_vec())),
                Err(why) if name == own => return Err(why),
                Err(why) => drop(bundles.dropped.insert(name.to_owned(), why)),
            }
        }
        Ok(bundles)
    }

    /// The foreign trust domains whose set is left out because it is faulty, each with the reason, which follows "the JWT
    /// bundle ".
    pub fn dropped(&self) -> impl Iterator<Item = (&str, &str)> {
        self.dropped.iter().map(|(name, why)| (name.as_str(), why.as_str()))
    }

    /// Whether both have the same keys, in whatever order: SPIRE's agent sends them in another one each time.
    fn is_same(&self, other: &Self) -> bool {
        self.dropped == other.dropped && self.sorted() == other.sorted()
    }

    /// The keys of each trust domain as text, sorted.
    fn sorted(&self) -> BTreeMap<&str, Vec<String>> {
        let keys = |set: &Vec<u8>| {
            let mut keys = Keys::read(set).map(|keys| keys.texts()).unwrap_or_default();
            keys.sort_unstable();
            keys
        };
        self.sets.iter().map(|(name, set)| (name.as_str(), keys(set))).collect()
    }

    /// The keys of the trust domain of this SPIFFE ID.
    fn keys(&self, spiffe_id: &str) -> Result<(Keys, &[u8]), String> {
        let domain = trust_domain(spiffe_id);
        if let Some(why) = self.dropped.get(domain) {
            return Err(why.clone());
        }
        let set = self.sets.get(domain).ok_or(format!("lacks the trust domain {domain}"))?;
        Ok((Keys::read(set)?, set))
    }

    /// Whether a file in this format has these keys and no others, in whatever order.
    ///
    /// # Errors
    /// If the agent's set of the own trust domain is of no use.
    pub fn are_in(&self, file: &[u8], format: Format, spiffe_id: &str) -> Result<bool, Failure> {
        let (own, count) = self.render(format, spiffe_id)?;
        let sorted = |set: &[u8]| {
            let mut keys = Keys::read(set).ok()?.texts();
            keys.sort_unstable();
            Some(keys)
        };
        Ok(match format {
            Format::Jwks => {
                let found = sorted(file);
                found.as_ref().is_some_and(|keys| keys.len() == count) && found == sorted(&own)
            }
            Format::SpiffeHelper => {
                let found = of_helper(file);
                found.is_some_and(|found| {
                    let sets: BTreeMap<String, _> =
                        found.into_iter().map(|(name, set)| (name, sorted(&set))).collect();
                    let ours = self.sets.iter().map(|(name, set)| (name.clone(), sorted(set)));
                    sets == ours.collect() && sets.values().all(Option::is_some)
                })
            }
        })
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
                for_helper(self.sets.iter().map(|(name, set)| (name.as_str(), set.as_slice())))
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
    let mut told = BTreeSet::new();
    loop {
        if identity.wait_for(|state| state.identity.current().is_some()).await.is_err() {
            // The source has ended, and its owner reports why.
            return std::future::pending().await;
        }
        let begun = Instant::now();
        let ended = follow(&client, &identity, &known, &mut told).await;
        if begun.elapsed() >= HELD {
            backoff.reset();
        }
        let mut pause = backoff.delay();
        if let Err(failure) = ended {
            if failure.is_permanent() {
                pause = jittered(SLOWLY);
            }
            known.send_modify(|known| known.trouble = Some(Arc::new(failure)));
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = back(&mut identity) => {}
        }
    }
}

/// Whether the agent's stream of identities is open.
pub(super) fn is_streaming(state: &SourceState) -> bool {
    matches!(state.connection(), Some(Connection::Streaming))
}

/// The SPIFFE ID for which tokens are asked for, if there is an identity.
pub(super) fn spiffe_id(state: &SourceState) -> Option<String> {
    Some(state.identity.current()?.spiffe_id()?.to_string())
}

/// Waits until the agent has opened its stream of identities again, or has sent another one.
async fn back(identity: &mut watch::Receiver<SourceState>) {
    sleep(SOON).await;
    loop {
        if identity.changed().await.is_err() {
            return std::future::pending().await;
        }
        if is_streaming(&identity.borrow_and_update()) {
            return;
        }
    }
}

/// Reads one stream until it ends. `told` has the trust domains that were reported.
async fn follow(
    client: &JwtClient,
    identity: &watch::Receiver<SourceState>,
    known: &watch::Sender<Known>,
    told: &mut BTreeSet<String>,
) -> Result<(), Failure> {
    let (mut stream, first) = client.bundles().await?;
    let mut next = Some(first);
    while let Some(message) = next {
        let spiffe_id = spiffe_id(&identity.borrow());
        let read = Bundles::read(&message, &spiffe_id.unwrap_or_default());
        drop(message);
        for (domain, why) in read.iter().flat_map(Bundles::dropped) {
            if told.len() < MOST_TOLD && told.insert(domain.to_owned()) {
                report::dropped(domain, why);
            }
        }
        known.send_modify(|known| match read {
            Ok(bundles) => {
                known.trouble = None;
                if !known.bundles.as_ref().is_some_and(|earlier| earlier.is_same(&bundles)) {
                    known.bundles = Some(Arc::new(bundles));
                }
            }
            Err(why) => known.trouble = Some(Arc::new(Failure::Keys(why))),
        });
        next = stream.next().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t08_a_faulty_foreign_set_is_left_out_and_a_faulty_own_one_replaces_nothing() {
        let good: &[u8] = b"{\"keys\":[{\"kid\":\"one\"}]}";
        let read = |own: &'static [u8], other: &'static [u8]| {
            let sets = [("example.org", own), ("other.org", other)].into();
            Bundles::checked(sets, "spiffe://example.org/app")
        };
        let bundles = read(good, b"{}").unwrap();
        let (file, count) = bundles.render(Format::Jwks, "spiffe://example.org/app").unwrap();
        assert_eq!((file.as_slice(), count), (good, 1));
        let dropped: Vec<_> = bundles.dropped().map(|(name, _)| name).collect();
        assert_eq!(dropped, ["other.org"]);
        let helper = bundles.render(Format::SpiffeHelper, "spiffe://example.org/app").unwrap().0;
        assert!(!String::from_utf8(helper).unwrap().contains("other.org"));
        assert!(bundles.render(Format::Jwks, "spiffe://other.org/app").is_err());
        assert!(read(b"{}", good).is_err());
        assert_eq!(read(good, good).unwrap().dropped().count(), 0);
        // The order says nothing.
        let one = read(b"{\"keys\":[{\"kid\":\"a\"},{\"kid\":\"b\"}]}", good).unwrap();
        let two = read(b"{\"keys\":[{\"kid\":\"b\"},{\"kid\":\"a\"}]}", good).unwrap();
        assert!(one.is_same(&two) && !one.is_same(&bundles));
    }
}
