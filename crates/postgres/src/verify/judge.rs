//! The judgement: a pure function from what was seen and what was published to a verdict.

use std::collections::BTreeSet;
use std::time::SystemTime;

use super::{Answer, Facts, Served, is_without_common_tls};
use pgsvid_material::{Certificate, Fingerprint, LeafName, Material};

/// What PostgreSQL should serve.
#[derive(Debug, Clone)]
pub struct Expected {
    /// The published leaf.
    pub leaf: Fingerprint,
    /// The published intermediates. A server sends all of them; one that sends fewer has not read the set.
    pub intermediates: Vec<Fingerprint>,
    /// The workload's name: another leaf with this name is an earlier one of pgsvid's.
    pub name: LeafName,
    /// DER names of the published authorities.
    pub authorities: BTreeSet<Vec<u8>>,
    /// Leaves that this process published before.
    pub earlier: Vec<Fingerprint>,
    /// The server's settings about client certificates.
    pub clients: ClientSettings,
}

/// A server's settings about client certificates, as far as they are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientSettings {
    /// `ssl_ca_file` is set, so the server asks for certificates once it has loaded that file.
    pub asks: bool,
    /// Revocation lists are set (`ssl_crl_file`, `ssl_crl_dir`).
    pub revocation: bool,
    /// It may ask for certificates without naming an authority, as PgBouncer 1.18 does. PostgreSQL names all that it has.
    pub nameless: bool,
}

impl Expected {
    /// What a server shows once `material` and `extra_authorities` are published and loaded.
    #[must_use]
    pub fn of(
        material: &Material,
        extra_authorities: &[Certificate],
        earlier: Vec<Fingerprint>,
    ) -> Self {
        Self {
            leaf: material.leaf().fingerprint(),
            intermediates: material.chain().skip(1).map(Certificate::fingerprint).collect(),
            name: material.name().clone(),
            authorities: material
                .authorities()
                .chain(extra_authorities)
                .map(|authority| authority.subject().to_vec())
                .collect(),
            earlier,
            clients: ClientSettings::default(),
        }
    }

    /// The same expectations of a server with these settings about client certificates.
    #[must_use]
    pub fn with_clients(self, clients: ClientSettings) -> Self {
        Self { clients, ..self }
    }
}

/// The result of a verification: the first that applies, from the top. The last seven are only those of a login as a client, and of
/// Kubernetes Secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Verification is off, or there is no TCP listener, or the server and the probe have no TLS parameters in common.
    Unverifiable,
    /// No answer, none in time, or no usable one: an alert for another reason than the TLS parameters, or a message of more
    /// than 64 KiB.
    Unreachable,
    /// TLS is off.
    Plaintext,
    /// The served certificate has expired.
    Expired,
    /// Neither the workload's name (SPIFFE ID, or DNS names) nor a leaf that pgsvid published.
    Foreign,
    /// Another leaf with the workload's name, a leaf that pgsvid published before, or the published leaf without all of its
    /// intermediates: PostgreSQL has not loaded the files.
    StillOld,
    /// The leaf is current, but the authorities are not: their names, or the key of the one that signed the leaf.
    OldAuthorities,
    /// The published set is served.
    Current,
    /// A login as a client: the server asks for a password or another proof, in addition to the certificate or instead of it.
    PasswordAsked,
    /// A login as a client: the server refuses the certificate, the role or the database. Kubernetes Secrets: one could not be
    /// written, and somebody must fix something.
    Refused,
    /// A login as a client: its own checks do not trust the server.
    ServerUntrusted,
    /// A login as a client: the server takes no new session at the moment. Nothing is known about the client. Kubernetes Secrets:
    /// one does not exist yet.
    Unavailable,
    /// A login as a client: it has succeeded.
    Admitted,
    /// Kubernetes Secrets: each holds the published set.
    HandedOver,
    /// Kubernetes Secrets: another replica writes them. An instance of a `[[served]]`: it serves what that replica hands over.
    Standby,
}

impl Expected {
    /// Whether another leaf is an earlier one of the workload. A self-signed leaf with our name does not count, because anyone can
    /// make one, unless pgsvid has published it: an agent issues no such leaf, but files may hold one.
    #[must_use]
    pub fn is_ours(&self, leaf: &Certificate) -> bool {
        let is_named = self.name.matches(leaf) && !leaf.is_self_signed();
        is_named || self.earlier.contains(&leaf.fingerprint())
    }
}

