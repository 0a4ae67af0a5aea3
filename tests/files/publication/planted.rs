//! A07, A17: a set that another user has created there before the first start, and files too large to be taken over.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use dev_agent::{Entry, Stop};
use pgsvid::material::Expectations;
use pgsvid::publish::{Disowned, Error, Reason, examine, peek};
use pgsvid::timing;
use test_support::{Account, LIMIT, Mark, Program, Setup, Tmpfs, eventually, with_mounts};

use crate::publication::attacker::{attacker, forged, give_to, owner, plant, plant_generation};
use crate::publication::place::{
    ID, Library, NAMES, PGSVID, Place, assert_published, contents, current, give, material, names,
    published, read, said, set_mode, write,
};

pub(crate) const REMOVED: &str = "foreign-files-removed";

/// Everything that an attacker has planted belongs to our own user, as a former run of ours has written it.
fn make_ours(directory: &Path, generation: &Path) {
    let ours = Account::current();
    for path in &NAMES.map(|name| generation.join(name)) {
        give_to(ours, path);
    }
    set_mode(&generation.join("svid_key.pem"), 0o600);
    for path in [generation.to_owned(), directory.join("..data")] {
        give_to(ours, &path);
    }
    for name in NAMES {
        give_to(ours, &directory.join(name));
    }
}

#[test]
fn a07_a_planted_set_is_not_served_without_an_agent_and_the_agents_is() {
    with_mounts(|| {
        let setup = Setup::new(PGSVID);
        let _volume = Tmpfs::over(setup.files.path(), "size=1m,mode=0777");
        let forged = forged();
        plant(setup.files.path(), &forged);
        setup.configure(&format!(
            "[health]\nlisten = 'unix:{}'",
            setup.other.join("status.sock").display()
        ));
        setup.agent.stop(Stop::Terminate);
        let pgsvid = setup.spawn();
        let judged = [REMOVED, "set-adopted"];
        pgsvid.wait_for_event(LIMIT, |event| judged.iter().any(|said| event["event"] == *said));
        let (code, text) = ask(&setup.other.join("status.sock"));
        assert_eq!(code, 503, "{text}");
        // PostgreSQL has nothing that it could start from: no key, and no authority that it would ask clients for.
        for name in NAMES {
            assert!(!setup.files.join(name).exists(), "{name} can be read");
        }
        assert!(setup.cluster.try_start().is_err(), "PostgreSQL starts from the planted set");
        let (told, _) = said(&pgsvid, Mark::default(), REMOVED);
        assert_eq!(told["level"], "WARN", "{told}");
        assert_eq!(told["path"], setup.files.join("..data").display().to_string());

        setup.agent.restart().unwrap();
        setup.wait_published();
        setup.cluster.start();
        pgsvid.current(1);
        assert_published(setup.files.path(), &setup.agent.svid());
    });
}

#[test]
fn a07_fetch_asks_the_agent_instead_of_believing_a_planted_set() {
    with_mounts(|| {
        let place = Place::new();
        let _volume = Tmpfs::over(&place.svids, "size=1m,mode=0777");
        plant(&place.svids, &forged());
        let fetch = fetch(&place, &["--timeout", "30s"]);
        assert!(fetch.wait_exit(LIMIT).success());
        assert!(!fetch.standard_output().contains("published earlier"));
        assert_published(&place.svids, &place.agent.svid());
        assert_eq!(place.agent.activity().requests, 1);
        for name in NAMES {
            assert_eq!(owner(&place.svids.join(name)), Account::server().uid(), "{name}");
        }
    });
}

#[test]
fn a07_in_a_sticky_directory_of_roots_a_planted_set_is_refused_with_the_command_that_removes_it() {
    let place = Place::new();
    give_to(Account::current(), &place.svids);
    set_mode(&place.svids, 0o1777);
    plant(&place.svids, &forged());
    // One error after the other, each with its own command.
    let mut commands = 0;
    let pgsvid = loop {
        let pgsvid = place.run();
        let refused = eventually(LIMIT, "it publishes or ends", || {
            if !pgsvid.is_running() {
                return Some(true);
            }
            let events = pgsvid.lines();
            events.iter().any(|line| line.contains("\"published\"")).then_some(false)
        });
        if !refused {
            break pgsvid;
        }
        // All of its output is there then.
        pgsvid.wait_exit(LIMIT);
        let error = pgsvid.standard_error();
        let (_, command) = error.lines().last().unwrap().rsplit_once("as root, run ").unwrap();
        assert!(command.starts_with(&format!("rm -r {}", place.svids.display())), "{error}");
        let root = std::process::Command::new("/bin/sh").args(["-c", command]).status();
        assert!(root.unwrap().success(), "{command}");
        commands += 1;
    };
    assert_eq!(commands, 4, "..data and three links");
    published(&pgsvid, 1);
    assert_published(&place.svids, &place.agent.svid());
}

