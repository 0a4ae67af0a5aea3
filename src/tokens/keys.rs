//! The keys of a trust domain as a JWK set (RFC 7517), and whether one of them has signed a token.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{self, EcdsaVerificationAlgorithm, RsaParameters, UnparsedPublicKey};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::claims::{Claims, Rejection, decoded};
use crate::text::shown;

/// Largest JWK set of a trust domain, in bytes.
const LARGEST: usize = 256 * 1024;
/// Most keys in it.
const MOST_KEYS: usize = 256;

/// Whether a token's signature was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// By a key of the trust domain.
    Verified,
    /// It could not be: the reason follows "the signature is not verified: ".
    Unverified(String),
}

impl Proof {
    /// Why the signature was not verified; `None` if it was.
    #[must_use]
    pub fn unverified(self) -> Option<String> {
        match self {
            Self::Verified => None,
            Self::Unverified(why) => Some(why),
        }
    }
}

/// The checked JWK set of a trust domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    keys: Vec<Map<String, Value>>,
}

/// The private members of a key.
const PRIVATE: [&str; 8] = ["d", "k", "p", "q", "dp", "dq", "qi", "oth"];

/// A JWK set: `serde` refuses one that has one of these members twice.
#[derive(Deserialize)]
struct Once {
    #[serde(rename = "keys")]
    _keys: Vec<KeyOnce>,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "read only to find members that are there twice")]
struct KeyOnce {
    kty: Option<IgnoredAny>,
    kid: Option<IgnoredAny>,
    alg: Option<IgnoredAny>,
    r#use: Option<IgnoredAny>,
    crv: Option<IgnoredAny>,
    x: Option<IgnoredAny>,
    y: Option<IgnoredAny>,
    n: Option<IgnoredAny>,
    e: Option<IgnoredAny>,
}

impl Keys {
    /// Reads a JWK set. Fails with the reason, which follows "the JWT bundle ".
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > LARGEST {
            return Err(format!(
                "has {} bytes, more than the {LARGEST} that are allowed",
                bytes.len()
            ));
        }
        let set: Value = serde_json::from_slice(bytes).map_err(|_| "is not JSON".to_owned())?;
        let Some(keys) = set.get("keys").and_then(Value::as_array) else {
            return Err("has no list of keys".to_owned());
        };
        if keys.len() > MOST_KEYS {
            return Err(format!("has more than {MOST_KEYS} keys"));
        }
        let keys: Option<Vec<_>> = keys.iter().map(|key| key.as_object().cloned()).collect();
        let keys = keys.ok_or("has a key that is no object")?;
        // Such a file would tell everybody how to sign tokens (RFC 7518, 6.2.2, 6.3.2 and 6.4.1).
        if keys.iter().any(|key| PRIVATE.iter().any(|name| key.contains_key(*name))) {
            return Err("holds a private key".to_owned());
        }
        serde_json::from_slice::<Once>(bytes)
            .map_err(|_| "names a member twice, which readers understand differently")?;
        Ok(Self { keys })
    }

    /// Each key as text.
    pub(super) fn texts(&self) -> Vec<String> {
        self.keys.iter().map(|key| Value::Object(key.clone()).to_string()).collect()
    }

    /// How many keys there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// Verifies the token's signature if a key has the token's key ID. Fails if that key has not signed it.
    pub fn verify(&self, token: &str, claims: &Claims) -> Result<Proof, Rejection> {
        let unverified = |why: String| Ok(Proof::Unverified(why));
        let Some(key_id) = &claims.key_id else {
            return unverified("the token names no key".to_owned());
        };
        let with_id = |key: &&Map<String, Value>| text(key, "kid") == Some(key_id);
        let Some(key) = self.keys.iter().find(with_id) else {
            let key_id = shown(key_id);
            return unverified(format!("the JWT bundle has no key {key_id:?}"));
        };
        let Some((message, signature)) =
            token.rsplit_once('.').and_then(|(message, it)| Some((message, decoded(it)?)))
        else {
            return Err(Rejection::Malformed("the third part is no signature"));
        };
        match verify(key, &claims.algorithm, message.as_bytes(), &signature) {
            Some(true) => Ok(Proof::Verified),
            Some(false) => Err(Rejection::Signature(shown(key_id))),
            None => unverified(format!(
                "pgsvid has no {} for the key {:?}",
                claims.algorithm,
                shown(key_id)
            )),
        }
    }
}

