//! The bytes of each file.

use std::path::Path;

use zeroize::Zeroizing;

use super::error::Error;
use super::files::Content;
use super::passwords::Passwords;
use crate::material::{Certificate, Material, pem, pkcs12};

/// The bytes of a file. `authorities` are all that the bundle has, and `generation` is the path of the generation's directory
/// for its readers.
pub(super) fn encode(
    content: &Content,
    material: &Material,
    authorities: &[&Certificate],
    passwords: &Passwords,
    generation: &Path,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let authorities = authorities.iter().copied();
    Ok(match content {
        Content::Chain => Zeroizing::new(pem::encode_certificates(material.chain())),
        Content::Key => pem::encode_key(material.key()),
        Content::Bundle => Zeroizing::new(pem::encode_certificates(authorities)),
        Content::Combined => pem::encode_combined(material),
        Content::KeyDer => Zeroizing::new(material.key().expose().to_vec()),
        Content::ChainDer => {
            Zeroizing::new(material.chain().flat_map(|it| it.der().iter().copied()).collect())
        }
        Content::KeyStore { password_file, alias } => {
            let password = passwords.of(password_file)?;
            pkcs12::key_store(material.chain(), material.key(), alias, password)?
        }
        Content::TrustStore { password_file } => {
            let password = password_file.as_deref().map(|path| passwords.of(path)).transpose()?;
            pkcs12::trust_store(authorities, password)?
        }
        Content::Rendered(render) => Zeroizing::new(render(generation)),
    })
}

/// The certificates of a bundle, and where they come from: how many are the trust domain's own, and how many others come from
/// the agent.
pub(super) fn authorities<'a>(
    material: &'a Material,
    extra_authorities: &'a [Certificate],
) -> (Vec<&'a Certificate>, (usize, usize)) {
    let mut authorities: Vec<&Certificate> = material.authorities().collect();
    let own = material.own_authorities().len();
    let federated = authorities.len() - own;
    for authority in extra_authorities {
        // The agent's bundle can contain it as well, and so can a set that was read back and has no record.
        if !authorities.contains(&authority) {
            authorities.push(authority);
        }
    }
    (authorities, (own, federated))
}
