//! JWT-SVIDs: the trust domain's keys for tokens, and the tokens that SPIRE's agent would give.

use std::collections::HashMap;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pgsvid_proto::{JwtBundlesResponse, Jwtsvid, JwtsvidResponse};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Status;

use crate::{Entry, Error, clock};

/// What tonic sends as the answer to `FetchJWTBundles`.
pub(crate) type JwtBundleStream = UnboundedReceiverStream<Result<JwtBundlesResponse, Status>>;

/// The keys of a trust domain, the newest last, and who is notified about them.
pub(crate) struct JwtAuthority {
    trust_domain: String,
    ttl: Duration,
    keys: Vec<Key>,
    streams: Vec<mpsc::UnboundedSender<Result<JwtBundlesResponse, Status>>>,
}

struct Key {
    id: String,
    pair: EcdsaKeyPair,
}

impl Key {
    fn generate(number: usize) -> Result<Self, Error> {
        let random = SystemRandom::new();
        let failed = |cause: &dyn std::fmt::Display| Error::Key {
            kind: crate::KeyType::EcP256,
            cause: cause.to_string(),
        };
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(|it| failed(&it))?;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random)
            .map_err(|it| failed(&it))?;
        Ok(Self { id: format!("key-{number}"), pair })
    }

    fn jwk(&self) -> Value {
        // An uncompressed point: the byte 4, then both coordinates.
        let (x, y) = self.pair.public_key().as_ref().split_at(33);
        json!({
            "kty": "EC", "crv": "P-256", "kid": self.id, "use": "jwt-svid",
            "x": encoded(x.get(1..).unwrap_or_default()), "y": encoded(y),
        })
    }
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl JwtAuthority {
    pub(crate) fn new(trust_domain: &str, ttl: Duration) -> Result<Self, Error> {
        let (trust_domain, keys) = (trust_domain.to_owned(), vec![Key::generate(1)?]);
        Ok(Self { trust_domain, ttl, keys, streams: Vec::new() })
    }

    /// A token with these claims, signed by the newest key.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let Some(key) = self.keys.last() else { return String::new() };
        let header = json!({ "alg": "ES256", "kid": key.id, "typ": "JWT" });
        let message = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
        match key.pair.sign(&SystemRandom::new(), message.as_bytes()) {
            Ok(signature) => format!("{message}.{}", encoded(signature)),
            Err(_) => message,
        }
    }

    /// The claims of a new token as SPIRE makes it: without an issuer.
    pub(crate) fn claims(&self, spiffe_id: &str, audience: &[String]) -> Value {
        let now = clock::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (issued, expires) = (now.as_secs(), (now + self.ttl).as_secs());
        json!({ "sub": spiffe_id, "aud": audience, "exp": expires, "iat": issued })
    }

    /// The tokens of these entries; if an ID is asked for, only of those that have it.
    pub(crate) fn tokens<'a>(
        &self,
        entries: impl Iterator<Item = &'a Entry>,
        audience: &[String],
        wanted: &str,
    ) -> JwtsvidResponse {
        let svids = entries
            .filter(|entry| wanted.is_empty() || entry.spiffe_id == wanted)
            .map(|entry| Jwtsvid {
                spiffe_id: entry.spiffe_id.clone(),
                svid: self.sign(&self.claims(&entry.spiffe_id, audience)),
                hint: entry.hint.clone(),
            })
            .collect();
        JwtsvidResponse { svids }
    }

    pub(crate) fn bundles(&self) -> JwtBundlesResponse {
        let keys: Vec<Value> = self.keys.iter().map(Key::jwk).collect();
        let set = json!({ "keys": keys }).to_string().into_bytes();
        let domain = format!("spiffe://{}", self.trust_domain);
        JwtBundlesResponse { bundles: HashMap::from([(domain, set)]) }
    }

    /// Begins a stream with this message.
    pub(crate) fn open(&mut self, first: JwtBundlesResponse) -> JwtBundleStream {
        let (sender, receiver) = mpsc::unbounded_channel();
        // The receiver lives: it is returned below.
        let _ = sender.send(Ok(first));
        self.streams.retain(|known| !known.is_closed());
        self.streams.push(sender);
        UnboundedReceiverStream::new(receiver)
    }

    /// Sends this message to all streams.
    pub(crate) fn send(&self, message: &JwtBundlesResponse) {
        for stream in &self.streams {
            let _ = stream.send(Ok(message.clone()));
        }
    }

    /// Ends all streams.
    pub(crate) fn end(&mut self) {
        self.streams.clear();
    }

    /// Makes a new key that signs from now on; the former ones stay in the bundle if they are kept.
    pub(crate) fn renew(&mut self, keep: bool) -> Result<(), Error> {
        let number = self.keys.last().and_then(|key| key.id.strip_prefix("key-")?.parse().ok());
        let next = Key::generate(number.unwrap_or(0_usize) + 1)?;
        if !keep {
            self.keys.clear();
        }
        self.keys.push(next);
        self.send(&self.bundles());
        Ok(())
    }
}