fn text<'a>(key: &'a Map<String, Value>, name: &str) -> Option<&'a String> {
    match key.get(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

/// Whether the key has signed the message; `None` if the algorithm or the key is not supported.
fn verify(
    key: &Map<String, Value>,
    algorithm: &str,
    message: &[u8],
    signature: &[u8],
) -> Option<bool> {
    let bytes = |name| text(key, name).and_then(|it| decoded(it));
    let kind = text(key, "kty")?.as_str();
    if let (Some(rsa), "RSA") = (rsa(algorithm), kind) {
        let (n, e) = (bytes("n")?, bytes("e")?);
        let key = signature::RsaPublicKeyComponents { n, e };
        return Some(key.verify(rsa, message, signature).is_ok());
    }
    let (curve, size, ecdsa) = ecdsa(algorithm)?;
    if kind != "EC" || text(key, "crv")? != curve {
        return None;
    }
    let (x, y) = (bytes("x")?, bytes("y")?);
    if (x.len(), y.len()) != (size, size) {
        return None;
    }
    let point = [&[4][..], &x, &y].concat();
    Some(UnparsedPublicKey::new(ecdsa, point).verify(message, signature).is_ok())
}

fn rsa(algorithm: &str) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
        "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
        "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
        "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
        "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
        "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

/// The curve, the size of a coordinate in bytes, and ring's algorithm. ring has no P-521.
fn ecdsa(algorithm: &str) -> Option<(&'static str, usize, &'static EcdsaVerificationAlgorithm)> {
    Some(match algorithm {
        "ES256" => ("P-256", 32, &signature::ECDSA_P256_SHA256_FIXED),
        "ES384" => ("P-384", 48, &signature::ECDSA_P384_SHA384_FIXED),
        _ => return None,
    })
}

/// All trust domains in the format of spiffe-helper: an object from each one's name to its JWK set in base64.
pub(super) fn for_helper<'a>(bundles: impl Iterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let entries = bundles.map(|(domain, set)| (domain.to_owned(), STANDARD.encode(set).into()));
    Value::Object(entries.collect()).to_string().into_bytes()
}

