//! A PostgreSQL and pgsvid, whose source are three files.

use std::fs;
use std::path::PathBuf;

use dev_agent::{Authority, Entry, Flaw, Svid};
use test_support::{Directory, LIMIT, Mark, Pgsvid, Setup, eventually};

pub(super) const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
/// What certificate, key and bundle are called, as cert-manager has it.
pub(super) const NAMES: [&str; 3] = ["tls.crt", "tls.key", "ca.crt"];
/// As pgsvid publishes them.
pub(super) const PUBLISHED: [&str; 3] = ["svid.pem", "svid_key.pem", "svid_bundle.pem"];

pub(super) struct Place {
    pub(super) setup: Setup,
    /// Where others write.
    pub(super) certs: Directory,
    pub(super) authority: Authority,
}

impl Place {
    /// The files lie in the directory itself.
    pub(super) fn new() -> Self {
        let place = Self {
            setup: Setup::new(PGSVID),
            certs: Directory::new(),
            authority: Authority::new("corporate.example", true).unwrap(),
        };
        place.configure("", "");
        place
    }

    /// The files lie in a directory below it; `more` are lines of the configuration.
    pub(super) fn configure(&self, below: &str, more: &str) {
        let [certificate, key, bundle] = NAMES.map(|name| self.certs.path().join(below).join(name));
        self.setup.configure(&format!(
            "certificates.certificate = '{}'\ncertificates.private_key = '{}'\ncertificates.bundle = '{}'\n{more}\n",
            certificate.display(),
            key.display(),
            bundle.display()
        ));
    }

    /// A certificate without a SPIFFE ID, as a corporate authority issues it.
    pub(super) fn issue(&self) -> Svid {
        self.issue_with(|entry| entry)
    }

    pub(super) fn issue_with(&self, change: impl FnOnce(Entry) -> Entry) -> Svid {
        issue_by(&self.authority, change)
    }

    pub(super) fn write(&self, svid: &Svid) {
        self.write_below("", svid);
    }

    /// Rewrites the files in place, one after the other.
    pub(super) fn write_below(&self, below: &str, svid: &Svid) {
        for (name, text) in NAMES.iter().zip(texts(svid)) {
            self.certs.write(&format!("{below}{name}"), text, 0o600);
        }
    }

    pub(super) fn spawn(&self) -> Pgsvid {
        self.setup.spawn_leaving_out(&["--endpoint"])
    }

    /// Starts pgsvid, then PostgreSQL, and waits until the first set is served.
    #[track_caller]
    pub(super) fn start(&self) -> Pgsvid {
        let pgsvid = self.spawn();
        self.setup.wait_published();
        self.setup.cluster.start();
        pgsvid.current(1);
        pgsvid
    }

    /// Waits until it is proven that this one is served.
    #[track_caller]
    pub(super) fn serves(&self, pgsvid: &Pgsvid, mark: Mark, svid: &Svid) {
        let short = short(svid);
        pgsvid.wait_for_event_after(mark, LIMIT, |event| {
            event["event"] == "rotated"
                && event["verdict"] == "current"
                && event["serial"] == short.as_str()
        });
        assert!(self.holds(svid), "another set is published");
        assert_eq!(self.setup.cluster.served().leaf, svid.leaf());
    }

    /// Whether this set is published, and nothing else.
    pub(super) fn holds(&self, svid: &Svid) -> bool {
        self.published() == texts(svid)
    }

    /// What readers find.
    pub(super) fn published(&self) -> [String; 3] {
        PUBLISHED.map(|name| fs::read_to_string(self.setup.files.join(name)).unwrap())
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.certs.join(name)
    }

    #[track_caller]
    pub(super) fn wait_holds(&self, svid: &Svid) {
        eventually(LIMIT, "the set is published", || self.holds(svid));
    }
}

/// Waits for the finding about the files.
#[track_caller]
pub(super) fn rejected(pgsvid: &Pgsvid, mark: Mark, code: &str) -> serde_json::Value {
    let (event, _) = pgsvid.wait_for_event_after(mark, LIMIT, |event| {
        event["event"] == "certificates-rejected" && event["code"] == code
    });
    event
}

/// A certificate of this authority's, without a SPIFFE ID.
pub(super) fn issue_by(authority: &Authority, change: impl FnOnce(Entry) -> Entry) -> Svid {
    let entry = Entry::new("spiffe://corporate.example/db").dns("localhost").with(Flaw::NoUri);
    authority.issue(&change(entry)).unwrap()
}

/// Certificate, key and bundle in PEM.
pub(super) fn texts(svid: &Svid) -> [String; 3] {
    [svid.chain_pem(), svid.key_pem(), svid.bundle_pem()]
}

/// The beginning of its serial number, as lines of the log have it.
pub(super) fn short(svid: &Svid) -> String {
    let hex = svid.serial_hex();
    format!("{}:{}:{}", &hex[..2], &hex[2..4], &hex[4..6])
}
