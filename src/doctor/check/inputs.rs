//! The files that the operator writes for pgsvid: who else can replace the configuration, and who can replace or read a password.

use std::path::Path;

use super::exchangeable::{self, NamedBy};
use super::own_user::own_user;
use super::readers::{Readers, readers};
use super::remedy;
use crate::config::Config;
use crate::doctor::finding::{Code, Finding};

/// The warnings about the configuration file and the password files.
pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let (ours, _) = own_user(config);
    let exchangeable = |path: &Path, what: &str| {
        let (why, fix) = exchangeable::why_exchangeable(path, ours, NamedBy::Operator)?;
        let text = format!("other users of this machine can replace {}, {what}", path.display());
        Some(Finding::warning(Code::FileExchangeable, text).cause(why).fix(fix))
    };
    let configuration = config.file.as_ref().and_then(|path| std::path::absolute(path).ok());
    let mut found: Vec<Finding> = configuration
        .and_then(|path| {
            exchangeable(
                &path,
                "which is pgsvid's configuration: they choose what its hooks run, and who may log in to PostgreSQL",
            )
        })
        .into_iter()
        .collect();
    for (key, path) in config.password_files() {
        let what = match key {
            "postgres.password_file" => "which holds the password of pgsvid's role",
            "patroni.password_file" => "which holds the password of Patroni's REST API",
            _ => "which holds the password of the stores: they choose it",
        };
        found.extend(exchangeable(path, what));
        found.extend(readable(key, path, config));
    }
    found
}

/// The warning if others than pgsvid's user can read a password. Not for a volume of Kubernetes, whose files are open to the
/// users of the container unless the pod says otherwise.
fn readable(key: &str, path: &Path, config: &Config) -> Option<Finding> {
    let resolved = std::fs::canonicalize(path).ok()?;
    let is_volume = resolved
        .parent()
        .and_then(|directory| directory.file_name())
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b".."));
    if is_volume {
        return None;
    }
    let named = path.display();
    let (who, change) = match readers(path, config) {
        Readers::Found(who, change) => (who, change),
        Readers::Unknown => {
            let text = format!(
                "who can read the password in {named}: its access control list cannot be read from here"
            );
            return Some(
                Finding::skipped(Code::PasswordFileReadable, text)
                    .fix("run `pgsvid check` as the user that runs pgsvid"),
            );
        }
        Readers::Nobody => return None,
    };
    let then = match key {
        "postgres.password_file" => {
            "give the role another password; better: peer, which needs none"
        }
        "patroni.password_file" => "give Patroni's REST API another password",
        _ => "write another password to it",
    };
    let text = format!("{who} can read the password in {named} ({key})");
    let found = Finding::warning(Code::PasswordFileReadable, text)
        .fix(format!("make it readable for pgsvid's user alone, and {then}"));
    Some(remedy::on_file(change, path).into_iter().fold(found, Finding::command))
}
