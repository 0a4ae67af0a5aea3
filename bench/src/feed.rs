//! The helper of the script that pgsvid replaces: receives SVIDs from the agent, and rewrites three files in place, one
//! after the other, in the order certificate, key, bundle.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use pgsvid::material::{Expectations, Material, pem};
use pgsvid::source::Identity;
use pgsvid::source::workload_api::{Selection, Settings, Source};
use pgsvid::watching::Watching;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

/// How this program is told to be that helper.
pub(crate) const COMMAND: &str = "feed";

/// Goes on until it is killed.
pub(crate) fn feed(endpoint: &str, directory: &Path) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("makes a runtime");
    runtime.block_on(async {
        let settings = Settings {
            endpoint: endpoint.parse().expect("an endpoint"),
            selection: Selection::default(),
            expectations: Expectations::default(),
            federated_bundles: false,
        };
        let (source, mut state) = Source::new(settings, Watching::blind());
        let supervised = tokio::spawn(source.run(CancellationToken::new()));
        while state.changed().await.is_ok() {
            let identity = state.borrow_and_update().identity.clone();
            if let Identity::Current(material) = identity {
                rewrite(directory, &material);
                println!("written");
            }
        }
        let _ = supervised.await;
    });
}

fn rewrite(directory: &Path, material: &Material) {
    let files: [(&str, Vec<u8>); 3] = [
        ("svid.pem", pem::encode_certificates(material.chain())),
        ("svid_key.pem", pem::encode_key(material.key()).to_vec()),
        ("svid_bundle.pem", pem::encode_certificates(material.authorities())),
    ];
    for (name, bytes) in files {
        let mut file = File::create(directory.join(name)).expect("opens and truncates a file");
        file.write_all(&bytes).expect("writes a file");
    }
}
