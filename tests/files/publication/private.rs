//! A42: attacks that would make private files of pgsvid's user, or the key itself, readable for others.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use dev_agent::Stop;
use test_support::{Account, LIMIT, Tmpfs, with_mounts};

use crate::publication::attacker::{attacker, attacks, give_to};
use crate::publication::place::{
    Library, NAMES, Place, assert_published, contents, files, give, material, mode_of, names,
    published, read, set_mode, write,
};

const SECRET: &str = "a secret of the user's";

/// All files in generations that somebody else may read and that hold the text.
fn readable(directory: &Path, text: &str) -> Vec<PathBuf> {
    let generations = names(directory, "..v").into_iter().map(|name| directory.join(name));
    let files = generations.flat_map(|path| fs::read_dir(path).unwrap());
    let files = files.map(|entry| entry.unwrap().path());
    files
        .filter(|path| mode_of(path) & 0o044 != 0)
        .filter(|path| fs::read_to_string(path).unwrap().contains(text))
        .collect()
}

/// Writes a file that nobody but its owner may read.
fn write_private(path: &Path, text: &str) {
    write(path, text);
    set_mode(path, 0o600);
}

#[test]
fn a42_where_others_may_rename_no_file_is_taken_over() {
    with_mounts(|| {
        for group in [None, Some(54321)] {
            let mut library = Library::new();
            library.settings.group = group;
            if group.is_some() {
                library.settings.files = files(0o640);
            }
            let _volume = Tmpfs::over(library.path(), "size=4m,mode=0777");
            let mut publisher = library.open();
            for name in NAMES {
                write_private(&library.path().join("secret"), SECRET);
                // While something of ours is published as well: the attacker moves its link away first.
                attacks(
                    "cd \"$1\"; rm -f ..data; mv secret \"$2\"",
                    &[library.path(), Path::new(name)],
                );
                let (svid, _) = library.publish(&mut publisher);
                assert_eq!(readable(library.path(), SECRET), Vec::<PathBuf>::new(), "{name}");
                assert!(!names(library.path(), "..v").iter().any(|generation| {
                    let path = library.path().join(generation).join(name);
                    fs::read_to_string(path).is_ok_and(|text| text.contains(SECRET))
                }));
                assert!(read(library.path()) == contents(&svid));
            }
        }
    });
}

#[test]
fn a42_a_key_of_our_own_is_not_taken_over_where_others_may_link() {
    let library = Library::new();
    set_mode(library.path(), 0o1777);
    // As with protected_hardlinks=0, once its first name is gone.
    write_private(&library.path().join("svid.pem"), &library.issue().key_pem());
    let svid = library.issue();
    library.open().publish(&material(&svid), &[]).unwrap();
    assert_eq!(readable(library.path(), "PRIVATE KEY"), Vec::<PathBuf>::new());
    assert_eq!(names(library.path(), "..v").len(), 1);
    assert_published(library.path(), &svid);
}

#[test]
fn a42_what_is_taken_over_gets_no_more_readers_than_it_had() {
    let library = Library::new();
    let former = library.issue();
    for (name, content) in NAMES.into_iter().zip(contents(&former)) {
        write_private(&library.path().join(name), &content);
    }
    // Certificate and key in one file, as some programs want it.
    let both = format!("{}{}", former.chain_pem(), former.key_pem());
    write_private(&library.path().join("svid.pem"), &both);
    let svid = library.issue();
    let published = library.open().publish(&material(&svid), &[]).unwrap();
    assert_eq!(published.taken_over.len(), 3);
    assert_published(library.path(), &svid);
    let taken = &names(library.path(), "..v")[0];
    assert_eq!(fs::read_to_string(library.path().join(taken).join("svid.pem")).unwrap(), both);
    assert_eq!(readable(library.path(), "PRIVATE KEY"), Vec::<PathBuf>::new());
}

/// A default list that lets the attacker read (`acl(5)`, the kernel's form of it).
pub(crate) fn default_acl() -> Vec<u8> {
    let entry = |tag: u16, rights: u16, id: u32| {
        [&tag.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let none = u32::MAX;
    let mut list = 2u32.to_le_bytes().to_vec();
    for entry in [
        entry(0x01, 7, none),
        entry(0x02, 7, attacker().uid()),
        entry(0x04, 5, none),
        entry(0x10, 7, none),
        entry(0x20, 5, none),
    ] {
        list.extend(entry);
    }
    list
}

#[test]
fn a42_a_directory_whose_list_gives_others_the_key_is_refused_with_the_command() {
    let place = Place::new();
    let flags = rustix::fs::XattrFlags::empty();
    let name = "system.posix_acl_default";
    // Made by the attacker, and given away as the remedy for its owner says.
    give_to(&attacker(), &place.svids);
    rustix::fs::setxattr(&place.svids, name, &default_acl(), flags).unwrap();
    let error = place.refused();
    assert!(error.contains(&format!("chown -h {}", Account::server().uid())), "{error}");
    give(&place.svids);
    let error = place.refused();
    let command = format!("setfacl -k {}", place.svids.display());
    assert!(error.contains("has a default access control list"), "{error}");
    assert!(error.trim_end().ends_with(&format!("run {command}")), "{error}");
    assert_eq!(fs::read_dir(&place.svids).unwrap().count(), 0);
    let run = Command::new("/bin/sh").args(["-c", &command]).status().unwrap();
    if run.code() == Some(127) {
        // What it does, where the package `acl` is not installed.
        rustix::fs::removexattr(&place.svids, name).unwrap();
    } else {
        assert!(run.success());
    }
    published(&place.run(), 1);
    assert_published(&place.svids, &place.agent.svid());
}

#[test]
fn d08_plain_files_of_a_group_or_with_another_name_stay_until_they_are_replaced() {
    let place = Place::new();
    let former = place.agent.svid();
    for (name, content) in NAMES.into_iter().zip(contents(&former)) {
        write(&place.svids.join(name), &content);
        give(&place.svids.join(name));
    }
    set_mode(&place.svids.join("svid.pem"), 0o664);
    set_mode(&place.svids.join("svid_key.pem"), 0o600);
    let backup = place.other.subdirectory("backup");
    for name in ["svid_key.pem", "svid_bundle.pem"] {
        fs::hard_link(place.svids.join(name), backup.join(name)).unwrap();
    }
    place.agent.stop(Stop::Terminate);
    let pgsvid = place.run();
    pgsvid.wait_for_text(LIMIT, "no agent");
    assert!(read(&place.svids) == contents(&former), "PostgreSQL could start no more");
    place.agent.rotate().unwrap();
    place.agent.restart().unwrap();
    published(&pgsvid, 1);
    assert_published(&place.svids, &place.agent.svid());
    // The backup is what it was.
    assert_eq!(fs::read_to_string(backup.join("svid_key.pem")).unwrap(), former.key_pem());
    assert_eq!(fs::metadata(backup.join("svid_key.pem")).unwrap().nlink(), 1);
}
