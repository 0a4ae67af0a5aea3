//! A09: a user who may rename a directory above the published one can replace it while PostgreSQL reads.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use pgsvid::material::Expectations;
use pgsvid::publish::{Error, Publisher, Trust, examine};
use pgsvid::timing;
use serde_json::Value;
use test_support::{Account, Directory, LIMIT, Mark, Program, Tmpfs, eventually, with_mounts};

use crate::publication::attacker::{attacker, attacks, forged, give_to, link, plant};
use crate::publication::place::{
    Library, NAMES, PGSVID, Place, assert_published, contents, give, material, open, published,
    read, said, set_mode, settings,
};

/// A place whose published directory lies one directory deeper: `parent/svids`.
fn deeper() -> (Place, PathBuf) {
    let mut place = Place::new();
    let parent = place.other.subdirectory("parent");
    place.svids = parent.join("svids");
    fs::create_dir(&place.svids).unwrap();
    give(&place.svids);
    (place, parent)
}

#[test]
fn a09_where_another_can_exchange_the_directory_nothing_is_published() {
    let (place, parent) = deeper();
    set_mode(&parent, 0o777);
    // The attack: for as long as a reload takes, another directory is there.
    let evil = place.other.subdirectory("evil");
    let forged = forged();
    plant(&evil, &forged);
    give_to(&attacker(), &evil);
    fs::rename(&evil, parent.join("evil")).unwrap();
    attacks("cd \"$1\"; mv svids away; mv evil svids", &[&parent]);
    assert_eq!(read(&place.svids)[2], contents(&forged)[2]);
    attacks("cd \"$1\"; mv svids evil; mv away svids", &[&parent]);

    let error = place.refused();
    let (_, command) = error.lines().last().unwrap().rsplit_once("; run ").unwrap();
    assert_eq!(command, format!("chmod go-w {}", parent.display()), "{error}");
    assert_eq!(fs::read_dir(&place.svids).unwrap().count(), 0);
    assert!(Command::new("/bin/sh").args(["-c", command]).status().unwrap().success());
    published(&place.run(), 1);
    assert_published(&place.svids, &place.agent.svid());
}

#[test]
fn a09_each_ancestor_is_judged_as_sshd_does() {
    let directory = Directory::new();
    let ours = Account::current();
    let parent = directory.subdirectory("parent");
    let above = directory.path().to_owned();
    let svids = parent.join("svids");
    fs::create_dir(&svids).unwrap();
    for path in [&above, &parent] {
        give_to(ours, path);
    }
    let judged = || Publisher::open(settings(&svids)).map(|opened| opened.trust());
    for ancestor in [&above, &parent] {
        for mode in [0o777, 0o775, 0o2775, 0o757] {
            set_mode(ancestor, mode);
            let found = judged();
            assert!(
                matches!(&found, Err(Error::WritableAncestor { ancestor: found, mode: seen, .. })
                    if found == ancestor && *seen == mode),
                "{mode:o}: {found:?}"
            );
        }
        // In a sticky directory nobody can rename what is ours.
        for mode in [0o1777, 0o755, 0o711] {
            set_mode(ancestor, mode);
            assert!(matches!(judged(), Ok(Trust::Exclusive)), "{mode:o}");
        }
        set_mode(ancestor, 0o755);
        // PostgreSQL's user, too, could lead root elsewhere.
        for another in [&attacker(), Account::server()] {
            give_to(another, ancestor);
            let found = judged();
            assert!(
                matches!(&found, Err(Error::ForeignAncestor { ancestor: found, owner, .. })
                    if found == ancestor && *owner == another.uid()),
                "{found:?}"
            );
        }
        give_to(ours, ancestor);
    }
}

