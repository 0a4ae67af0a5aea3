//! Makes an identity wait if too many others were published before it.

use std::sync::Arc;

use tokio::time::Instant;

use super::pace::Change;
use super::{Error, Rotation, SHORTEST_INTERVAL, report};
use crate::material::Material;
use crate::timing;

impl Rotation {
    /// Whether this identity has to wait, because too many others were published before it. Then `later` is the time of the
    /// next try.
    pub(super) async fn has_to_wait(&mut self, material: &Arc<Material>) -> Result<bool, Error> {
        let Some(wanted) = self.wanted.clone() else { return Ok(false) };
        if self.holds(material).await? {
            return Ok(false);
        }
        let same = wanted.authorities().eq(material.authorities());
        let change = if same { Change::Leaf } else { Change::Authorities };
        let valid_for = wanted.not_after().duration_since(timing::now()).unwrap_or_default();
        self.later = self.pace.take(change, valid_for).err();
        if self.later.is_none() {
            self.pace.is_reported &= !self.pace.is_at_rest();
            return Ok(false);
        }
        // While an identity waits, newer ones are looked for at this interval.
        self.not_before = Instant::now() + SHORTEST_INTERVAL;
        if !std::mem::replace(&mut self.pace.is_reported, true) {
            report::paced(self.pace.every());
        }
        Ok(true)
    }
}
