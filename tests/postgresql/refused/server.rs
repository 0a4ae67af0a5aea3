//! A PostgreSQL that reads one file elsewhere.

use std::cell::{Cell, RefCell};
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use What::{Bundle, Certificate, Key};
use dev_agent::{Entry, KeyType, Svid};
use pgsvid::finding::Code;
use serde_json::Value;
use test_support::{Account, LIMIT, Mark, Pgsvid, Setup};

use crate::refused::cases::Case;

/// Which file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Certificate,
    Key,
    Bundle,
}
/// A PostgreSQL that serves what pgsvid has published last, and reads one file of the next set elsewhere.
pub(crate) struct Server {
    pub(crate) setup: Setup,
    pub(crate) pgsvid: Pgsvid,
    served: RefCell<Svid>,
    count: Cell<usize>,
}

/// Where PostgreSQL reads one of the files instead.
pub(crate) struct Copy<'a> {
    server: &'a Server,
    of: What,
    pub(crate) path: PathBuf,
    /// What PostgreSQL serves.
    pub(crate) old: Svid,
    /// What pgsvid publishes next.
    pub(crate) new: Svid,
}

impl Server {
    pub(crate) fn new() -> Self {
        Self::configured("")
    }

    /// With a pgsvid that can read what PostgreSQL reads elsewhere.
    pub(crate) fn without_sandbox() -> Self {
        Self::configured("[sandbox]\nenabled = false")
    }

    fn configured(configuration: &str) -> Self {
        let setup = Setup::new(env!("CARGO_BIN_EXE_pgsvid"));
        setup.configure(configuration);
        let pgsvid = setup.start();
        let served = setup.agent.svid().into();
        Self { setup, pgsvid, served, count: 0.into() }
    }

    pub(crate) fn refuses(&self, cases: &[Case]) {
        for case in cases {
            let name = case.name;
            let log = self.setup.cluster.log_mark();
            let (copy, event, mark) = self.rotate(case.of, case.defect);
            let old = serial(&self.served.replace(copy.new.clone()));
            let sentence = event["message"].as_str().unwrap();
            assert_eq!(
                (&event["level"], &event["verdict"]),
                (&"ERROR".into(), &"still-old".into()),
                "{name}: {event}"
            );
            assert!(sentence.contains(&format!("still serves serial {old},")), "{name}: {event}");
            let published = self.published(case.of);
            let cause = format!(
                "{} is {}, not {}; {}",
                case.of.setting(),
                copy.path.display(),
                published.display(),
                self.fill(case.cause, &copy)
            );
            assert_eq!(event["cause"], cause, "{name}");
            let codes: Vec<&str> = event["code"].as_str().unwrap().split(", ").collect();
            let is_code = |name: &&str| Code::ALL.iter().any(|code| code.name() == *name);
            assert!(codes.len() == 2 && codes.iter().all(is_code), "{name}: {event}");
            assert_eq!(codes[0], "ssl-setting-elsewhere", "{name}");
            let fix = event["fix"].as_str().unwrap();
            let wanted = format!(
                "put {} = '{}' into postgresql.conf",
                case.of.setting(),
                published.display()
            );
            assert!(fix.starts_with(&wanted), "{name}: {fix}");
            assert!(fix.ends_with(&self.fill(case.fix, &copy)), "{name}: {fix}");
            self.setup.cluster.wait_for_log(log, LIMIT, case.log);

            copy.repair();
            let (event, _) = self.pgsvid.event_after(mark, "rotated");
            assert_eq!(event["verdict"], "current", "{name}: {event}");
            assert_eq!(event["serial"], serial(&copy.new), "{name}: {event}");
        }
    }

