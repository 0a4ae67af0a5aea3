//! Whether the agent's token is signed by the agent's keys.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::claims::Rejection;
use super::failure::Failure;
use super::feed::Known;
use super::keys::Proof;
use super::obtain::Obtained;

/// How long a token waits for the first keys.
const FIRST_KEYS: Duration = Duration::from_secs(5);

/// Verifies the signature by the keys of the trust domain, for which it waits a moment. Fails if a key that is known to be the
/// agent's newest has not signed the token.
pub(super) async fn prove(
    known: &watch::Sender<Known>,
    spiffe_id: &str,
    obtained: Obtained,
) -> Result<(Obtained, Proof), Failure> {
    let mut keys = known.subscribe();
    let is_answer = |known: &Known| known.bundles.is_some() || known.trouble.is_some();
    let _ = timeout(FIRST_KEYS, keys.wait_for(is_answer)).await;
    let Known { bundles, trouble } = known.borrow().clone();
    let unverified = |why: String| Ok(Proof::Unverified(why));
    let proof = match (bundles, trouble) {
        (Some(bundles), trouble) => {
            match (bundles.verify(spiffe_id, &obtained.token, &obtained.claims), trouble) {
                // The agent may have other keys since, as after a restart.
                (Err(Rejection::Signature(key)), Some(why)) => unverified(format!(
                    "the key {key:?} of the JWT bundle has not signed it, but may be an old one: {why}"
                )),
                (proof, _) => proof,
            }
        }
        (None, Some(why)) => unverified(format!("there is no JWT bundle: {why}")),
        (None, None) => unverified("the agent has not sent its JWT bundle yet".to_owned()),
    };
    Ok((obtained, proof?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use zeroize::Zeroizing;

    use super::*;
    use crate::tokens::feed::Bundles;
    use crate::tokens::{Claims, Keys};

    const ID: &str = "spiffe://example.org/app";

    #[tokio::test]
    async fn t05_an_old_key_refuses_no_token_while_the_agent_sends_no_keys() {
        let encoded = |text: &[u8]| URL_SAFE_NO_PAD.encode(text);
        let header = encoded(br#"{"alg":"ES256","kid":"one"}"#);
        let payload = encoded(br#"{"sub":"spiffe://example.org/app","aud":"a","exp":1000}"#);
        let token = format!("{header}.{payload}.{}", encoded(&[1; 64]));
        let number = encoded(&[1; 32]);
        let set = format!(
            r#"{{"keys":[{{"kty":"EC","crv":"P-256","kid":"one","x":"{number}","y":"{number}"}}]}}"#
        );
        assert_eq!(Keys::read(set.as_bytes()).unwrap().count(), 1);
        let bundles = Bundles::checked([("example.org", set.as_bytes())].into(), ID).unwrap();
        let proof = |trouble: Option<Failure>| {
            let (claims, token) = (Claims::read(&token).unwrap(), Zeroizing::new(token.clone()));
            let bundles = Some(Arc::new(bundles.clone()));
            let known = watch::Sender::new(Known { bundles, trouble: trouble.map(Arc::new) });
            async move { prove(&known, ID, Obtained { token, claims }).await.map(|(_, it)| it) }
        };
        let refused = proof(None).await;
        assert!(matches!(refused, Err(Failure::Rejected(Rejection::Signature(_)))), "{refused:?}");
        let kept = proof(Some(Failure::Thread)).await;
        assert!(matches!(kept, Ok(Proof::Unverified(_))), "{kept:?}");
    }
}
