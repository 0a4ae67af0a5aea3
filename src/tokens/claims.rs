//! A token: its header and its claims, and the rules that it must meet before it is written (JWT-SVID, sections 2 to 4).

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use crate::text::shown;
use crate::timing;

/// Largest token, in bytes. SPIRE's have about 300.
const LARGEST: usize = 16 * 1024;
/// Longest time to the expiry: a token that lives longer was meant to be something else. SPIRE's live for five minutes.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);
/// How far the agent's clock may be ahead.
const CLOCK_SKEW: Duration = Duration::from_secs(60);
/// The algorithms that a JWT-SVID may be signed with (JWT-SVID, section 2.1).
const ALGORITHMS: [&str; 9] =
    ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512"];

/// Why a token is not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The agent has sent none, or none with the configured hint.
    #[error("the agent sent no token{}", hint.as_ref().map_or(String::new(), |hint| format!(" with the hint {hint:?}")))]
    Missing {
        /// The configured hint.
        hint: Option<String>,
    },
    /// The message is no message of the Workload API, or holds too much.
    #[error("the agent's message cannot be read: {0}")]
    Unreadable(String),
    /// It is too large.
    #[error("the token has {0} bytes, more than the {LARGEST} that are allowed")]
    TooLarge(usize),
    /// It does not have three parts of base64url, or their contents are not those of a token.
    #[error("it is not a token in JWS compact serialization: {0}")]
    Malformed(&'static str),
    /// The signature's algorithm is none that a JWT-SVID may have.
    #[error("its algorithm {0:?} is none that a JWT-SVID may have")]
    Algorithm(String),
    /// It belongs to another identity.
    #[error("it is for {found}, and {wanted} is the identity that pgsvid uses")]
    Subject {
        /// `sub`, escaped.
        found: String,
        /// The SPIFFE ID of the chosen identity.
        wanted: String,
    },
    /// It lacks an audience that was asked for.
    #[error("its audience lacks {0:?}, which was asked for")]
    Audience(String),
    /// It has expired.
    #[error("it has expired at {}", timing::utc(*.0))]
    Expired(SystemTime),
    /// It lives for longer than a year.
    #[error("it would be valid for more than a year")]
    TooLong,
    /// It is not valid yet.
    #[error("it is not valid before {}", timing::utc(*.0))]
    NotYetValid(SystemTime),
    /// A key of the trust domain has the token's key ID, and has not signed it.
    #[error("its signature is not that of the trust domain's key {0:?}")]
    Signature(String),
}

/// What a token says about itself. The signature is judged separately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// `sub`
    pub subject: String,
    /// `aud`
    pub audience: Vec<String>,
    /// `exp`
    pub expires: SystemTime,
    /// `iat`, if it is there.
    pub issued: Option<SystemTime>,
    /// `alg`
    pub algorithm: String,
    /// `kid`
    pub key_id: Option<String>,
    /// `nbf`, if it is there.
    pub(super) not_before: Option<SystemTime>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    /// Extensions that every reader must know, of which JWT-SVID has none (RFC 7515, section 4.1.11).
    #[serde(default, deserialize_with = "is_there")]
    crit: bool,
}

#[derive(Deserialize)]
struct Payload {
    sub: String,
    aud: OneOrSeveral,
    exp: f64,
    iat: Option<f64>,
    nbf: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrSeveral {
    One(String),
    Several(Vec<String>),
}

impl Claims {
    /// Reads a token; the signature is not looked at.
    pub fn read(token: &str) -> Result<Self, Rejection> {
        if token.len() > LARGEST {
            return Err(Rejection::TooLarge(token.len()));
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Rejection::Malformed("it does not have three parts"));
        };
        if signature.is_empty() || decoded(signature).is_none() {
            return Err(Rejection::Malformed("the third part is no signature"));
        }
        let header: Header =
            json(header).ok_or(Rejection::Malformed("the first part is no header"))?;
        let payload: Payload =
            json(payload).ok_or(Rejection::Malformed("the second part lacks sub, aud or exp"))?;
        if header.typ.is_some_and(|typ| !["JWT", "JOSE"].contains(&typ.as_str())) {
            return Err(Rejection::Malformed("the header's typ is neither JWT nor JOSE"));
        }
        if header.crit {
            return Err(Rejection::Malformed("the header has crit, and servers would refuse it"));
        }
        if !ALGORITHMS.contains(&header.alg.as_str()) {
            return Err(Rejection::Algorithm(shown(&header.alg)));
        }
        let time = |seconds: f64| {
            // Later times than the clock can show are too late anyway.
            let since = Duration::try_from_secs_f64(seconds).ok()?;
            SystemTime::UNIX_EPOCH.checked_add(since)
        };
        let absurd = Rejection::Malformed("exp, iat or nbf is no time");
        let optional = |seconds: Option<f64>| match seconds.map(time) {
            Some(None) => Err(absurd.clone()),
            Some(found) => Ok(found),
            None => Ok(None),
        };
        Ok(Self {
            subject: payload.sub,
            audience: match payload.aud {
                OneOrSeveral::One(audience) => vec![audience],
                OneOrSeveral::Several(audience) => audience,
            },
            expires: time(payload.exp).ok_or(absurd.clone())?,
            issued: optional(payload.iat)?,
            not_before: optional(payload.nbf)?,
            algorithm: header.alg,
            key_id: header.kid,
        })
    }

