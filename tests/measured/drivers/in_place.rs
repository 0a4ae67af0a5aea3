//! What a helper does that rewrites its files in place: each is cut off, and written again.

use std::cell::RefCell;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use dev_agent::Svid;
use pgsvid::material::pkcs12::{self, Password};
use pgsvid::material::{Certificate, PrivateKey};
use test_support::Directory;

use super::phases::Bring;
use super::programs::Way;
use super::sides::{PASSWORD, ROLE, SERVICE_FILE_DER};

/// Names and contents.
type Set = Vec<(&'static str, Vec<u8>)>;

/// A directory with the same names as pgsvid's, whose `..data` is itself.
pub(super) struct InPlace {
    files: Directory,
    kept: RefCell<Vec<Set>>,
    reads_store: bool,
}

impl InPlace {
    pub(super) fn new(way: &Way, port: u16, svid: &Svid) -> Self {
        let files = Directory::new();
        symlink(".", files.join("..data")).unwrap();
        let directory = files.path().display();
        let service = |key: &str| {
            format!(
                "[products]\ndbname=postgres\nhost=localhost\nport={port}\nsslmode=verify-full\nuser={ROLE}\n\
                 sslcert={directory}/svid.pem\nsslkey={directory}/{key}\nsslrootcert={directory}/svid_bundle.pem\n"
            )
        };
        files.write("pg_service.conf", service("svid_key.pem"), 0o644);
        files.write(SERVICE_FILE_DER, service("svid_key.pk8"), 0o644);
        let this = Self { files, kept: RefCell::default(), reads_store: way.reads_store() };
        this.bring(svid);
        this
    }

    /// The files of an SVID.
    fn encoded(&self, svid: &Svid) -> Set {
        let mut files = vec![
            ("svid.pem", svid.chain_pem().into_bytes()),
            ("svid_key.pem", svid.key_pem().into_bytes()),
            ("svid_bundle.pem", svid.bundle_pem().into_bytes()),
            ("svid_key.pk8", svid.key.clone()),
        ];
        if self.reads_store {
            let chain: Vec<_> =
                svid.chain.iter().map(|der| Certificate::parse(der).unwrap()).collect();
            let key = PrivateKey::new(svid.key.clone().into());
            let password = Password::parse(PASSWORD.as_bytes()).unwrap();
            let store = pkcs12::key_store(&chain, &key, "user", &password).unwrap();
            files.push(("svid.p12", store.to_vec()));
        }
        files
    }

    /// Cuts the files of the former set off, and writes this one into them.
    fn rewrite(&self, set: &Set) {
        for (name, content) in set {
            let path = self.files.join(name);
            if path.exists() {
                File::create(path).unwrap().write_all(content).unwrap();
            } else {
                self.files.write(name, content, 0o600);
            }
        }
    }
}

impl Bring for InPlace {
    fn files(&self) -> &Path {
        self.files.path()
    }

    fn bring(&self, svid: &Svid) {
        self.rewrite(&self.encoded(svid));
    }

    fn keep(&self, svid: &Svid) {
        self.kept.borrow_mut().push(self.encoded(svid));
    }

    fn end(&self) {}

    fn swap(&self, number: usize) {
        let kept = self.kept.borrow();
        self.rewrite(&kept[number % kept.len()]);
    }
}