#[test]
fn a07_a_set_is_not_taken_over_if_others_could_have_written_any_part_of_it() {
    type Change = (&'static str, fn(&Path), fn(Reason) -> bool);
    let of_another =
        |reason| matches!(reason, Reason::Owner { owner, .. } if owner == attacker().uid());
    let changes: [Change; 8] = [
        ("the generation is another's", |set| give_to(&attacker(), set), of_another),
        ("the key", |set| give_to(&attacker(), &set.join("svid_key.pem")), of_another),
        ("the bundle", |set| give_to(&attacker(), &set.join("svid_bundle.pem")), of_another),
        (
            "a file besides",
            |set| {
                write(&set.join("pg_ident.conf"), "svids /.* postgres\n");
                give_to(&attacker(), &set.join("pg_ident.conf"));
            },
            of_another,
        ),
        (
            "others may write to the generation",
            |set| set_mode(set, 0o777),
            |reason| reason == Reason::Mode(0o777),
        ),
        (
            "its group may write to the bundle",
            |set| set_mode(&set.join("svid_bundle.pem"), 0o664),
            |reason| reason == Reason::Mode(0o664),
        ),
        (
            "a file is a link",
            |set| {
                let bundle = set.join("svid_bundle.pem");
                fs::rename(&bundle, set.with_file_name("elsewhere")).unwrap();
                symlink("../elsewhere", bundle).unwrap();
            },
            |reason| reason == Reason::Kind,
        ),
        (
            "a file is a pipe",
            |set| {
                let bundle = set.join("svid_bundle.pem");
                fs::remove_file(&bundle).unwrap();
                assert!(
                    std::process::Command::new("mkfifo").arg(&bundle).status().unwrap().success()
                );
                set_mode(&bundle, 0o644);
            },
            |reason| reason == Reason::Kind,
        ),
    ];
    for (what, change, is_seen) in changes {
        let library = Library::new();
        let generation = plant(library.path(), &library.issue());
        make_ours(library.path(), &generation);
        change(&generation);
        // Who only looks is told, and not led to it either.
        let expectations = Expectations::default();
        let looked = examine(&library.settings, &expectations, timing::now()).unwrap();
        assert!(!matches!(looked.set, Some(Ok(_))), "{what}");
        let peeked = peek(&library.settings, &expectations, timing::now());
        assert!(
            matches!(peeked, Err(Error::NotOurs(ref found)) if is_seen(found.reason)),
            "{what}"
        );

        let mut publisher = library.open();
        let found = publisher.existing(&expectations, timing::now()).unwrap();
        assert!(found.is_none(), "{what}: it is adopted");
        let told = publisher.take_disowned();
        let [Disowned { found, removed: true }] = told.as_slice() else {
            panic!("{what}: {told:?}")
        };
        assert!(is_seen(found.reason), "{what}: {found}");
        for name in NAMES {
            assert!(!library.path().join(name).exists(), "{what}: {name} can be read");
        }
        let (svid, _) = library.publish(&mut publisher);
        assert_published(library.path(), &svid);
    }
}

#[test]
fn a07_a_set_of_our_own_is_adopted_with_any_modes_that_the_former_run_has_set() {
    for modes in [[0o644, 0o600, 0o644], [0o440, 0o400, 0o440], [0o600, 0o640, 0o600]] {
        let library = Library::new();
        let svid = library.issue();
        let generation = plant(library.path(), &svid);
        for (name, mode) in NAMES.into_iter().zip(modes) {
            set_mode(&generation.join(name), mode);
        }
        make_ours(library.path(), &generation);
        let mut publisher = library.open();
        let found = publisher.existing(&Expectations::default(), timing::now()).unwrap();
        assert!(found.unwrap().publishes_as(&material(&svid)), "{modes:?}");
        assert!(publisher.take_disowned().is_empty());
    }
}

#[test]
fn a07_a_name_that_another_user_has_chosen_gets_into_no_command() {
    let library = Library::new();
    let generation = plant(library.path(), &library.issue());
    make_ours(library.path(), &generation);
    let hostile = generation.join("$(reboot)\n;reboot");
    write(&hostile, "");
    give_to(&attacker(), &hostile);
    let expectations = Expectations::default();
    let looked = peek(&library.settings, &expectations, timing::now());
    assert!(matches!(looked, Err(Error::NotOurs(found)) if found.path == generation));
    let mut publisher = library.open();
    assert!(publisher.existing(&expectations, timing::now()).unwrap().is_none());
    assert_eq!(publisher.take_disowned()[0].found.path, generation);
}

#[test]
fn a07_a_set_of_our_own_is_adopted_in_a_volume_with_a_group_as_fs_group_makes_it() {
    with_mounts(|| {
        let library = Library::new();
        let _volume = Tmpfs::over(library.path(), "size=1m,mode=2777,gid=54321");
        let (svid, _) = library.publish(&mut library.open());
        let mut publisher = library.open();
        let found = publisher.existing(&Expectations::default(), timing::now()).unwrap();
        assert!(found.unwrap().publishes_as(&material(&svid)));
        assert!(publisher.is_intact() && publisher.take_disowned().is_empty());
    });
}

#[test]
fn a07_a_set_that_root_has_published_is_reported_and_stays_until_our_own_replaces_it() {
    let place = Place::new();
    let former = place.agent.svid();
    let generation = plant(&place.svids, &former);
    make_ours(&place.svids, &generation);
    place.agent.rotate().unwrap();
    place.agent.remove_entries();
    let pgsvid = place.run();
    let (told, _) = said(&pgsvid, Mark::default(), "foreign-set-kept");
    assert_eq!(told["level"], "WARN", "{told}");
    place.agent.wait_until(LIMIT, |activity| activity.requests > 0).unwrap();
    assert_eq!(read(&place.svids), contents(&former));
    place.agent.add_entry(Entry::new(ID).dns("localhost")).unwrap();
    published(&pgsvid, 1);
    assert_published(&place.svids, &place.agent.svid());
    assert_eq!(owner(&place.svids.join(current(&place.svids))), Account::server().uid());
}

#[test]
fn a07_directories_of_others_are_neither_emptied_nor_counted_where_they_may_rename() {
    with_mounts(|| {
        let library = Library::new();
        let _volume = Tmpfs::over(library.path(), "size=4m,mode=0777");
        let mut publisher = library.open();
        let (_, first) = library.publish(&mut publisher);
        // A directory that the attacker wants emptied, and many that the attacker wants kept instead of ours.
        let wanted = plant_generation(library.path(), &library.issue());
        set_mode(&wanted, 0o700);
        for number in 0..20 {
            let path = library.path().join(format!("..v29990101T000000000Z-{number:08x}"));
            fs::create_dir(&path).unwrap();
            give_to(&attacker(), &path);
        }
        drop(publisher);
        let mut publisher = library.open();
        library.publish(&mut publisher);
        publisher.sweep(timing::now());
        assert_eq!(fs::read_dir(&wanted).unwrap().count(), NAMES.len());
        assert!(names(library.path(), "..v").contains(&first), "the one before has its minute");
    });
}

#[test]
fn a07_plain_files_are_taken_over_only_if_nobody_else_could_have_written_them() {
    let place = Place::new();
    let former = place.agent.svid();
    for (name, content) in NAMES.into_iter().zip(contents(&former)) {
        write(&place.svids.join(name), &content);
        set_mode(&place.svids.join(name), 0o600);
        give(&place.svids.join(name));
    }
    give_to(&attacker(), &place.svids.join("svid_bundle.pem"));
    set_mode(&place.svids.join("svid.pem"), 0o666);
    place.agent.remove_entries();
    let pgsvid = place.run();
    let (_, mark) = said(&pgsvid, Mark::default(), REMOVED);
    said(&pgsvid, mark, REMOVED);
    let left = NAMES.map(|name| place.svids.join(name).exists());
    assert_eq!(left, [false, true, false]);
}

#[test]
fn a17_a_large_plain_file_is_refused_and_costs_no_memory() {
    let place = Place::new();
    let bundle = place.svids.join("svid_bundle.pem");
    let large = fs::File::create(&bundle).unwrap();
    large.set_len(64 * 1024 * 1024).unwrap();
    give(&bundle);
    let error = place.refused();
    assert!(error.contains("is a plain file of 67108864 bytes"), "{error}");
    assert_eq!(fs::metadata(&bundle).unwrap().len(), 64 * 1024 * 1024, "it is left alone");
    // Of the largest that there may be, the content is kept.
    large.set_len(1024 * 1024).unwrap();
    let pgsvid = place.run();
    published(&pgsvid, 1);
    assert_published(&place.svids, &place.agent.svid());
}

#[test]
fn a17_a_large_file_in_a_set_is_not_read() {
    let place = Place::new();
    let generation = plant(&place.svids, &place.agent.svid());
    for path in [generation.clone(), place.svids.join("..data")] {
        give(&path);
    }
    for name in NAMES {
        give(&generation.join(name));
        give(&place.svids.join(name));
    }
    let bundle = fs::File::options().write(true).open(generation.join("svid_bundle.pem")).unwrap();
    bundle.set_len(64 * 1024 * 1024).unwrap();
    place.agent.remove_entries();
    // It asks the agent when it has looked at what is there.
    let pgsvid = fetch(&place, &["--timeout", "1h"]);
    place.agent.wait_until(LIMIT, |activity| activity.requests > 0).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", pgsvid.process().0)).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 64 * 1024, "{peak} KiB");
}

fn fetch(place: &Place, more: &[&str]) -> Program {
    let mut arguments = place.arguments();
    "fetch".clone_into(&mut arguments[0]);
    arguments.extend(more.iter().map(|text| (*text).to_owned()));
    Program::spawn(PGSVID, arguments, &[])
}

/// Status and body of `/readyz`.
#[track_caller]
pub(crate) fn ask(socket: &Path) -> (u16, String) {
    use std::io::{Read as _, Write as _};
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}