impl Verdict {
    /// All of them: those on servers, in the order in which they are checked, then those that only a login as a client or Kubernetes Secrets can have.
    pub const ALL: [Self; 15] = [
        Self::Unverifiable,
        Self::Unreachable,
        Self::Plaintext,
        Self::Expired,
        Self::Foreign,
        Self::StillOld,
        Self::OldAuthorities,
        Self::Current,
        Self::PasswordAsked,
        Self::Refused,
        Self::ServerUntrusted,
        Self::Unavailable,
        Self::Admitted,
        Self::HandedOver,
        Self::Standby,
    ];

    /// Those that an instance of a `[[served]]` can have.
    pub const OF_INSTANCES: &[Self] = &[
        Self::Unverifiable,
        Self::Unreachable,
        Self::Plaintext,
        Self::Expired,
        Self::Foreign,
        Self::StillOld,
        Self::OldAuthorities,
        Self::Current,
        Self::Standby,
    ];

    /// Those that Kubernetes Secrets can have.
    pub const OF_SECRETS: &[Self] = &[
        Self::Unreachable,
        Self::Expired,
        Self::Refused,
        Self::Unavailable,
        Self::HandedOver,
        Self::Standby,
    ];

    /// Those that a login as a client can have.
    pub const OF_CLIENTS: &[Self] = &[
        Self::Unverifiable,
        Self::Unreachable,
        Self::Plaintext,
        Self::Expired,
        Self::PasswordAsked,
        Self::Refused,
        Self::ServerUntrusted,
        Self::Unavailable,
        Self::Admitted,
    ];

    /// Those on a server, in the order in which they are checked: the first of [`Self::ALL`].
    pub const OF_SERVERS: &[Self] = Self::ALL.split_at(8).0;

    /// The verdict's name in logs and machine-readable output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unverifiable => "unverifiable",
            Self::Unreachable => "unreachable",
            Self::Plaintext => "plaintext",
            Self::Expired => "expired",
            Self::Foreign => "foreign",
            Self::StillOld => "still-old",
            Self::OldAuthorities => "old-authorities",
            Self::Current => "current",
            Self::PasswordAsked => "password-asked",
            Self::Refused => "refused",
            Self::ServerUntrusted => "server-untrusted",
            Self::Unavailable => "unavailable",
            Self::Admitted => "admitted",
            Self::HandedOver => "handed-over",
            Self::Standby => "standby",
        }
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(
            self,
            Self::Current | Self::Unverifiable | Self::Admitted | Self::HandedOver | Self::Standby
        )
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Judges the facts.
#[must_use]
pub fn judge(facts: &Facts, expected: &Expected, now: SystemTime) -> Verdict {
    match &facts.answer {
        Answer::Refused(alert) if is_without_common_tls(*alert) => Verdict::Unverifiable,
        Answer::Nothing(_) | Answer::Refused(_) | Answer::TooLarge => Verdict::Unreachable,
        Answer::Plaintext => Verdict::Plaintext,
        Answer::Served(served) => judge_served(served, expected, now),
    }
}

