//! Which names the published set lacks, and which have changed: somebody may depend on the old ones.
//!
//! Configured names (`svid.dns_names`) are reported as long as they are missing. Names that only the previous set had may
//! have been removed on purpose: they are reported until they are back, for a day at most, and not beyond the end of this
//! process. If names are configured, only they are expected. If the SPIFFE ID is configured, a change of it is not reported.

use std::time::{Duration, SystemTime};

use crate::entries;
use crate::finding::{Code, Finding};
use crate::material::{Changed, Expectations, Names};

/// How long a change that may be intended, or is long over, is reported.
const TOLD: Duration = Duration::from_secs(86_400);
/// Most names in one sentence.
const MOST_LISTED: usize = 8;
/// Longest name in a sentence, in characters: a certificate may hold names of any length.
const LONGEST: usize = 200;

/// The names of the published set, and those that it lacks.
#[derive(Debug, Clone, Default)]
pub struct Naming {
    /// Configured names.
    wanted: Vec<String>,
    /// Whether a SPIFFE ID is configured.
    is_pinned: bool,
    /// The names of the published set; before the first publication, of the set on disk.
    now: Option<Names>,
    /// Whether a set is published, or adopted.
    is_published: bool,
    /// Host names that a set before had, with the moment from which they were missing.
    lost: Vec<(String, SystemTime)>,
    /// The previous CN or subject, if it has changed.
    subject: Option<(Names, SystemTime)>,
    /// The previous SPIFFE ID, if it has changed.
    identity: Option<(Names, SystemTime)>,
}

impl Naming {
    /// A state in which no name is missing yet. `before` are the names of the set on disk.
    #[must_use]
    pub fn new(expectations: &Expectations, before: Option<Names>) -> Self {
        Self {
            wanted: expectations.dns_names.clone(),
            is_pinned: expectations.spiffe_id.is_some(),
            now: before,
            ..Self::default()
        }
    }

    /// Records the names of a set that is published now.
    pub fn published(&mut self, names: Names, at: SystemTime) {
        if let Some(before) = self.now.take() {
            let known = |host: &String| self.lost.iter().any(|(lost, _)| lost == host);
            let lost: Vec<_> =
                names.lacks(&before.hosts).into_iter().filter(|host| !known(host)).collect();
            self.lost.extend(lost.into_iter().map(|host| (host, at)));
            if self.subject.is_none() && names.subject_change(&before).is_some() {
                self.subject = Some((before.clone(), at));
            }
            if self.identity.is_none() && names.identity_change(&before).is_some() {
                self.identity = Some((before, at));
            }
        }
        // Forgets names that are back, and names that have been missing for a day.
        self.lost.retain(|(host, since)| !names.has(host) && is_reported(*since, at));
        let differs = |was: fn(&Names, &Names) -> Option<Changed>| {
            let names = &names;
            move |(before, since): &mut (Names, SystemTime)| {
                was(names, before).is_some() && is_reported(*since, at)
            }
        };
        self.subject = self.subject.take_if(differs(Names::subject_change));
        self.identity = self.identity.take_if(differs(Names::identity_change));
        self.now = Some(names);
        self.is_published = true;
    }

    /// Findings about the published names at the time `at`, the most serious first. Without an agent they do not mention
    /// registration entries.
    #[must_use]
    pub fn findings(&self, at: SystemTime, by_agent: bool) -> Vec<Finding> {
        let Some(names) = self.now.as_ref().filter(|_| self.is_published) else {
            return Vec::new();
        };
        let missing = names.lacks(&self.wanted);
        let told = |since: &SystemTime| is_reported(*since, at);
        let lost = self.lost.iter().filter(|(_, since)| self.wanted.is_empty() && told(since));
        let lost: Vec<String> = lost.map(|(host, _)| host.clone()).collect();
        let since = |change: &Option<(Names, SystemTime)>| {
            change.as_ref().filter(|(_, since)| told(since)).map(|(before, _)| before.clone())
        };
        let identity = since(&self.identity).filter(|_| !self.is_pinned);
        [
            (!missing.is_empty()).then(|| of_missing(&missing, names)),
            identity.and_then(|before| names.identity_change(&before)).map(of_identity),
            (!lost.is_empty()).then(|| of_lost(&lost, names)),
            since(&self.subject).and_then(|before| names.subject_change(&before)).map(of_subject),
        ]
        .into_iter()
        .flatten()
        .map(|found| if by_agent { found } else { without_entry(found) })
        .collect()
    }
}

