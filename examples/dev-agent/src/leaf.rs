//! Leaves: what SPIRE puts into an X.509-SVID, and the flaws that an entry asks for.

use std::time::Duration;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    SanType, SerialNumber,
};
use ring::digest;

use crate::ca::{self, BACKDATE};
use crate::svid::hex;
use crate::{Authority, Entry, Error, Flaw, KeyType, Svid, clock};

/// SPIRE's default for X.509-SVIDs.
pub(crate) const DEFAULT_TTL: Duration = Duration::from_secs(3600);

impl Authority {
    /// Issues an SVID, without any agent. It never outlives its authority. What the entry leaves
    /// open is SPIRE's default: one hour, EC P-256. The bundle is this authority's root alone.
    pub fn issue(&self, entry: &Entry) -> Result<Svid, Error> {
        self.issue_with(entry, None)
    }

    /// The same, with the key of an earlier SVID if there is one.
    pub(crate) fn issue_with(&self, entry: &Entry, pkcs8: Option<&[u8]>) -> Result<Svid, Error> {
        let signing = if entry.has(&Flaw::ForeignAuthority) {
            Self::new(self.trust_domain(), self.intermediate().is_some())?
        } else {
            self.clone()
        };
        let failed = |source| Error::Issue { subject: entry.spiffe_id.clone(), source };

        let key_type = entry.key_type.unwrap_or_default();
        let key = match pkcs8 {
            Some(pkcs8) => key_type.parse(pkcs8)?,
            None => key_type.generate()?,
        };
        let now = clock::now();
        let ttl = entry.ttl.unwrap_or(DEFAULT_TTL);
        let mut not_before = now - BACKDATE;
        let mut not_after = (now + ttl).min(signing.not_after());
        for flaw in &entry.flaws {
            match flaw {
                Flaw::NotYetValid(wait) => {
                    (not_before, not_after) = (now + *wait, now + *wait + ttl);
                }
                Flaw::Expired(ago) => (not_before, not_after) = (now - *ago - ttl, now - *ago),
                _ => {}
            }
        }

        let serial = ca::serial().map_err(failed)?;
        let mut params = params(entry).map_err(failed)?;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.not_before = clock::calendar(not_before);
        params.not_after = clock::calendar(not_after);
        let certificate = params.signed_by(&key, signing.issuer()).map_err(failed)?;

        Ok(Svid {
            spiffe_id: entry.spiffe_id.clone(),
            hint: entry.hint.clone(),
            chain: chain(entry, certificate.der().to_vec(), &signing),
            key: delivered_key(entry, key_type, key.serialize_der())?,
            bundle: if entry.has(&Flaw::EmptyBundle) {
                Vec::new()
            } else {
                vec![self.root().to_vec()]
            },
            serial,
            not_before,
            not_after,
        })
    }
}

fn params(entry: &Entry) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();

    params.distinguished_name = ca::subject("SPIRE");
    let subject = &mut params.distinguished_name;
    if let Some(name) = entry.dns.first() {
        ca::push(subject, DnType::CommonName, name);
    }
    if entry.unique_id {
        let kind = DnType::from_oid(&[2, 5, 4, 45]);
        ca::push(subject, kind, &unique_id(&entry.spiffe_id));
    }

    for name in &entry.dns {
        let name = Ia5String::try_from(name.as_str())?;
        params.subject_alt_names.push(SanType::DnsName(name));
    }
    for uri in uris(entry) {
        params.subject_alt_names.push(ca::uri(uri)?);
    }

    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
        KeyUsagePurpose::KeyAgreement,
    ];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    for flaw in &entry.flaws {
        if let Flaw::ExtendedKeyUsage(purposes) = flaw {
            params.extended_key_usages =
                purposes.iter().cloned().map(ExtendedKeyUsagePurpose::Other).collect();
        }
    }
    params.use_authority_key_identifier_extension = true;
    if entry.has(&Flaw::NoDigitalSignature) {
        params.key_usages.remove(0);
    }
    if entry.has(&Flaw::Ca) {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages.push(KeyUsagePurpose::KeyCertSign);
    }
    Ok(params)
}

fn uris(entry: &Entry) -> Vec<&str> {
    let mut uris = vec![entry.spiffe_id.as_str()];
    for flaw in &entry.flaws {
        match flaw {
            Flaw::Uri(uri) => uris[0] = uri,
            Flaw::SecondUri(uri) => uris.push(uri),
            _ => {}
        }
    }
    if entry.has(&Flaw::NoUri) {
        uris.clear();
    }
    uris
}

fn chain(entry: &Entry, leaf: Vec<u8>, signing: &Authority) -> Vec<Vec<u8>> {
    let mut chain = vec![leaf];
    chain.extend(signing.intermediate().map(<[u8]>::to_vec));
    for flaw in &entry.flaws {
        match flaw {
            Flaw::Intermediates(count) => chain.resize(1 + count, signing.signing_der().to_vec()),
            Flaw::TrailingBytes(bytes) => {
                if let Some(last) = chain.last_mut() {
                    last.extend_from_slice(bytes);
                }
            }
            _ => {}
        }
    }
    chain
}

fn delivered_key(entry: &Entry, kind: KeyType, own: Vec<u8>) -> Result<Vec<u8>, Error> {
    if entry.has(&Flaw::EmptyKey) {
        Ok(Vec::new())
    } else if entry.has(&Flaw::KeyOfAnother) {
        Ok(kind.generate()?.serialize_der())
    } else {
        Ok(own)
    }
}

/// SPIRE's x500UniqueIdentifier: half of the SPIFFE ID's SHA-256.
fn unique_id(spiffe_id: &str) -> String {
    let digest = digest::digest(&digest::SHA256, spiffe_id.as_bytes());
    hex(&digest.as_ref()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unique_id_is_that_of_spire() {
        assert_eq!(unique_id("spiffe://example.org/foo"), "c3406f9b12ceb4f9c948318c579b905b");
    }
}
