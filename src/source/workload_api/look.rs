//! One look at the agent: connects, reads the first message, and disconnects. For commands other than `run`.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::allowance::Allowance;
use super::call::Call;
use super::message::Discarded;
use super::selection::{Choice, Selected, select};
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
    /// How many there are in all.
    pub count: usize,
    /// The choice between several; `None` if only one fits the configuration.
    pub choice: Option<Choice>,
    /// The material that `run` would use, or why it would use none.
    pub material: Result<Material, Discarded>,
}

/// One SVID of a message. The texts are escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// The SPIFFE ID in the message.
    pub spiffe_id: String,
    /// The operator's hint, if there is one.
    pub hint: Option<String>,
    /// Whether `run` would use this one.
    pub chosen: bool,
}

/// Asks the agent once, within `run`'s time limit for a first message.
pub async fn look(settings: &Settings) -> Result<Look, Error> {
    let begun = Instant::now();
    let allowance = Allowance::new();
    let call = channel::open(&settings.endpoint, &allowance, Call::x509_svids());
    let opened = timeout(limits::FIRST_MESSAGE, call).await;
    let (_stream, first) = opened.map_err(|_| Error::Silent(limits::FIRST_MESSAGE))??;
    let took = begun.elapsed();
    let message = first.ok_or(Error::Empty)?;
    // The material reports what cannot be read.
    let svids = Message::read(&message).map(|message| message.svids).unwrap_or_default();
    let selected = select(&svids, settings).ok();
    let chosen = selected.as_ref().map(|selected| selected.svid);
    let choice = selected.as_ref().and_then(Selected::choice);
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
    drop(selected);
    drop(svids);
    Ok(Look { took, offered, count, choice, material: settings.material(message, timing::now()) })
}
