//! The password files of key stores and trust stores: whether the user of `run` can use them.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::own_user::own_user;
use crate::config::Config;
use crate::doctor::codes;
use crate::doctor::finding::{Code, Finding};
use crate::publish;

/// The password files that keep a newer set from being published.
pub(super) fn unusable(config: &Config) -> Vec<Finding> {
    let (ours, _) = own_user(config);
    let files = config.place.password_files();
    files.into_iter().filter_map(|path| password(path, ours)).collect()
}

/// The finding about one file. If another user than `ours` runs this, the modes decide: root can read every file, and an
/// administrator perhaps none, whatever `ours` can read.
fn password(path: &Path, ours: u32) -> Option<Finding> {
    let own = rustix::process::geteuid().as_raw();
    let error = publish::password(path).err();
    let is_out_of_reach =
        matches!(error, Some(publish::Error::Password { out_of_reach: true, .. }));
    let is_known = own == ours || error.is_some() && !is_out_of_reach || may_read(path, ours);
    if !is_known || own != ours && is_out_of_reach {
        let text = format!(
            "whether uid {ours} can use the password in {}: check runs as uid {own}",
            path.display()
        );
        return Some(Finding::skipped(Code::StorePasswordUnusable, text).fix(format!(
            "run check as the user that runs pgsvid: sudo -u '#{ours}' pgsvid check …"
        )));
    }
    let error = error?;
    let finding = Finding::failure(codes::directory(&error), error.to_string());
    Some(match error.fix_for(ours) {
        Some(fix) => finding.fix(fix),
        None => finding,
    })
}

/// Whether modes alone let the user read a file: as its owner, or as anybody.
fn may_read(path: &Path, uid: u32) -> bool {
    let has = |path: &Path, right: u32| {
        std::fs::metadata(path).is_ok_and(|found| {
            found.mode() & if found.uid() == uid { right << 6 } else { right } != 0
        })
    };
    std::fs::canonicalize(path)
        .is_ok_and(|path| has(&path, 0o4) && path.ancestors().skip(1).all(|above| has(above, 0o1)))
}
