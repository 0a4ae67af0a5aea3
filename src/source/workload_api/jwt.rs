//! The calls for JWT-SVIDs: tokens, one call for each, and the stream of the keys with which they are verified.

use tokio::time::timeout;
use zeroize::Zeroizing;

use super::allowance::Allowance;
use super::call::Call;
use super::endpoint::Endpoint;
use super::error::Error;
use super::jwt_wire::{JwtSvid, bundles, svids};
use super::messages::Messages;
use super::wire::Unreadable;
use super::{channel, limits};

/// Asks one agent for tokens and keys. What its answers may cost in processor time is limited.
pub struct JwtClient {
    endpoint: Endpoint,
    allowance: Allowance,
}

impl JwtClient {
    /// A client that has not connected yet. Each call has a connection of its own.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, allowance: Allowance::new() }
    }

    /// The agent's address.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Tokens for this audience and this SPIFFE ID. An agent may send several, with different hints.
    pub async fn svids(&self, audience: &[String], spiffe_id: &str) -> Result<JwtSvids, Error> {
        let (_, message) = self.call(Call::jwt_svids(audience, spiffe_id)).await?;
        Ok(JwtSvids(message))
    }

    /// The stream of keys, and its first message.
    pub async fn bundles(&self) -> Result<(JwtBundleStream, JwtBundles), Error> {
        let (messages, first) = self.call(Call::jwt_bundles()).await?;
        Ok((JwtBundleStream(messages), JwtBundles(first)))
    }

    /// A future whose processor time is the agent's: what follows from its messages.
    pub fn counted<F: Future + Unpin>(&self, future: F) -> impl Future<Output = F::Output> {
        self.allowance.counted(future)
    }

    async fn call(&self, call: Call) -> Result<(Messages, Zeroizing<Vec<u8>>), Error> {
        self.allowance.enough().await;
        let opened = channel::open(&self.endpoint, &self.allowance, call);
        let opened = timeout(limits::FIRST_MESSAGE, opened).await;
        let (messages, first) = opened.map_err(|_| Error::Silent(limits::FIRST_MESSAGE))??;
        Ok((messages, first.ok_or(Error::Empty)?))
    }
}

/// A message with tokens.
pub struct JwtSvids(Zeroizing<Vec<u8>>);

impl JwtSvids {
    /// The tokens, in the message's order.
    pub fn read(&self) -> Result<Vec<JwtSvid<'_>>, Unreadable> {
        svids(&self.0)
    }
}

/// The messages that follow the first one, as long as the agent holds the stream.
pub struct JwtBundleStream(Messages);

impl JwtBundleStream {
    /// The next message; `None` if the agent has ended the stream normally. Safe to cancel.
    pub async fn next(&mut self) -> Result<Option<JwtBundles>, Error> {
        Ok(self.0.next().await?.map(JwtBundles))
    }
}

/// A message with the keys of trust domains.
pub struct JwtBundles(Zeroizing<Vec<u8>>);

impl JwtBundles {
    /// The JWK set of each trust domain, by its name without `spiffe://`.
    pub fn read(&self) -> Result<std::collections::BTreeMap<&str, &[u8]>, Unreadable> {
        bundles(&self.0)
    }
}
