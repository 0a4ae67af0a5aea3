//! Authorities: a root as SPIRE's server makes it, and an intermediate below it on request.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::string::{Ia5String, PrintableString};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams,
    DistinguishedName, DnType, DnValue, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber,
};
use ring::rand::{SecureRandom, SystemRandom};

use crate::svid::{certificates_pem, pem};
use crate::{Error, KeyType, Svid, clock};

/// How far back SPIRE dates certificates, so that clocks that are a little slow accept them.
pub(crate) const BACKDATE: Duration = Duration::from_secs(10);

/// A certificate authority for one trust domain. Cloning it is cheap.
#[derive(Clone)]
pub struct Authority {
    trust_domain: Arc<str>,
    root: Arc<Ca>,
    intermediate: Option<Arc<Ca>>,
}

/// What an authority is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipe {
    pub(crate) key_type: KeyType,
    pub(crate) ttl: Duration,
    pub(crate) intermediate: bool,
}

struct Ca {
    der: Vec<u8>,
    params: CertificateParams,
    key_identifier: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
    not_after: SystemTime,
}

/// The key identifier of an authority that poses as another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyIdentifier {
    /// Made from its key, as it should be.
    OfItsKey,
    /// That of the other's key.
    Copied,
}

impl Authority {
    /// A new authority with a root of its own that lives for a day, with EC P-256 keys. For agents
    /// there is [`crate::Builder`]; this is for certificates that no agent's bundle vouches for.
    pub fn new(trust_domain: &str, intermediate: bool) -> Result<Self, Error> {
        let recipe = Recipe {
            key_type: KeyType::default(),
            ttl: Duration::from_secs(24 * 3600),
            intermediate,
        };
        Self::from_recipe(trust_domain, recipe)
    }

    pub(crate) fn from_recipe(trust_domain: &str, recipe: Recipe) -> Result<Self, Error> {
        let root = Self {
            trust_domain: trust_domain.into(),
            root: Arc::new(Ca::new(trust_domain, recipe, None)?),
            intermediate: None,
        };
        if recipe.intermediate { root.with_new_intermediate(recipe) } else { Ok(root) }
    }

    /// The same root with another intermediate: SPIRE's change of authority if it has an upstream.
    pub(crate) fn with_new_intermediate(&self, recipe: Recipe) -> Result<Self, Error> {
        let ca = Ca::new(&self.trust_domain, recipe, Some(&self.root))?;
        Ok(Self { intermediate: Some(Arc::new(ca)), ..self.clone() })
    }

    /// A root with the name of what signs leaves, and a key of its own.
    pub fn twin(&self, identifier: KeyIdentifier) -> Result<Self, Error> {
        let signing = self.signing();
        let mut params = signing.params.clone();
        if identifier == KeyIdentifier::Copied {
            params.key_identifier_method =
                KeyIdMethod::PreSpecified(signing.key_identifier.clone());
        }
        let key = KeyType::default().generate()?;
        let failed = |source| Error::Issue { subject: self.spiffe_id(), source };
        let root = Ca::self_signed(params, key, signing.not_after).map_err(failed)?;
        Ok(Self { root: Arc::new(root), intermediate: None, ..self.clone() })
    }

    /// A certificate by this authority's root for what signs another one's leaves: its name and its key. It is valid until
    /// then, or has expired already.
    pub fn vouch_for(&self, other: &Self, not_after: SystemTime) -> Result<Vec<u8>, Error> {
        let signing = other.signing();
        let mut params = signing.params.clone();
        params.not_before = clock::calendar(not_after - Duration::from_secs(7 * 24 * 3600));
        params.not_after = clock::calendar(not_after);
        params.use_authority_key_identifier_extension = true;
        let failed = |source| Error::Issue { subject: other.spiffe_id(), source };
        params.serial_number = Some(SerialNumber::from_slice(&serial().map_err(failed)?));
        let certificate =
            params.signed_by(signing.issuer.key(), &self.root.issuer).map_err(failed)?;
        Ok(certificate.der().to_vec())
    }

    /// A list of these certificates as revoked, in PEM; it counts for an hour. An intermediate has no list.
    pub fn revocation_list(&self, revoked: &[&Svid]) -> Result<String, Error> {
        self.list(revoked, clock::now() + Duration::from_secs(3600))
    }

    /// A list that does not count any more.
    pub fn outdated_revocation_list(&self) -> Result<String, Error> {
        self.list(&[], clock::now() - BACKDATE / 2)
    }

