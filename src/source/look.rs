//! One look at the agent: connects, reads the first message, and leaves. For those who examine and do not run.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::allowance::Allowance;
use super::message::{self, Discarded};
use super::wire::Message;
use super::{Error, Settings, channel, limits};
use crate::material::Material;
use crate::text::shown;
use crate::timing;

/// Most SVIDs that are listed.
const MOST_LISTED: usize = 32;

/// What an agent has answered.
#[derive(Debug)]
pub struct Look {
    /// From dialling to the first message.
    pub took: Duration,
    /// The SVIDs in the message: the first few, in its order.
    pub offered: Vec<Offered>,
    /// How many there are altogether.
    pub count: usize,
    /// The material that `run` would take, or why it would take none.
    pub material: Result<Material, Discarded>,
}

/// One SVID of a message. The texts are escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// The SPIFFE ID, as the message has it.
    pub spiffe_id: String,
    /// The operator's hint, if there is one.
    pub hint: Option<String>,
    /// Whether this is the one that `run` would take.
    pub chosen: bool,
}

/// Asks the agent once, within the limit that `run` has for a first message.
pub async fn look(settings: &Settings) -> Result<Look, Error> {
    let begun = Instant::now();
    let opened =
        timeout(limits::FIRST_MESSAGE, channel::open(&settings.endpoint, &Allowance::new())).await;
    let (_stream, first) = opened.map_err(|_| Error::Silent(limits::FIRST_MESSAGE))??;
    let took = begun.elapsed();
    let message = first.ok_or(Error::Empty)?;
    // Of what cannot be read the material tells.
    let svids = Message::read(&message).map(|message| message.svids).unwrap_or_default();
    let chosen = message::select(&svids, &settings.selection).ok();
    let offered = svids
        .iter()
        .take(MOST_LISTED)
        .map(|svid| Offered {
            spiffe_id: shown(svid.spiffe_id),
            hint: Some(shown(svid.hint)).filter(|hint| !hint.is_empty()),
            chosen: chosen.is_some_and(|chosen| std::ptr::eq(chosen, svid)),
        })
        .collect();
    let count = svids.len();
    drop(svids);
    Ok(Look { took, offered, count, material: settings.material(message, timing::now()) })
}
