//! The authorities of the trust domain: the issuing one, a coming one, and those on their way out.

use std::time::Duration;

use tokio::time::Instant;

use crate::ca::Recipe;
use crate::{Authority, Error};

#[derive(Debug)]
pub(crate) struct Authorities {
    recipe: Recipe,
    issuing: Held,
    prepared: Option<Held>,
    old: Vec<Held>,
}

#[derive(Debug, Clone)]
struct Held {
    authority: Authority,
    made: Instant,
}

impl Authorities {
    pub(crate) fn new(trust_domain: &str, recipe: Recipe) -> Result<Self, Error> {
        Ok(Self {
            recipe,
            issuing: Held::new(Authority::from_recipe(trust_domain, recipe)?),
            prepared: None,
            old: Vec::new(),
        })
    }

    pub(crate) fn issuing(&self) -> &Authority {
        &self.issuing.authority
    }

    /// All roots in DER, oldest first. Authorities with the same root count once.
    pub(crate) fn roots(&self) -> Vec<Vec<u8>> {
        let held = self.old.iter().chain([&self.issuing]).chain(&self.prepared);
        let mut roots: Vec<Vec<u8>> = Vec::new();
        for root in held.map(|held| held.authority.root()) {
            if !roots.iter().any(|known| known == root) {
                roots.push(root.to_vec());
            }
        }
        roots
    }

    /// Makes a coming authority: below the same root if there is an intermediate.
    pub(crate) fn prepare(&mut self) -> Result<(), Error> {
        if !self.recipe.intermediate {
            return self.prepare_root();
        }
        let next = self.issuing().with_new_intermediate(self.recipe)?;
        self.prepared = Some(Held::new(next));
        Ok(())
    }

    /// Makes a coming authority with a root of its own.
    pub(crate) fn prepare_root(&mut self) -> Result<(), Error> {
        let next = Authority::from_recipe(self.issuing().trust_domain(), self.recipe)?;
        self.prepared = Some(Held::new(next));
        Ok(())
    }

    /// Lets the coming authority issue. The former one stays in the bundle.
    pub(crate) fn activate(&mut self) -> Result<(), Error> {
        let next = self.prepared.take().ok_or(Error::NothingPrepared)?;
        self.old.push(std::mem::replace(&mut self.issuing, next));
        Ok(())
    }

    /// Takes all former authorities out of the bundle.
    pub(crate) fn revoke(&mut self) {
        self.old.clear();
    }

    /// When there is something to do for [`renew`](Self::renew).
    pub(crate) fn next_due(&self) -> Instant {
        let next = match self.prepared {
            None => self.prepare_at(),
            Some(_) => self.activate_at(),
        };
        let expiries = self.old.iter().map(|held| held.made + self.recipe.ttl);
        expiries.fold(next, Instant::min)
    }

    /// Prepares, activates and forgets authorities whose time has come, at SPIRE's thresholds.
    pub(crate) fn renew(&mut self, now: Instant) -> Result<(), Error> {
        let ttl = self.recipe.ttl;
        self.old.retain(|held| now < held.made + ttl);
        if self.prepared.is_none() && self.prepare_at() <= now {
            // The root, too, since it ends when the intermediate does.
            self.prepare_root()?;
        }
        if self.prepared.is_some() && self.activate_at() <= now {
            self.activate()?;
        }
        Ok(())
    }

    fn prepare_at(&self) -> Instant {
        self.issuing.made + self.recipe.ttl / 2
    }

    fn activate_at(&self) -> Instant {
        self.issuing.made + self.recipe.ttl * 5 / 6
    }
}

impl Held {
    fn new(authority: Authority) -> Self {
        let made = Instant::now();
        Self { authority, made }
    }
}

/// The shortest time between two renewals, however short-lived the authority makes SVIDs.
pub(crate) const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_change_at_half_and_five_sixths_of_their_life() {
        let recipe = Recipe {
            key_type: crate::KeyType::EcP256,
            ttl: Duration::from_secs(600),
            intermediate: true,
        };
        let mut authorities = Authorities::new("example.org", recipe).unwrap();
        let first = authorities.issuing().root().to_vec();
        let begin = authorities.issuing.made;
        let after = |seconds| begin + Duration::from_secs(seconds);

        assert_eq!(authorities.next_due(), after(300));
        authorities.renew(after(299)).unwrap();
        assert_eq!(authorities.roots().len(), 1);

        authorities.renew(after(300)).unwrap();
        assert_eq!(authorities.roots().len(), 2);
        assert_eq!(authorities.issuing().root(), first);
        assert_eq!(authorities.next_due(), after(500));

        authorities.renew(after(500)).unwrap();
        assert_eq!(authorities.roots().len(), 2);
        assert_ne!(authorities.issuing().root(), first);

        // The successor was made just now, not at half time: here it would be renewed first.
        authorities.prepared = Some(authorities.issuing.clone());
        authorities.issuing.made = after(300);
        assert_eq!(authorities.next_due(), after(600));
        authorities.renew(after(600)).unwrap();
        assert!(!authorities.roots().contains(&first));
    }
}