/// The finding about a certificate that comes from files: its remedy names no registration entry.
fn without_entry(found: Finding) -> Finding {
    let fix = match found.code {
        Code::SvidDnsNameMissing => {
            "remove it from svid.dns_names, or let the certificate be issued with it"
        }
        Code::SvidDnsNameLost => {
            "if this is intended, restart pgsvid; if not, let the certificate be issued with the name again"
        }
        Code::SvidSubjectChanged => {
            "let the certificate be issued with the former subject; if the change was meant, map the new name in pg_ident.conf, and \
             restart pgsvid"
        }
        _ => {
            "let the certificate be issued for the former SPIFFE ID; if the change was meant, restart pgsvid"
        }
    };
    Finding { command: None, ..found }.fix(fix)
}

/// The codes of [`Naming::findings`].
pub(super) const CODES: [Code; 4] = [
    Code::SvidDnsNameMissing,
    Code::SvidIdentityChanged,
    Code::SvidDnsNameLost,
    Code::SvidSubjectChanged,
];

pub(super) fn is_reported(since: SystemTime, at: SystemTime) -> bool {
    // If the clock was set back, `since` may be in the future: then the change is still reported.
    at.duration_since(since).is_ok_and(|age| age < TOLD) || at < since
}

fn of_missing(missing: &[String], names: &Names) -> Finding {
    let text = format!(
        "the published certificate lacks {} of svid.dns_names: clients that connect to it with sslmode=verify-full refuse the \
         server",
        listed(missing)
    );
    let finding = Finding::warning(Code::SvidDnsNameMissing, text)
        .about(listed(missing))
        .fix("take it out of svid.dns_names, or add it to the registration entry");
    finding.command_if_any(entries::add_hosts(&names.spiffe_id, missing))
}

fn of_lost(lost: &[String], names: &Names) -> Finding {
    let text = format!(
        "the published certificate lacks {}, which the one before had: clients that connect to it with sslmode=verify-full \
         refuse the server",
        listed(lost)
    );
    let meant = if names.hosts.is_empty() {
        "restart pgsvid".to_owned()
    } else {
        let names: Vec<String> =
            names.hosts.iter().map(|name| format!("{:?}", cut(name))).collect();
        format!(
            "restart pgsvid, with svid.dns_names = [{}] to be warned about these only",
            names.join(", ")
        )
    };
    let finding = Finding::warning(Code::SvidDnsNameLost, text).about(listed(lost)).fix(format!(
        "if this is intended, {meant}; if not, give the registration entry the name again"
    ));
    finding.command_if_any(entries::add_hosts(&names.spiffe_id, lost))
}

fn of_subject(was: Changed) -> Finding {
    let Changed { before, now } = was;
    let text = format!(
        "the published certificate's subject is {}, but was {}: `cert` uses it as the role, so a login with it may be \
         refused, or get another role",
        cut(&now),
        cut(&before)
    );
    Finding::warning(Code::SvidSubjectChanged, text).about(cut(&now)).fix(
        "restore the registration entry's first DNS name, which becomes the CN; if the change is intended, map the \
         new name in pg_ident.conf, and restart pgsvid",
    )
}

fn of_identity(was: Changed) -> Finding {
    let Changed { before, now } = was;
    let text = format!(
        "the SPIFFE ID is {}, but was {}: servers and clients that expect the old one do not accept this one",
        cut(&now),
        cut(&before)
    );
    Finding::warning(Code::SvidIdentityChanged, text).about(cut(&now)).fix(format!(
        "see which registration entries this workload has; to accept only the present SPIFFE ID, set svid.spiffe_id = \"{}\"",
        cut(&now)
    ))
}

fn listed(names: &[String]) -> String {
    let mut list: Vec<String> = names.iter().take(MOST_LISTED).map(|name| cut(name)).collect();
    if let Some(more @ 1..) = names.len().checked_sub(MOST_LISTED) {
        list.push(format!("{more} more"));
    }
    list.join(", ")
}