fn judge_served(served: &Served, expected: &Expected, now: SystemTime) -> Verdict {
    let leaf = served.leaf.fingerprint();
    if served.not_after() <= now {
        return Verdict::Expired;
    }
    if leaf != expected.leaf {
        return if expected.is_ours(&served.leaf) { Verdict::StillOld } else { Verdict::Foreign };
    }
    let sent: Vec<Fingerprint> = served.rest.iter().map(Certificate::fingerprint).collect();
    if !expected.intermediates.iter().all(|published| sent.contains(published)) {
        return Verdict::StillOld;
    }
    match &served.authorities {
        // Copied, because this instantiates code that exists already: the program is 6 KB smaller.
        Some(names)
            if !(names.is_empty() && expected.clients.nameless)
                && names.iter().cloned().collect::<BTreeSet<_>>() != expected.authorities =>
        {
            Verdict::OldAuthorities
        }
        // The names match, but one has another key: it was forged, or renewed under the same name.
        _ if served.reception.denies_the_authorities(expected.clients.revocation) => {
            Verdict::OldAuthorities
        }
        // It has refused a reload since ssl_ca_file was set: the setting is in force, but the file is not loaded.
        None if expected.clients.asks => Verdict::OldAuthorities,
        // A server that does not ask for a client certificate shows no names.
        _ => Verdict::Current,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dev_agent::{Authority, Entry, Flaw, Svid};

    use rustls::AlertDescription;

    use super::*;
    use crate::verify::Reception;
    use test_support::{checked, openssl};

    const DATABASE: &str = "spiffe://example.org/db";

    /// A moment at which the SVID is valid: it is dated ten seconds back.
    fn moment(svid: &Svid) -> SystemTime {
        Certificate::parse(svid.leaf()).unwrap().not_before() + Duration::from_secs(11)
    }

    fn serving(leaf: &[u8], authorities: Option<Vec<Vec<u8>>>) -> Facts {
        let served = Served {
            leaf: Certificate::parse(leaf).unwrap(),
            rest: Vec::new(),
            authorities,
            reception: Reception::NotShown,
            protocol: "TLSv1.3".to_owned(),
            cipher: "TLS13_AES_256_GCM_SHA384".to_owned(),
        };
        Facts { address: "127.0.0.1:5432".to_owned(), answer: Answer::Served(Box::new(served)) }
    }

    #[test]
    fn a_server_that_should_ask_for_certificates_and_does_not_is_not_current() {
        let authority = Authority::new("example.org", false).unwrap();
        let published = authority.issue(&Entry::new(DATABASE)).unwrap();
        let now = moment(&published);
        let expected = Expected::of(&checked(&published, now), &[], Vec::new());
        let facts = serving(published.leaf(), None);
        assert_eq!(judge(&facts, &expected, now), Verdict::Current);
        let asks = ClientSettings { asks: true, ..ClientSettings::default() };
        assert_eq!(judge(&facts, &expected.with_clients(asks), now), Verdict::OldAuthorities);
    }

    #[test]
    fn b05_a_server_that_goes_on_with_a_former_intermediate_is_not_current() {
        let authority = Authority::new("example.org", true).unwrap();
        let published = authority.issue(&Entry::new(DATABASE)).unwrap();
        let now = moment(&published);
        let expected = Expected::of(&checked(&published, now), &[], Vec::new());
        let sending = |behind: &[&[u8]]| {
            let mut facts = serving(published.leaf(), None);
            if let Answer::Served(served) = &mut facts.answer {
                served.rest = behind.iter().map(|der| Certificate::parse(der).unwrap()).collect();
            }
            judge(&facts, &expected, now)
        };
        let intermediate = published.chain[1].as_slice();
        let former = Authority::new("example.org", true).unwrap();
        let former = former.issue(&Entry::new(DATABASE)).unwrap();
        assert_eq!(sending(&[intermediate]), Verdict::Current);
        // A server may add the root by itself.
        assert_eq!(sending(&[intermediate, authority.root()]), Verdict::Current);
        assert_eq!(sending(&[&former.chain[1]]), Verdict::StillOld);
        assert_eq!(sending(&[]), Verdict::StillOld);
    }

    #[test]
    fn b82_a_self_signed_leaf_with_our_name_is_not_an_earlier_one_of_ours() {
        let authority = Authority::new("example.org", false).unwrap();
        let published = authority.issue(&Entry::new(DATABASE)).unwrap();
        let now = moment(&published);
        let name = format!("subjectAltName=URI:{DATABASE}");
        let request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
        let more = ["-nodes", "-keyout", "/dev/null", "-subj", "/CN=db", "-addext", &name];
        let outform = ["-outform", "DER"];
        let forged = openssl(&[&request[..], &more, &outform].concat(), "");
        let expected = Expected::of(&checked(&published, now), &[], Vec::new());
        assert_eq!(judge(&serving(&forged, None), &expected, now), Verdict::Foreign);
        let earlier = vec![Fingerprint::of(&forged)];
        let known = Expected { earlier, ..expected };
        assert_eq!(judge(&serving(&forged, None), &known, now), Verdict::StillOld);
    }

    #[test]
    fn alerts_before_a_certificate_and_about_a_curve() {
        let authority = Authority::new("example.org", false).unwrap();
        let published = authority.issue(&Entry::new(DATABASE)).unwrap();
        let now = moment(&published);
        let expected = Expected::of(&checked(&published, now), &[], Vec::new());
        for (alert, verdict) in [
            (AlertDescription::HandshakeFailure, Verdict::Unverifiable),
            (AlertDescription::ProtocolVersion, Verdict::Unverifiable),
            (AlertDescription::InsufficientSecurity, Verdict::Unverifiable),
            (AlertDescription::InternalError, Verdict::Unreachable),
        ] {
            let facts = Facts { address: String::new(), answer: Answer::Refused(alert) };
            assert_eq!(judge(&facts, &expected, now), verdict, "{alert:?}");
        }
        let names = vec![Certificate::parse(authority.root()).unwrap().subject().to_vec()];
        let mut facts = serving(published.leaf(), Some(names));
        if let Answer::Served(served) = &mut facts.answer {
            served.reception = Reception::Refused(AlertDescription::IllegalParameter);
        }
        assert_eq!(judge(&facts, &expected, now), Verdict::Current);
    }

    #[test]
    fn the_first_that_fits_from_the_top() {
        let authority = Authority::new("example.org", false).unwrap();
        let other = Authority::new("example.org", false).unwrap();
        let issue = |entry: &Entry| authority.issue(entry).unwrap();
        let database = Entry::new(DATABASE);
        let published = issue(&database);
        let before = issue(&database);
        let foreign = issue(&Entry::new("spiffe://example.org/other"));
        let expired = issue(&Entry::new(DATABASE).with(Flaw::Expired(Duration::from_secs(60))));

        let published_material = checked(&published, moment(&published));
        let names = |of: &[&Authority]| -> Option<Vec<Vec<u8>>> {
            let subject = |root: &[u8]| Certificate::parse(root).unwrap().subject().to_vec();
            Some(of.iter().map(|authority| subject(authority.root())).collect())
        };
        let ours = names(&[&authority]);
        let expected = Expected::of(&published_material, &[], Vec::new());
        let with_lists =
            ClientSettings { asks: true, revocation: true, ..ClientSettings::default() };
        let with_lists = expected.clone().with_clients(with_lists);
        let knows_foreign =
            Expected { earlier: vec![Fingerprint::of(foreign.leaf())], ..expected.clone() };
        let nothing = |answer| Facts { address: String::new(), answer };

        let shown = |authorities, reception| {
            let mut facts = serving(published.leaf(), authorities);
            if let Answer::Served(served) = &mut facts.answer {
                served.reception = reception;
            }
            facts
        };

        for (what, facts, expected, verdict) in [
            ("silence", nothing(Answer::Nothing(String::new())), &expected, Verdict::Unreachable),
            ("no TLS", nothing(Answer::Plaintext), &expected, Verdict::Plaintext),
            ("expired", serving(expired.leaf(), ours.clone()), &expected, Verdict::Expired),
            ("another ID", serving(foreign.leaf(), ours.clone()), &expected, Verdict::Foreign),
            (
                "an ID of ours",
                serving(foreign.leaf(), ours.clone()),
                &knows_foreign,
                Verdict::StillOld,
            ),
            ("before", serving(before.leaf(), ours.clone()), &expected, Verdict::StillOld),
            (
                "other CA",
                serving(published.leaf(), names(&[&other])),
                &expected,
                Verdict::OldAuthorities,
            ),
            (
                "more CAs",
                serving(published.leaf(), names(&[&authority, &other])),
                &expected,
                Verdict::OldAuthorities,
            ),
            (
                "fewer CAs",
                serving(published.leaf(), Some(Vec::new())),
                &expected,
                Verdict::OldAuthorities,
            ),
            (
                "another key under the name",
                shown(ours.clone(), Reception::Refused(AlertDescription::UnknownCA)),
                &expected,
                Verdict::OldAuthorities,
            ),
            (
                "another key, same identifier",
                shown(ours.clone(), Reception::Refused(AlertDescription::DecryptError)),
                &expected,
                Verdict::OldAuthorities,
            ),
            (
                "an expired twin is found first",
                shown(ours.clone(), Reception::Refused(AlertDescription::CertificateExpired)),
                &expected,
                Verdict::OldAuthorities,
            ),
            (
                "another key, and revocation lists",
                shown(ours.clone(), Reception::Refused(AlertDescription::DecryptError)),
                &with_lists,
                Verdict::OldAuthorities,
            ),
            (
                "no list of the authority",
                shown(ours.clone(), Reception::Refused(AlertDescription::UnknownCA)),
                &with_lists,
                Verdict::Current,
            ),
            (
                "revoked",
                shown(ours.clone(), Reception::Refused(AlertDescription::CertificateRevoked)),
                &with_lists,
                Verdict::Current,
            ),
            ("taken", shown(ours.clone(), Reception::Taken), &expected, Verdict::Current),
            ("no request", serving(published.leaf(), None), &expected, Verdict::Current),
            ("all is well", serving(published.leaf(), ours.clone()), &expected, Verdict::Current),
        ] {
            assert_eq!(judge(&facts, expected, moment(&published)), verdict, "{what}");
        }
    }
}
