//! Writes each token and the JWT bundle once: for `fetch`.

use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::sleep;
use tracing::info;
use zeroize::Zeroizing;

use super::claims::Claims;
use super::failure::Failure;
use super::keys::Proof;
use super::obtain::{bundles, obtain};
use super::output::Output;
use super::settings::{Settings, Token};
use crate::publish::Present;
use crate::source::workload_api::JwtClient;
use crate::timing::{self, Backoff};

/// First and longest back-off after a failure that may go away.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// A file that was written, or that holds a token with more than half of its life left.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Its path.
    pub file: String,
    /// When the token expires; `None` for the JWT bundle.
    pub expires: Option<SystemTime>,
    /// Why the token's signature is not verified; `None` if it is.
    pub unverified: Option<String>,
    /// Who has written it.
    pub by: Writer,
}

/// Who has written a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// This process.
    Here,
    /// An earlier one, and the agent could not be asked now.
    Earlier,
    /// Another process that keeps it.
    Another,
}

/// Writes everything for this SPIFFE ID. What the agent cannot give now is asked for again and again; the caller limits the
/// time. Fails at once if that would change nothing. `is_shared` means that another process may keep the same files: a token
/// with more than half of its life left is not replaced.
pub async fn once(
    settings: &Settings,
    spiffe_id: &str,
    is_shared: bool,
    progress: &watch::Sender<String>,
) -> Result<Vec<Kept>, Failure> {
    let mut backoff = Backoff::new(AGAIN.0, AGAIN.1);
    loop {
        match attempt(settings, spiffe_id, is_shared).await {
            Err(failure @ Failure::Agent(_)) if !failure.is_permanent() => {
                progress.send_replace(failure.to_string());
                sleep(backoff.delay()).await;
            }
            ended => return ended,
        }
    }
}

async fn attempt(
    settings: &Settings,
    spiffe_id: &str,
    is_shared: bool,
) -> Result<Vec<Kept>, Failure> {
    let client = JwtClient::new(settings.endpoint.clone());
    let keys = match (bundles(&client, spiffe_id).await, &settings.bundle) {
        (Err(failure), Some(_)) => return Err(failure),
        (keys, _) => keys,
    };
    let mut kept = Vec::new();
    for token in &settings.tokens {
        let mut output = Output::of_token(token.file.clone());
        let (file, hint) = (token.file.path.display().to_string(), settings.hint.as_deref());
        if is_shared && let Some(claims) = earlier(&output, token, spiffe_id).await {
            let expires = Some(claims.expires);
            kept.push(Kept { file, expires, unverified: None, by: Writer::Another });
            continue;
        }
        let obtained = obtain(&client, &token.audience, spiffe_id, hint, timing::now).await;
        let obtained = match obtained {
            Ok(obtained) => obtained,
            Err(Failure::Agent(error)) if !error.is_permanent() => {
                let Some(claims) = earlier(&output, token, spiffe_id).await else {
                    return Err(error.into());
                };
                let expires = Some(claims.expires);
                kept.push(Kept { file, expires, unverified: None, by: Writer::Earlier });
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let proof = match &keys {
            Ok(keys) => keys.verify(spiffe_id, &obtained.token, &obtained.claims)?,
            Err(failure) => Proof::Unverified(format!("there is no JWT bundle: {failure}")),
        };
        let unverified = proof.unverified();
        output.put(Zeroizing::new(obtained.token.as_bytes().to_vec())).await?;
        let expires = Some(obtained.claims.expires);
        info!(event = "token-written", file, spiffe_id, unverified, "token written");
        kept.push(Kept { file, expires, unverified, by: Writer::Here });
    }
    if let (Some(bundle), Ok(keys)) = (&settings.bundle, &keys) {
        let (bytes, count) = keys.render(bundle.format, spiffe_id)?;
        let file = bundle.file.path.display().to_string();
        Output::of_bundle(bundle.file.clone()).put(Zeroizing::new(bytes)).await?;
        info!(event = "jwt-bundle-written", file, keys = count, "JWT bundle written");
        kept.push(Kept { file, expires: None, unverified: None, by: Writer::Here });
    }
    Ok(kept)
}

/// The token of an earlier run, if it is what is asked for and half of its life is left.
async fn earlier(output: &Output, token: &Token, spiffe_id: &str) -> Option<Claims> {
    let Ok(Present::File(bytes)) = output.present().await else { return None };
    let claims = Claims::read(std::str::from_utf8(&bytes).ok()?).ok()?;
    let now = timing::now();
    claims.check(spiffe_id, &token.audience, now).ok()?;
    let life = claims.expires.duration_since(claims.issued?).ok()?;
    (claims.expires.duration_since(now).ok()? > life / 2).then_some(claims)
}