    fn list(&self, revoked: &[&Svid], until: SystemTime) -> Result<String, Error> {
        let now = clock::now();
        let revoked_certs = revoked
            .iter()
            .map(|svid| RevokedCertParams {
                serial_number: SerialNumber::from_slice(&svid.serial),
                revocation_time: clock::calendar(now - BACKDATE),
                reason_code: None,
                invalidity_date: None,
            })
            .collect();
        let list = CertificateRevocationListParams {
            this_update: clock::calendar(now - BACKDATE),
            next_update: clock::calendar(until),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let failed = |source| Error::Issue { subject: self.spiffe_id(), source };
        Ok(pem("X509 CRL", list.signed_by(self.issuer()).map_err(failed)?.der()))
    }

    /// The trust domain's name, as in `example.org`.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// The trust domain's SPIFFE ID, as in `spiffe://example.org`.
    #[must_use]
    pub fn spiffe_id(&self) -> String {
        format!("spiffe://{}", self.trust_domain)
    }

    /// The root certificate in DER.
    #[must_use]
    pub fn root(&self) -> &[u8] {
        &self.root.der
    }

    /// The root certificate in PEM.
    #[must_use]
    pub fn root_pem(&self) -> String {
        certificates_pem(std::slice::from_ref(&self.root.der))
    }

    /// The intermediate certificate in DER, if there is one.
    #[must_use]
    pub fn intermediate(&self) -> Option<&[u8]> {
        self.intermediate.as_ref().map(|ca| ca.der.as_slice())
    }

    /// When the validity of what signs leaves ends.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.signing().not_after.min(self.root.not_after)
    }

    /// What signs leaves: certificate and key.
    pub(crate) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.signing().issuer
    }

    /// The certificate that signs leaves.
    pub(crate) fn signing_der(&self) -> &[u8] {
        &self.signing().der
    }

    fn signing(&self) -> &Ca {
        self.intermediate.as_ref().unwrap_or(&self.root)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("trust_domain", &self.trust_domain)
            .field("intermediate", &self.intermediate.is_some())
            .field("not_after", &self.not_after())
            .finish_non_exhaustive()
    }
}

impl Ca {
    fn new(trust_domain: &str, recipe: Recipe, parent: Option<&Self>) -> Result<Self, Error> {
        let id = format!("spiffe://{trust_domain}");
        let failed = |source| Error::Issue { subject: id.clone(), source };
        let now = clock::now();
        let serial = serial().map_err(failed)?;
        let mut not_after = now + recipe.ttl;
        if let Some(parent) = parent {
            not_after = not_after.min(parent.not_after);
        }

        let mut params = CertificateParams::default();
        params.not_before = clock::calendar(now - BACKDATE);
        params.not_after = clock::calendar(not_after);
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.distinguished_name = subject("SPIFFE");
        // 2.5.4.5: the number makes the subject, and so the name of the CA, unique.
        let number = u128::from_be_bytes(serial).to_string();
        push(&mut params.distinguished_name, DnType::from_oid(&[2, 5, 4, 5]), &number);
        params.subject_alt_names = vec![uri(&id).map_err(failed)?];
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];

        let key = recipe.key_type.generate()?;
        let Some(parent) = parent else {
            return Self::self_signed(params, key, not_after).map_err(failed);
        };
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &parent.issuer).map_err(failed)?;
        Ok(Self::of(&certificate, params, key, not_after))
    }

    fn self_signed(
        params: CertificateParams,
        key: KeyPair,
        not_after: SystemTime,
    ) -> Result<Self, rcgen::Error> {
        let certificate = params.self_signed(&key)?;
        Ok(Self::of(&certificate, params, key, not_after))
    }

    fn of(
        certificate: &Certificate,
        params: CertificateParams,
        key: KeyPair,
        not_after: SystemTime,
    ) -> Self {
        Self {
            der: certificate.der().to_vec(),
            key_identifier: params.key_identifier(&key),
            issuer: Issuer::new(params.clone(), key),
            params,
            not_after,
        }
    }
}

/// A random serial number: positive, and always of 16 bytes.
pub(crate) fn serial() -> Result<[u8; 16], rcgen::Error> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| rcgen::Error::RingUnspecified)?;
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(bytes)
}

/// The beginning of each subject.
pub(crate) fn subject(organization: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    push(&mut name, DnType::CountryName, "US");
    push(&mut name, DnType::OrganizationName, organization);
    name
}

/// Adds to a name, `PrintableString` where possible, as Go's encoder does: comparisons of names by their
/// bytes have to see the same as with SPIRE.
pub(crate) fn push(name: &mut DistinguishedName, kind: DnType, value: &str) {
    let value = PrintableString::try_from(value)
        .map_or_else(|_| DnValue::Utf8String(value.to_owned()), DnValue::PrintableString);
    name.push(kind, value);
}

pub(crate) fn uri(text: &str) -> Result<SanType, rcgen::Error> {
    Ok(SanType::URI(Ia5String::try_from(text)?))
}
