//! What a helper does that rewrites its files in place: each is cut off, and written again.

use std::fs;
use std::os::unix::fs::symlink;

use dev_agent::Svid;
use pgsvid::material::pkcs12::{self, Password};
use pgsvid::material::{Certificate, PrivateKey};
use test_support::Directory;

use super::programs::Way;
use super::sides::{PASSWORD, ROLE};

/// A directory with the same names as pgsvid's, whose `..data` is itself.
pub(super) struct InPlace {
    pub(super) files: Directory,
    reads_store: bool,
}

impl InPlace {
    pub(super) fn new(way: &Way, port: u16, svid: &Svid) -> Self {
        let files = Directory::new();
        symlink(".", files.join("..data")).unwrap();
        let directory = files.path().display();
        let section = |name: &str, key: &str| {
            format!(
                "[{name}]\ndbname=postgres\nhost=localhost\nport={port}\nsslmode=verify-full\nuser={ROLE}\n\
                 sslcert={directory}/svid.pem\nsslkey={directory}/{key}\nsslrootcert={directory}/svid_bundle.pem\n"
            )
        };
        let service = section("products", "svid_key.pem") + &section("pgjdbc", "svid_key.pk8");
        files.write("pg_service.conf", service, 0o644);
        let this = Self { files, reads_store: way.reads_store() };
        this.rewrite(svid);
        this
    }

    /// Writes the SVID into the files of the former one.
    pub(super) fn rewrite(&self, svid: &Svid) {
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
        for (name, content) in files {
            let path = self.files.join(name);
            if path.exists() {
                fs::write(path, content).unwrap();
            } else {
                self.files.write(name, content, 0o600);
            }
        }
    }
}
