//! What `exec` says at its start about the files that the application's driver reads.

use super::finding::{Code, Finding};
use super::jdbc;
use crate::companions::service_file;
use crate::config::Config;
use crate::publish::Content;

/// What keeps pgjdbc, or some of its versions, from the section that the application uses.
#[must_use]
pub fn of_jdbc(config: &Config, service: &service_file::Settings) -> Vec<Finding> {
    let key = config.place.files().find(|file| file.name == service.private_key);
    let format = key.and_then(|key| match key.content {
        Content::Key => jdbc::reads_pem_from(&key.name).map(|version| in_pem(&key.name, version)),
        _ => jdbc::misnamed(key),
    });
    format.into_iter().chain(jdbc::unknown_keywords(service)).collect()
}

fn in_pem(name: &str, version: &str) -> Finding {
    let text = format!(
        "{name} is a key in PEM, which pgjdbc reads from {version} on; if it is one of an elliptic curve, as SPIRE makes them, only with pemKeyAlgorithm=EC in its URL"
    );
    let fix = "publish the key in DER, which every version reads without an option: a [[files.extra]] with name = \"svid_key.pk8\" and content = \"der-key\", and private_key = \"svid_key.pk8\" in [files.service]";
    Finding::warning(Code::PgjdbcPem, text).fix(fix).about(name)
}