#[test]
fn a09_links_on_the_way_are_followed_and_each_is_judged() {
    let directory = Directory::new();
    let ours = Account::current();
    give_to(ours, directory.path());
    let path = |name: &str| directory.join(name);
    for name in ["real", "real/svids", "way", "open", "open/closed"] {
        fs::create_dir(path(name)).unwrap();
    }
    symlink("../real/../real", path("way/relative")).unwrap();
    symlink(path("way/relative/svids"), path("absolute")).unwrap();
    let judged = |name: &str| Publisher::open(settings(&path(name))).map(|opened| opened.trust());
    assert!(matches!(judged("absolute"), Ok(Trust::Exclusive)), "{:?}", judged("absolute"));
    // The directory that holds a link counts, though it is none of the directory's own ancestors.
    set_mode(&path("way"), 0o777);
    let found = judged("absolute");
    assert!(
        matches!(&found, Err(Error::WritableAncestor { ancestor, .. }) if *ancestor == path("way")),
        "{found:?}"
    );
    assert!(judged("real/svids").is_ok());
    // With the sticky bit it does not, unless the link is another's.
    set_mode(&path("way"), 0o1777);
    assert!(judged("absolute").is_ok());
    link(&path("way"), "relative", "../real");
    let found = judged("absolute");
    assert!(
        matches!(&found, Err(Error::ForeignAncestor { ancestor, owner, .. })
            if *ancestor == path("way/relative") && *owner == attacker().uid()),
        "{found:?}"
    );
    // A way through a directory and back is one through it.
    set_mode(&path("open"), 0o777);
    assert!(matches!(judged("open/closed/../../real/svids"), Err(Error::WritableAncestor { .. })));
    symlink("loop", path("loop")).unwrap();
    assert!(matches!(judged("loop"), Err(Error::Open { .. })));
}

#[test]
fn a09_in_a_mount_of_its_own_a_directory_is_taken_with_a_warning() {
    with_mounts(|| {
        let mut place = Place::new();
        let _volume = Tmpfs::over(&place.svids, "size=1m,mode=0777");
        place.svids.push("inner");
        fs::create_dir(&place.svids).unwrap();
        give(&place.svids);
        let pgsvid = place.run();
        published(&pgsvid, 1);
        let warning = pgsvid.wait_for_event(LIMIT, |event| event["level"] == "WARN");
        assert_eq!(warning["mode"], "0777", "{warning}");
        assert_published(&place.svids, &place.agent.svid());
    });
}

#[test]
fn a09_an_ancestor_that_others_come_to_write_to_stops_the_next_publication() {
    let library = Library::new();
    let parent = library.path().to_owned();
    let svids = parent.join("svids");
    fs::create_dir(&svids).unwrap();
    let mut publisher = open(&settings(&svids));
    let first = library.issue();
    publisher.publish(&material(&first), &[]).unwrap();
    set_mode(&parent, 0o777);
    assert!(!publisher.is_intact());
    let refused = publisher.publish(&material(&library.issue()), &[]);
    assert!(matches!(refused, Err(Error::WritableAncestor { .. })), "{refused:?}");
    assert_eq!(read(&svids), contents(&first));
    set_mode(&parent, 0o755);
    let next = library.issue();
    publisher.publish(&material(&next), &[]).unwrap();
    assert_published(&svids, &next);
}

#[test]
fn a09_the_running_daemon_names_the_ancestor_and_goes_on_when_it_is_closed_again() {
    let (place, parent) = deeper();
    let pgsvid = place.run();
    published(&pgsvid, 1);
    set_mode(&parent, 0o777);
    place.agent.rotate().unwrap();
    let (alarm, mark) = said(&pgsvid, Mark::default(), "publication-failed");
    assert!(alarm["error"].as_str().unwrap().contains(&parent.display().to_string()), "{alarm}");
    set_mode(&parent, 0o755);
    said(&pgsvid, mark, "published");
    // What was published before may be published again first.
    let newest = place.agent.svid();
    eventually(LIMIT, "the newest is published", || read(&place.svids) == contents(&newest));
    assert_published(&place.svids, &newest);
}

