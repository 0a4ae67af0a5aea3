//! One token, or the keys of the trust domains, from the agent: asked for and checked, and not written yet.

use std::time::SystemTime;

use zeroize::Zeroizing;

use super::claims::{Claims, Rejection};
use super::failure::Failure;
use super::feed::Bundles;
use crate::source::workload_api::JwtClient;

/// A token that may be written.
pub struct Obtained {
    /// The token.
    pub token: Zeroizing<String>,
    /// What it says.
    pub claims: Claims,
}

/// Asks the agent for a token, and checks all but its signature. Of several the first with the hint is used.
pub async fn obtain(
    client: &JwtClient,
    audience: &[String],
    spiffe_id: &str,
    hint: Option<&str>,
    now: fn() -> SystemTime,
) -> Result<Obtained, Failure> {
    let message = client.svids(audience, spiffe_id).await?;
    let svids = message.read().map_err(|error| Rejection::Unreadable(error.to_string()))?;
    let found = svids.iter().find(|svid| hint.is_none_or(|hint| svid.hint == hint));
    let missing = || Rejection::Missing { hint: hint.map(str::to_owned) };
    let token = Zeroizing::new(found.ok_or_else(missing)?.token.to_owned());
    let claims = Claims::read(&token)?;
    claims.check(spiffe_id, audience, now())?;
    Ok(Obtained { token, claims })
}

/// Asks the agent once for the keys of the trust domains. Fails if those of this SPIFFE ID are faulty.
pub async fn bundles(client: &JwtClient, spiffe_id: &str) -> Result<Bundles, Failure> {
    let (_, first) = client.bundles().await?;
    Bundles::read(&first, spiffe_id).map_err(Failure::Keys)
}
