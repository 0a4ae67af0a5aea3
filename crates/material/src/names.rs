//! The names in a leaf that PostgreSQL and clients use: the SPIFFE ID, the name that `cert` compares with the role, and the
//! hosts that clients connect to.

use super::{Certificate, Details, Material, names_host};

/// The names in a leaf. Texts come from the certificate, unescaped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// The SPIFFE ID; empty if the leaf has none.
    pub spiffe_id: String,
    /// The CN.
    pub common_name: Option<String>,
    /// The whole subject in the form of `clientname=DN`.
    pub subject: String,
    /// The hosts that clients may connect to: DNS names, then addresses.
    pub hosts: Vec<String>,
    /// The hint that came with it, if known: no file stores it.
    pub hint: Option<String>,
}

/// A value that has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The value before.
    pub before: String,
    /// The value now.
    pub now: String,
}

impl Names {
    /// The names of a leaf with this SPIFFE ID, which is empty if there is none.
    #[must_use]
    pub fn new(spiffe_id: impl Into<String>, leaf: &Certificate) -> Self {
        let addresses = Details::of(leaf).ip_addresses;
        let addresses = addresses.iter().map(ToString::to_string);
        Self {
            spiffe_id: spiffe_id.into(),
            common_name: leaf.common_name(),
            subject: leaf.distinguished_name(),
            hosts: leaf.dns_names().iter().cloned().chain(addresses).collect(),
            hint: None,
        }
    }

    /// The names of a leaf that was read back. Without exactly one URI it has no SPIFFE ID.
    #[must_use]
    pub fn of_leaf(leaf: &Certificate) -> Self {
        let uri = if let [uri] = leaf.uris() { uri.as_str() } else { "" };
        Self::new(uri, leaf)
    }

    /// The names of a set.
    #[must_use]
    pub fn of(material: &Material) -> Self {
        let hint = material.hint().map(str::to_owned);
        let spiffe_id = material.spiffe_id().map(ToString::to_string).unwrap_or_default();
        Self { hint, ..Self::new(spiffe_id, material.leaf()) }
    }

    /// Whether a client that connects to this host finds it among the names. A host with an asterisk matches only the same
    /// name.
    #[must_use]
    pub fn has(&self, host: &str) -> bool {
        self.hosts.iter().any(|name| names_host(name, host))
    }

    /// The hosts that are not among the names, in their order.
    #[must_use]
    pub fn lacks(&self, hosts: &[String]) -> Vec<String> {
        hosts.iter().filter(|host| !self.has(host)).cloned().collect()
    }

    /// The SPIFFE ID, if it has changed and both leaves have one.
    #[must_use]
    pub fn identity_change(&self, before: &Self) -> Option<Changed> {
        let is_reported = !before.spiffe_id.is_empty() && !self.spiffe_id.is_empty();
        another(&before.spiffe_id, &self.spiffe_id).filter(|_| is_reported)
    }

    /// The CN, if it has changed; otherwise the whole subject, if that has changed.
    #[must_use]
    pub fn subject_change(&self, before: &Self) -> Option<Changed> {
        let name = |names: &Self| names.common_name.as_ref().map(|name| format!("CN={name}"));
        match (name(before), name(self)) {
            (Some(before), Some(now)) if before != now => Some(Changed { before, now }),
            _ => another(&before.subject, &self.subject),
        }
    }
}

fn another(before: &str, now: &str) -> Option<Changed> {
    (before != now).then(|| Changed { before: before.to_owned(), now: now.to_owned() })
}

#[cfg(test)]
mod tests {
    use dev_agent::{Authority, Entry};

    use super::*;

    fn names(entry: &Entry) -> Names {
        let authority = Authority::new("example.org", false).unwrap();
        let svid = authority.issue(entry).unwrap();
        Names::of_leaf(&Certificate::first(&svid.to_message().x509_svid).unwrap())
    }

    fn was(found: Option<Changed>) -> Option<(String, String)> {
        found.map(|was| (was.before, was.now))
    }

    #[test]
    fn f32_a_name_is_lost_where_no_name_stands_for_it_any_more() {
        let entry = || Entry::new("spiffe://example.org/db");
        let before = names(&entry().dns("db.example").dns("*.ro.example").dns("DB-2.example"));
        let lost = |after: Entry| names(&after).lacks(&before.hosts);
        assert!(lost(entry().dns("*.example").dns("*.ro.example")).is_empty());
        assert_eq!(
            lost(entry().dns("a.ro.example").dns("db.example").dns("db-2.example")),
            ["*.ro.example"]
        );
        assert_eq!(lost(entry()).len(), 3);
    }

    #[test]
    fn f33_a_changed_cn_is_found_and_with_the_same_cn_a_changed_subject() {
        let entry = || Entry::new("spiffe://example.org/db");
        let before = names(&entry().dns("localhost").dns("db"));
        assert_eq!(was(names(&entry().dns("localhost")).subject_change(&before)), None);
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        let after = names(&entry().dns("db").dns("localhost"));
        assert_eq!(was(after.subject_change(&before)), pair("CN=localhost", "CN=db"));
        let after = names(&entry().dns("localhost").unique_id(true));
        let (was, now) = was(after.subject_change(&before)).unwrap();
        assert!(!was.contains("x500UniqueIdentifier") && now.contains("x500UniqueIdentifier"));
        // Without a CN it is the subject that all workloads share.
        assert!(names(&entry()).subject_change(&before).is_some());
    }
}
