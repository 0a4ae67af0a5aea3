//! The judgement: a pure function from what was seen and what was published to a verdict.

use std::collections::BTreeSet;
use std::time::SystemTime;

use super::{Answer, Facts, Served};
use pgsvid_material::{Certificate, Fingerprint, Material};

/// What PostgreSQL should serve.
#[derive(Debug, Clone)]
pub struct Expected {
    /// The published leaf.
    pub leaf: Fingerprint,
    /// What is published behind it. A server sends all of that; one that sends less has not read the set.
    pub intermediates: Vec<Fingerprint>,
    /// Its SPIFFE ID, as the URI name has it.
    pub spiffe_id: String,
    /// DER names of the published authorities.
    pub authorities: BTreeSet<Vec<u8>>,
    /// Leaves that were published before, by this process.
    pub earlier: Vec<Fingerprint>,
    /// What the server's settings say of client certificates.
    pub clients: ClientSettings,
}

/// What a server's settings say of client certificates, as far as they are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientSettings {
    /// `ssl_ca_file` is set, so the server asks for certificates once it has loaded that file.
    pub asks: bool,
    /// There are revocation lists (`ssl_crl_file`, `ssl_crl_dir`).
    pub revocation: bool,
}

impl Expected {
    /// What is to be seen once `material` and `extra_authorities` are published.
    #[must_use]
    pub fn of(
        material: &Material,
        extra_authorities: &[Certificate],
        earlier: Vec<Fingerprint>,
    ) -> Self {
        Self {
            leaf: material.leaf().fingerprint(),
            intermediates: material.chain().skip(1).map(Certificate::fingerprint).collect(),
            spiffe_id: material.spiffe_id().to_string(),
            authorities: material
                .authorities()
                .chain(extra_authorities)
                .map(|authority| authority.subject().to_vec())
                .collect(),
            earlier,
            clients: ClientSettings::default(),
        }
    }

    /// The same of a server with these settings.
    #[must_use]
    pub fn with_clients(self, clients: ClientSettings) -> Self {
        Self { clients, ..self }
    }
}

/// What a verification has found. The first that fits, from the top.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Verification is turned off, or there is no TCP listener.
    Unverifiable,
    /// Nobody answered, or not in time.
    Unreachable,
    /// TLS is off.
    Plaintext,
    /// What is served has expired.
    Expired,
    /// Neither our SPIFFE ID nor a leaf that we published.
    Foreign,
    /// Another leaf with our SPIFFE ID: PostgreSQL has refused the files.
    StillOld,
    /// The leaf is current, the authorities are not: their names, or the key of the one that has signed the leaf.
    OldAuthorities,
    /// What was published is served.
    Current,
}

impl Verdict {
    /// All of them, in the order in which they are tried.
    pub const ALL: [Self; 8] = [
        Self::Unverifiable,
        Self::Unreachable,
        Self::Plaintext,
        Self::Expired,
        Self::Foreign,
        Self::StillOld,
        Self::OldAuthorities,
        Self::Current,
    ];

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
        }
    }

    /// Whether nothing is left to be done.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Current | Self::Unverifiable)
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Judges what was seen.
#[must_use]
pub fn judge(facts: &Facts, expected: &Expected, now: SystemTime) -> Verdict {
    match &facts.answer {
        Answer::Nothing(_) => Verdict::Unreachable,
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
        let ours =
            served.leaf.uris() == [expected.spiffe_id.as_str()] || expected.earlier.contains(&leaf);
        return if ours { Verdict::StillOld } else { Verdict::Foreign };
    }
    let sent: Vec<Fingerprint> = served.rest.iter().map(Certificate::fingerprint).collect();
    if !expected.intermediates.iter().all(|published| sent.contains(published)) {
        return Verdict::StillOld;
    }
    match &served.authorities {
        // Copied, the names are collected by code that is
        // there already: 6 KB less of the program.
        Some(names) if names.iter().cloned().collect::<BTreeSet<_>>() != expected.authorities => {
            Verdict::OldAuthorities
        }
        // The names are right, and the key of one is another: they were made to look alike, or renewed under one name.
        _ if served.reception.denies_the_authorities(expected.clients.revocation) => {
            Verdict::OldAuthorities
        }
        // It has refused a reload since ssl_ca_file was set: its settings are new, and what it has loaded is not.
        None if expected.clients.asks => Verdict::OldAuthorities,
        // A server that asks for no client certificate shows no names.
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
    use test_support::checked;

    const DATABASE: &str = "spiffe://example.org/db";

    /// A moment in the life of an SVID: it is dated ten seconds back.
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
        let asks = ClientSettings { asks: true, revocation: false };
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
        // A server may add the root of its own accord.
        assert_eq!(sending(&[intermediate, authority.root()]), Verdict::Current);
        assert_eq!(sending(&[&former.chain[1]]), Verdict::StillOld);
        assert_eq!(sending(&[]), Verdict::StillOld);
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
        let with_lists = ClientSettings { asks: true, revocation: true };
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