    pub(crate) fn takes(&self, of: What, form: impl FnOnce(&Copy<'_>)) {
        let (copy, event, _) = self.rotate(of, form);
        assert_eq!(
            (&event["message"], &event["verdict"]),
            (&"rotated".into(), &"current".into()),
            "{event}"
        );
        assert_eq!(event["serial"], serial(&copy.new), "{event}");
        self.served.replace(copy.new);
    }

    /// Publishes a new SVID while PostgreSQL is to read one file from a copy, and returns what comes of it.
    fn rotate(&self, of: What, make: impl FnOnce(&Copy<'_>)) -> (Copy<'_>, Value, Mark) {
        let Setup { agent, cluster, other, .. } = &self.setup;
        let new = agent.issue(&entry()).unwrap();
        self.count.set(self.count.get() + 1);
        let directory = other.subdirectory(&self.count.get().to_string());
        let (path, old) = (directory.join("copy.pem"), self.served.borrow().clone());
        let copy = Copy { server: self, of, path, old, new };
        make(&copy);
        for what in [Certificate, Key, Bundle] {
            let path = if what == of { copy.path.clone() } else { self.published(what) };
            cluster.set_conf(&format!("{} = '{}'", what.setting(), path.display()));
        }
        let mark = self.pgsvid.mark();
        let mut message = agent.response();
        message.svids = vec![copy.new.to_message()];
        agent.push(&message);
        let is_outcome = |event: &Value| event["level"] == "ERROR" || event["event"] == "rotated";
        let (event, mark) = self.pgsvid.wait_for_event_after(mark, LIMIT, is_outcome);
        (copy, event, mark)
    }

    fn published(&self, what: What) -> PathBuf {
        self.setup.files.join(match what {
            Certificate => "svid.pem",
            Key => "svid_key.pem",
            Bundle => "svid_bundle.pem",
        })
    }

    fn fill(&self, text: &str, copy: &Copy<'_>) -> String {
        text.replace("{path}", &copy.path.display().to_string())
            .replace("{uid}", &self.setup.cluster.uid().to_string())
            .replace("{certificate}", &self.published(Certificate).display().to_string())
            .replace("{key}", &self.published(Key).display().to_string())
    }
}

impl What {
    fn setting(self) -> &'static str {
        match self {
            Certificate => "ssl_cert_file",
            Key => "ssl_key_file",
            Bundle => "ssl_ca_file",
        }
    }
}

impl Copy<'_> {
    pub(crate) fn directory(&self) -> &Path {
        self.path.parent().unwrap()
    }

    /// What it should hold.
    pub(crate) fn good(&self) -> String {
        match self.of {
            Certificate => self.new.chain_pem(),
            Key => self.new.key_pem(),
            Bundle => self.new.bundle_pem(),
        }
    }

    /// What is published next, but with another type of key.
    pub(crate) fn of_type(&self, kind: KeyType) -> Svid {
        self.server.setup.agent.issue(&entry().key_type(kind)).unwrap()
    }

    pub(crate) fn write(&self, content: impl AsRef<[u8]>, mode: u32) {
        self.write_as(content, mode, Account::server().uid());
    }

    pub(crate) fn write_as(&self, content: impl AsRef<[u8]>, mode: u32, uid: u32) {
        fs::File::create(&self.path).unwrap().write_all(content.as_ref()).unwrap();
        chown(&self.path, Some(uid), Some(Account::server().gid())).unwrap();
        fs::set_permissions(&self.path, Permissions::from_mode(mode)).unwrap();
    }

    /// Puts a good copy into the place of the defective one.
    fn repair(&self) {
        let _ = fs::create_dir(self.directory());
        fs::set_permissions(self.directory(), Permissions::from_mode(0o755)).unwrap();
        let _ = fs::remove_file(&self.path).or_else(|_| fs::remove_dir(&self.path));
        self.write(self.good(), 0o600);
    }
}

fn entry() -> Entry {
    Entry::new(Setup::SPIFFE_ID).dns("localhost")
}

/// As logs have it: the first three bytes.
fn serial(svid: &Svid) -> String {
    let [one, two, three, ..] = svid.serial;
    format!("{one:02x}:{two:02x}:{three:02x}")
}

pub(crate) fn truncated(pem: &str) -> String {
    pem[..pem.len() - 40].to_owned()
}
