//! Another user of the machine, and the files that this user puts into a directory with write permission.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dev_agent::{Authority, Entry, Svid};
use test_support::{Account, LIMIT, Program};

use crate::publication::place::{ID, NAMES, contents, set_mode, write};

/// A user who is neither root nor PostgreSQL's. Only root can act for this user.
pub(crate) fn attacker() -> Account {
    Account::third().expect("attacks by another user need root: sudo scripts/test")
}

/// An SVID of the same name from the attacker's own authority, for ten years.
pub(crate) fn forged() -> Svid {
    let authority = Authority::new("example.org", false).unwrap();
    let ten_years = Duration::from_secs(10 * 365 * 24 * 3600);
    authority.issue(&Entry::new(ID).dns("localhost").ttl(ten_years)).unwrap()
}

/// Runs a script of the shell as this user, with `$1` and so on; it has to succeed.
#[track_caller]
pub(crate) fn attacks(script: &str, arguments: &[&Path]) {
    let mut all = vec!["-ec".to_owned(), script.to_owned(), "sh".to_owned()];
    all.extend(arguments.iter().map(|path| path.display().to_string()));
    let shell = Program::spawn_as(&attacker(), "/bin/sh", all, &[]);
    assert!(shell.wait_exit(LIMIT).success(), "{}", shell.standard_error());
}

/// Makes a generation with an SVID, the link to it, and the links of the stable names, as the attacker would.
pub(crate) fn plant(directory: &Path, svid: &Svid) -> PathBuf {
    let generation = plant_generation(directory, svid);
    link(directory, "..data", &generation.file_name().unwrap().display().to_string());
    for name in NAMES {
        link(directory, name, &format!("..data/{name}"));
    }
    generation
}

/// Makes the generation alone.
pub(crate) fn plant_generation(directory: &Path, svid: &Svid) -> PathBuf {
    let generation = directory.join("..v20261123T200000000Z-00000001");
    fs::create_dir(&generation).unwrap();
    for (name, content) in NAMES.into_iter().zip(contents(svid)) {
        let path = generation.join(name);
        write(&path, &content);
        // The key, too: pgsvid has to be able to read it.
        set_mode(&path, 0o644);
        give_to(&attacker(), &path);
    }
    set_mode(&generation, 0o755);
    give_to(&attacker(), &generation);
    generation
}

/// Makes a link of this user's, which replaces what is there.
pub(crate) fn link(directory: &Path, name: &str, target: &str) {
    let fresh = directory.join("fresh");
    symlink(target, &fresh).unwrap();
    give_to(&attacker(), &fresh);
    fs::rename(fresh, directory.join(name)).unwrap();
}

pub(crate) fn give_to(account: &Account, path: &Path) {
    std::os::unix::fs::lchown(path, Some(account.uid()), Some(account.gid())).unwrap();
}

/// The owner of a file or link, followed by none.
pub(crate) fn owner(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().uid()
}