fn cut(name: &str) -> String {
    name.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: SystemTime = SystemTime::UNIX_EPOCH;
    const HOUR: Duration = Duration::from_secs(3600);

    fn names(id: &str, hosts: &[&str]) -> Names {
        Names {
            spiffe_id: format!("spiffe://example.org/{id}"),
            common_name: hosts.first().map(|name| (*name).to_owned()),
            subject: format!("CN={}", hosts.first().unwrap_or(&"")),
            hosts: hosts.iter().map(|name| (*name).to_owned()).collect(),
            hint: None,
        }
    }

    fn codes(naming: &Naming, at: SystemTime) -> Vec<Code> {
        naming.findings(at, true).into_iter().map(|found| found.code).collect()
    }

    fn begun(wanted: &[&str]) -> Naming {
        let dns_names = wanted.iter().map(|name| (*name).to_owned()).collect();
        let expectations = Expectations { dns_names, ..Expectations::default() };
        Naming::new(&expectations, Some(names("db", &["a", "b"])))
    }

    #[test]
    fn f34_a_name_that_is_lost_is_reported_through_renewals_until_it_is_back() {
        let mut naming = begun(&[]);
        assert!(codes(&naming, START).is_empty());
        for hours in 0..3 {
            naming.published(names("db", &["a"]), START + HOUR * hours);
            assert_eq!(codes(&naming, START + HOUR * hours), [Code::SvidDnsNameLost]);
        }
        naming.published(names("db", &["a", "B"]), START + HOUR * 3);
        assert!(codes(&naming, START + HOUR * 3).is_empty());
    }

    #[test]
    fn f34_a_change_that_was_meant_is_reported_for_a_day_from_when_it_was_made() {
        let mut naming = begun(&[]);
        naming.published(names("other", &["b"]), START);
        let all = [Code::SvidIdentityChanged, Code::SvidDnsNameLost, Code::SvidSubjectChanged];
        assert_eq!(codes(&naming, START + HOUR * 23), all);
        // A renewal in between does not extend the day.
        naming.published(names("other", &["b"]), START + HOUR * 12);
        assert!(codes(&naming, START + HOUR * 24).is_empty());
        naming.published(names("other", &["b"]), START + HOUR * 25);
        assert!(codes(&naming, START + HOUR * 25).is_empty());
        // The next change is reported again.
        naming.published(names("other", &["c"]), START + HOUR * 30);
        let again = [Code::SvidDnsNameLost, Code::SvidSubjectChanged];
        assert_eq!(codes(&naming, START + HOUR * 30), again);
    }

    #[test]
    fn f35_configured_names_are_reported_for_as_long_as_they_are_missing_and_others_are_not() {
        let mut naming = begun(&["a"]);
        naming.published(names("db", &["a"]), START);
        assert!(codes(&naming, START).is_empty(), "nobody wants b");
        naming.published(names("db", &[]), START);
        assert_eq!(codes(&naming, START + HOUR * 1000)[0], Code::SvidDnsNameMissing);
        naming.published(names("db", &["A"]), START + HOUR);
        assert!(!codes(&naming, START + HOUR).contains(&Code::SvidDnsNameMissing));
    }

    #[test]
    fn f35_what_expired_on_disk_is_compared_like_any_other_and_without_one_nothing_is() {
        let wanted = Expectations { dns_names: vec!["c".to_owned()], ..Expectations::default() };
        let unpublished = Naming::new(&wanted, Some(names("db", &["a"])));
        assert!(codes(&unpublished, START).is_empty(), "nothing is published yet");
        let mut naming = Naming::new(&Expectations::default(), None);
        naming.published(names("db", &["a"]), START);
        assert!(codes(&naming, START).is_empty());
        naming.published(names("db", &["b"]), START);
        assert_eq!(codes(&naming, START), [Code::SvidDnsNameLost, Code::SvidSubjectChanged]);
        // Names that change and change back are not reported any more.
        naming.published(names("db", &["a", "b"]), START);
        assert!(codes(&naming, START).is_empty());
    }
}