/// The JWK sets of such a file, by trust domain; `None` if it is none.
pub(super) fn of_helper(file: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let entries: Map<String, Value> = serde_json::from_slice(file).ok()?;
    let entry =
        |(domain, set): (String, Value)| Some((domain, STANDARD.decode(set.as_str()?).ok()?));
    entries.into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use dev_agent::{Authority, Entry, KeyType};
    use ring::rand::SystemRandom;
    use ring::signature::{EcdsaKeyPair, KeyPair as _, RsaKeyPair};
    use serde_json::json;

    use super::*;

    fn encoded(bytes: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// A key in PKCS#8.
    fn key(kind: KeyType) -> Vec<u8> {
        let authority = Authority::new("example.org", false).unwrap();
        authority.issue(&Entry::new("spiffe://example.org/a").key_type(kind)).unwrap().key
    }

    fn signed(algorithm: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
        let header = json!({ "alg": algorithm, "kid": "one" }).to_string();
        let payload = json!({ "sub": "s", "aud": "a", "exp": 1 }).to_string();
        let message = format!("{}.{}", encoded(header), encoded(payload));
        let signature = encoded(sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    #[test]
    fn t08_a_set_that_readers_understand_differently_or_with_a_private_key_is_refused() {
        let read = |set: &str| Keys::read(set.as_bytes()).map(|keys| keys.count());
        assert_eq!(
            read(r#"{"keys":[{"kid":"a","x5c":[]},{"kid":"b","kid2":1}],"b":1,"b":2}"#),
            Ok(2)
        );
        assert!(read(r#"{"keys":[{"kid":"evil"}],"keys":[{"kid":"a"}]}"#).is_err());
        assert!(read(r#"{"keys":[{"kid":"a","n":"1","n":"2"}]}"#).is_err());
        for name in PRIVATE {
            assert!(read(&format!(r#"{{"keys":[{{"kid":"a","{name}":"AA"}}]}}"#)).is_err());
        }
    }

    /// A JWK, and tokens of its key with their algorithms.
    fn elliptic() -> (Value, Vec<String>) {
        let random = SystemRandom::new();
        let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, &key(KeyType::EcP256), &random).unwrap();
        let point = pair.public_key().as_ref();
        let jwk = json!({ "kty": "EC", "crv": "P-256", "kid": "one", "x": encoded(&point[1..33]), "y": encoded(&point[33..]) });
        let token = signed("ES256", |message| {
            pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
        });
        (jwk, vec![token])
    }

    fn of_rsa() -> (Value, Vec<String>) {
        let pair = RsaKeyPair::from_pkcs8(&key(KeyType::Rsa2048)).unwrap();
        let public: signature::RsaPublicKeyComponents<Vec<u8>> = pair.public().into();
        let jwk =
            json!({ "kty": "RSA", "kid": "one", "n": encoded(public.n), "e": encoded(public.e) });
        let all: [(&str, &'static dyn signature::RsaEncoding); 4] = [
            ("RS256", &signature::RSA_PKCS1_SHA256),
            ("RS512", &signature::RSA_PKCS1_SHA512),
            ("PS256", &signature::RSA_PSS_SHA256),
            ("PS384", &signature::RSA_PSS_SHA384),
        ];
        let tokens = all.map(|(name, encoding)| {
            signed(name, |message| {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(encoding, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            })
        });
        (jwk, tokens.into())
    }

    fn keys(jwks: &[&Value]) -> Keys {
        Keys::read(json!({ "keys": jwks }).to_string().as_bytes()).unwrap()
    }

    #[test]
    fn t05_a_signature_is_verified_by_the_key_that_the_token_names() {
        for (jwk, tokens) in [elliptic(), of_rsa()] {
            let (other, _) = elliptic();
            for token in tokens {
                let claims = Claims::read(&token).unwrap();
                let verify = |jwk: &Value| keys(&[jwk]).verify(&token, &claims);
                assert_eq!(verify(&jwk), Ok(Proof::Verified), "{}", claims.algorithm);
                // Signed by another key of the same ID, or changed afterwards.
                if claims.algorithm == "ES256" {
                    assert!(matches!(verify(&other), Err(Rejection::Signature(_))));
                }
                let changed = token.replacen('.', "A.", 1);
                let refused = keys(&[&jwk]).verify(&changed, &claims);
                assert!(matches!(refused, Err(Rejection::Signature(_))), "{refused:?}");
                // No key of this name, and a key that does not fit the algorithm.
                let unverified = |jwk: &Value| matches!(verify(jwk), Ok(Proof::Unverified(_)));
                let with = |name: &str, value: &str| {
                    let mut jwk = jwk.clone();
                    jwk[name] = value.into();
                    jwk
                };
                assert!(unverified(&with("kid", "two")));
                assert!(unverified(&with("kty", "OKP")));
            }
        }
    }

    #[test]
    fn t05_a_bundle_that_is_no_jwk_set_is_refused() {
        for bundle in
            ["", "[]", "{}", "{\"keys\":1}", "{\"keys\":[1]}", "{\"keys\":[{\"d\":\"x\"}]}"]
        {
            assert!(Keys::read(bundle.as_bytes()).is_err(), "{bundle}");
        }
        let many = json!({ "keys": vec![json!({}); MOST_KEYS + 1] }).to_string();
        assert!(Keys::read(many.as_bytes()).is_err());
        assert!(Keys::read(&vec![b' '; LARGEST + 1]).is_err());
        assert_eq!(Keys::read(b"{\"keys\":[]}").unwrap().count(), 0);
    }
}