#[test]
fn a09_check_reports_a_parent_directory_that_its_group_may_write_to() {
    let (place, parent) = deeper();
    published(&place.run(), 1);
    let failures = |place: &Place| -> Vec<String> {
        let mut arguments = place.arguments();
        "check".clone_into(&mut arguments[0]);
        arguments.truncate(arguments.len() - 2);
        arguments.extend(["--format", "json"].map(str::to_owned));
        let check = Program::spawn(PGSVID, arguments, &[]);
        check.wait_exit(LIMIT);
        let report: Value = serde_json::from_str(&check.standard_output()).unwrap();
        let mut failures = Vec::new();
        let sections = report["sections"].as_array().unwrap();
        for finding in sections.iter().flat_map(|section| section["findings"].as_array().unwrap()) {
            if finding["severity"] == "failure" {
                failures.push(finding.to_string());
            }
        }
        failures
    };
    assert_eq!(failures(&place), [""; 0]);
    set_mode(&parent, 0o775);
    let found = failures(&place);
    assert!(found.len() == 1 && found[0].contains(&parent.display().to_string()), "{found:?}");
    // Root looks as the directory's owner does: to that one it is no other's.
    set_mode(&parent, 0o755);
    let looked = examine(&settings(&place.svids), &Expectations::default(), timing::now()).unwrap();
    assert!(matches!(looked.trust, Err(Error::WrongOwner { ours: 0, .. })), "{:?}", looked.trust);
    assert!(matches!(looked.set, Some(Ok(_))));
    eventually(LIMIT, "all names are there", || {
        NAMES.iter().all(|name| Path::new(&place.svids).join(name).exists())
    });
}

#[test]
fn a09_check_judges_the_path_that_readers_take_as_well() {
    let place = Place::new();
    published(&place.run(), 1);
    let open = place.other.subdirectory("open");
    symlink(&place.svids, open.join("certs")).unwrap();
    give(&open.join("certs"));
    let seen_as = |path: &Path| {
        let text = format!("[files]\nseen_as = '{}'", path.display());
        let file = place.other.write("check.toml", text, 0o644).display().to_string();
        let mut arguments = place.arguments();
        "check".clone_into(&mut arguments[0]);
        arguments.truncate(arguments.len() - 2);
        arguments.extend(["--format", "json", "--config", &file].map(str::to_owned));
        let check = Program::spawn(PGSVID, arguments, &[]);
        check.wait_exit(LIMIT);
        let report: Value = serde_json::from_str(&check.standard_output()).unwrap();
        let findings = report["sections"].as_array().unwrap().iter();
        let findings = findings.flat_map(|section| section["findings"].as_array().unwrap());
        let told = findings.filter(|finding| finding["text"].to_string().contains("seen_as"));
        told.cloned().collect::<Vec<_>>()
    };
    assert_eq!(seen_as(&open.join("certs")), [Value::Null; 0]);
    set_mode(&open, 0o777);
    let told = seen_as(&open.join("certs"));
    assert_eq!((told.len(), &told[0]["severity"]), (1, &"warning".into()), "{told:?}");
    let command = told[0]["fix"].as_str().unwrap().strip_suffix(", as its owner").unwrap();
    assert_eq!(command, format!("chmod go-w {}", open.display()));
    assert!(Command::new("/bin/sh").args(["-c", command]).status().unwrap().success());
    assert_eq!(seen_as(&open.join("certs")), [Value::Null; 0]);
    // Another's link there leads to the same place for as long as its owner wants.
    link(&open, "certs", &place.svids.display().to_string());
    let told = seen_as(&open.join("certs"));
    assert_eq!((told.len(), &told[0]["severity"]), (1, &"warning".into()), "{told:?}");
    // Where the path leads elsewhere, it is the one of another container.
    assert_eq!(seen_as(&place.other.subdirectory("elsewhere")), [Value::Null; 0]);
}

/// The kubelet gives each directory of a volume the group of a pod's fsGroup, with the setgid bit, at each start.
#[test]
fn f49_a_directory_that_fsgroup_widens_at_each_start_has_a_remedy_that_lasts() {
    with_mounts(|| {
        let place = Place::new();
        set_mode(&place.svids, 0o2775);
        let pgsvid = place.run();
        assert!(!pgsvid.wait_exit(LIMIT).success());
        let said = pgsvid.standard_error();
        assert!(
            said.contains("leave fsGroup out") && said.contains("emptyDir of its own"),
            "{said}"
        );
        // An emptyDir of its own, with the same mode.
        let account = Account::server();
        let options = format!("size=1m,mode=2775,uid={},gid={}", account.uid(), account.gid());
        let _volume = Tmpfs::over(&place.svids, &options);
        let pgsvid = place.run();
        published(&pgsvid, 1);
        assert_published(&place.svids, &place.agent.svid());
    });
}
