//! Key exchange over P-521 (`ssl_ecdh_curve = 'secp521r1'`), which ring lacks. OpenSSL's clients have it.
//!
//! It protects no secret: the probe sends nothing after the handshake, and makes new keys for each.

use p521::elliptic_curve::sec1::ToSec1Point as _;
use p521::{PublicKey, SecretKey, ecdh};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::crypto::{ActiveKeyExchange, GetRandomFailed, SharedSecret, SupportedKxGroup};
use rustls::{Error, NamedGroup, PeerMisbehaved};
use zeroize::Zeroizing;

/// The size of a scalar of this curve: 521 bits.
const SIZE: usize = 66;
/// The first byte of an uncompressed point; TLS 1.3 has no other form (RFC 8446, section 4.2.8.2).
const UNCOMPRESSED: u8 = 0x04;

/// The group, for rustls.
#[derive(Debug)]
pub(super) struct P521;

impl SupportedKxGroup for P521 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let private_key = random_key()?;
        let public_key = private_key.public_key().to_sec1_point(false).as_bytes().to_vec();
        Ok(Box::new(Exchange { private_key, public_key }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::secp521r1
    }
}

struct Exchange {
    private_key: SecretKey,
    public_key: Vec<u8>,
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let invalid = || Error::from(PeerMisbehaved::InvalidKeyShare);
        if peer.first() != Some(&UNCOMPRESSED) {
            return Err(invalid());
        }
        let peer = PublicKey::from_sec1_bytes(peer).map_err(|_| invalid())?;
        let shared = ecdh::diffie_hellman(self.private_key.to_nonzero_scalar(), peer.as_affine());
        Ok(SharedSecret::from(shared.raw_secret_bytes().as_slice()))
    }

    fn pub_key(&self) -> &[u8] {
        &self.public_key
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::secp521r1
    }
}

/// A random number from 1 to the order of the curve. The order is so close to 2^521 that nearly every number of 521 bits is
/// valid.
fn random_key() -> Result<SecretKey, Error> {
    let random = SystemRandom::new();
    let mut bytes = Zeroizing::new([0; SIZE]);
    loop {
        random.fill(&mut *bytes).map_err(|_| GetRandomFailed)?;
        bytes[0] &= 1;
        if let Ok(key) = SecretKey::from_slice(&*bytes) {
            return Ok(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_come_to_the_same_secret_and_other_points_are_refused() {
        let (ours, theirs) = (P521.start().unwrap(), P521.start().unwrap());
        let (our_key, their_key) = (ours.pub_key().to_vec(), theirs.pub_key().to_vec());
        assert_eq!((our_key.len(), our_key[0]), (1 + 2 * SIZE, UNCOMPRESSED));
        let (one, other) = (ours.complete(&their_key).unwrap(), theirs.complete(&our_key).unwrap());
        assert_eq!(one.secret_bytes(), other.secret_bytes());
        assert_eq!(one.secret_bytes().len(), SIZE);

        let mut off_the_curve = our_key.clone();
        *off_the_curve.last_mut().unwrap() ^= 1;
        let compressed = [&[2][..], &our_key[1..=SIZE]].concat();
        for bad in [&off_the_curve[..], &compressed, &our_key[..SIZE], &[], &[UNCOMPRESSED]] {
            assert!(P521.start().unwrap().complete(bad).is_err(), "{bad:?}");
        }
    }
}
