//! The files that the operator writes for pgsvid: who else can replace the configuration, and who can replace or read the password.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::exchangeable::{self, NamedBy};
use super::own_user::own_user;
use crate::config::Config;
use crate::doctor::finding::{Code, Finding};
use crate::files::{ACCESS_LIST, lists_names};
use crate::text::argument;

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
    for (key, path) in passwords(config) {
        found.extend(exchangeable(&path, &format!("which holds a password ({key})")));
        found.extend(readable(key, &path, ours));
    }
    found
}

/// All password files, each once, and the key that names it.
fn passwords(config: &Config) -> Vec<(&'static str, PathBuf)> {
    let settings = &config.rotation;
    let of_servers = settings.servers.iter().filter_map(|it| it.session.password_file.clone());
    let of_patroni = settings.patroni.iter().filter_map(|it| it.credentials.as_ref());
    let of_stores = config.place.password_files().into_iter().map(Path::to_owned);
    let all = of_servers
        .map(|path| ("postgres.password_file", path))
        .chain(of_patroni.map(|it| ("patroni.password_file", it.password_file.clone())))
        .chain(of_stores.map(|path| ("files.extra.password_file", path)));
    let mut known = BTreeSet::new();
    all.filter(|(_, path)| known.insert(path.clone())).collect()
}

/// The warning if others than pgsvid's user can read a password. Not for a volume of Kubernetes, whose files are open to the
/// users of the container unless the pod says otherwise.
fn readable(key: &str, path: &Path, ours: u32) -> Option<Finding> {
    let resolved = std::fs::canonicalize(path).ok()?;
    let is_volume = resolved
        .parent()
        .and_then(|directory| directory.file_name())
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b".."));
    let file = std::fs::metadata(&resolved).ok()?;
    let enters = |above: &Path| std::fs::metadata(above).is_ok_and(|it| it.mode() & 0o001 != 0);
    let is_open = file.mode() & 0o004 != 0 && resolved.ancestors().skip(1).all(enters);
    let is_listed = || {
        // Without waiting, should it be a FIFO.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::open(&resolved, flags, Mode::empty()).ok();
        file.mode() & 0o040 != 0 && opened.and_then(|it| lists_names(it, ACCESS_LIST)) == Some(true)
    };
    let command = if is_open {
        format!("chmod o-rwx {}", argument(path))
    } else if is_listed() {
        format!("setfacl -b {}", argument(path))
    } else {
        return None;
    };
    (!is_volume).then(|| {
        let text = format!("others than uid {ours} can read the password in {} ({key})", path.display());
        let fix = match key {
            "postgres.password_file" => "make it readable for pgsvid's user alone, and give the role another password; better: peer, which needs none",
            "patroni.password_file" => "make it readable for pgsvid's user alone, and give Patroni's REST API another password",
            _ => "make it readable for pgsvid's user and those that open the store alone, and write another password into it",
        };
        Finding::warning(Code::PasswordFileReadable, text)
            .fix(fix)
            .command(command)
    })
}