    /// Fails for the first rule that the token breaks: it must be for this identity, name each audience, and be valid at `now`
    /// and for at most a year.
    pub fn check(
        &self,
        spiffe_id: &str,
        audience: &[String],
        now: SystemTime,
    ) -> Result<(), Rejection> {
        if self.subject != spiffe_id {
            let (found, wanted) = (shown(&self.subject), spiffe_id.to_owned());
            return Err(Rejection::Subject { found, wanted });
        }
        if let Some(lacking) = audience.iter().find(|wanted| !self.audience.contains(wanted)) {
            return Err(Rejection::Audience(lacking.clone()));
        }
        let Ok(left) = self.expires.duration_since(now) else {
            return Err(Rejection::Expired(self.expires));
        };
        if left.is_zero() {
            return Err(Rejection::Expired(self.expires));
        }
        if left > LONGEST {
            return Err(Rejection::TooLong);
        }
        match self.not_before {
            Some(from) if from > now + CLOCK_SKEW => Err(Rejection::NotYetValid(from)),
            _ => Ok(()),
        }
    }
}

/// The bytes of a part; `None` if it is not base64url without padding.
pub(super) fn decoded(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

/// Whatever the member holds, it is there.
fn is_there<'de, D: Deserializer<'de>>(member: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(member).map(|_| true)
}

fn json<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    serde_json::from_slice(&decoded(part)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "spiffe://example.org/app";

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
    }

    fn token(header: &str, payload: &str) -> String {
        let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", encoded(header), encoded(payload), encoded("signature"))
    }

    fn judged(header: &str, payload: &str) -> Result<(), Rejection> {
        let audience = ["a".to_owned(), "b".to_owned()];
        Claims::read(&token(header, payload))?.check(ID, &audience, now())
    }

    const HEADER: &str = r#"{"alg":"ES256","kid":"k","typ":"JWT"}"#;

    #[test]
    fn t03_only_a_token_for_this_identity_and_all_of_the_audience_that_is_valid_now_passes() {
        let fine = r#"{"sub":"spiffe://example.org/app","aud":["b","x","a"],"exp":1000300}"#;
        assert_eq!(judged(HEADER, fine), Ok(()));
        assert_eq!(judged(r#"{"alg":"RS256"}"#, &fine.replace("1000300", "1000300.5")), Ok(()));
        let payload = |from: &str, to: &str| judged(HEADER, &fine.replace(from, to)).unwrap_err();
        assert!(matches!(payload("/app", "/other"), Rejection::Subject { .. }));
        assert_eq!(payload("\"a\"", "\"c\""), Rejection::Audience("a".to_owned()));
        assert_eq!(payload("[\"b\",\"x\",\"a\"]", "\"a\""), Rejection::Audience("b".to_owned()));
        assert_eq!(payload("1000300", "1000000"), Rejection::Expired(now()));
        assert!(matches!(payload("1000300", "-1"), Rejection::Malformed(_)));
        assert!(matches!(payload("1000300", "1e300"), Rejection::Malformed(_)));
        assert!(matches!(payload("1000300", "\"1000300\""), Rejection::Malformed(_)));
        assert_eq!(payload("1000300", "99000000"), Rejection::TooLong);
        let late = payload("1000300}", "1000300,\"nbf\":1000061}");
        assert!(matches!(late, Rejection::NotYetValid(_)), "{late}");
        // Readers would disagree about which of the two counts.
        assert!(matches!(payload("1000300}", "1,\"exp\":1000300}"), Rejection::Malformed(_)));
        for algorithm in ["none", "HS256", "EdDSA", ""] {
            let header = format!("{{\"alg\":{algorithm:?}}}");
            assert!(matches!(judged(&header, fine), Err(Rejection::Algorithm(_))), "{algorithm}");
        }
        let typ = judged(r#"{"alg":"ES256","typ":"x"}"#, fine);
        assert!(matches!(typ, Err(Rejection::Malformed(_))));
        for crit in ["[\"b64\"]", "[]", "null", "1"] {
            let header = format!("{{\"alg\":\"ES256\",\"crit\":{crit}}}");
            let refused = judged(&header, fine);
            assert!(matches!(refused, Err(Rejection::Malformed(_))), "{crit}: {refused:?}");
        }
        assert_eq!(judged(r#"{"alg":"ES256","x5t":"x","jku":[1]}"#, fine), Ok(()));
    }

    #[test]
    fn t03_what_is_no_token_is_refused() {
        let whole = token(HEADER, "{}");
        let (two, _) = whole.rsplit_once('.').unwrap();
        let large = "a".repeat(LARGEST + 1);
        for text in ["", "a.b", two, &format!("{two}."), &format!("{whole}.x"), "!.!.!", &whole] {
            let rejection = Claims::read(text).unwrap_err();
            assert!(matches!(rejection, Rejection::Malformed(_)), "{text}: {rejection}");
        }
        assert_eq!(Claims::read(&large), Err(Rejection::TooLarge(LARGEST + 1)));
    }
}
