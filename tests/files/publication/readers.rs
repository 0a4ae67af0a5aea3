//! What readers see while sets are swapped: always one whole set.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use dev_agent::{Authority, Entry};
use pgsvid::material::{Expectations, Material, pem};
use pgsvid::timing;
use rustix::fs::{Mode, OFlags};
use test_support::with_mounts;

use crate::publication::place::{
    Done, ID, Library, NAMES, contents, current, material, names, read, set_mode, write,
};

const PUBLICATIONS: usize = 2000;

#[test]
fn through_one_opened_directory_no_reader_sees_a_mixed_or_partial_set() {
    with_mounts(|| {
        let mut library = Library::new();
        let _volume = library.in_memory();
        // A reader has as long as so many publications take, and a busy machine may hold it up.
        library.settings.keep_at_most = 500;
        read_while_publishing(&library);
    });
}

fn read_while_publishing(library: &Library) {
    let directory = library.path();
    let materials = materials();
    let mut publisher = library.open();
    publisher.publish(&materials[0], &[]).unwrap();

    let done = AtomicBool::new(false);
    let (sets, by_name) = thread::scope(|scope| {
        let whole = [0, 1].map(|_| scope.spawn(|| read_whole_sets(directory, &done)));
        let by_name = scope.spawn(|| read_by_name(directory, &done));
        let until = Done(&done);
        for number in 1..=PUBLICATIONS {
            publisher.publish(&materials[number % materials.len()], &[]).unwrap();
            if number % 16 == 0 {
                publisher.sweep(timing::now());
            }
        }
        drop(until);
        (whole.map(|reader| reader.join().unwrap()), by_name.join().unwrap())
    });
    for (reads, swaps, different) in sets {
        println!("{reads} reads of whole sets, {swaps} swaps seen: none mixed");
        assert_eq!(different, materials.len(), "every set was seen");
        assert!(swaps > 50, "{swaps} swaps in {reads} reads");
    }
    // Stable names are for those who cannot do better. Measured, not asserted.
    println!("by stable names: {} of {} reads were mixed", by_name.1, by_name.0);
}

/// Reads sets until told to stop, and checks each that it has not seen before. Returns how many it has read, how
/// often the next was another one, and how many different ones there were.
fn read_whole_sets(directory: &Path, done: &AtomicBool) -> (usize, usize, usize) {
    let (mut reads, mut swaps, mut last) = (0, 0, 0);
    let mut known = HashMap::new();
    while !done.load(Ordering::Relaxed) {
        let set = read_set(directory);
        assert!(known.contains_key(&set) || is_valid(&set), "a mixed or partial set: {set:?}");
        let next = known.len();
        let number = *known.entry(set).or_insert(next);
        swaps += usize::from(number != last);
        last = number;
        reads += 1;
    }
    (reads, swaps, known.len())
}

/// The same through the stable names; returns how many sets it has read, and how many were mixed.
fn read_by_name(directory: &Path, done: &AtomicBool) -> (usize, usize) {
    let (mut reads, mut mixed) = (0, 0);
    let mut known = HashMap::new();
    while !done.load(Ordering::Relaxed) {
        let set = read(directory);
        let valid = *known
            .entry(set)
            .or_insert_with_key(|set| is_valid(&set.clone().map(String::into_bytes)));
        mixed += usize::from(!valid);
        reads += 1;
    }
    (reads, mixed)
}

/// Opens `..data` once, and everything else relative to it.
fn read_set(directory: &Path) -> [Vec<u8>; 3] {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let within: OwnedFd = rustix::fs::open(directory.join("..data"), flags, Mode::empty()).unwrap();
    NAMES.map(|name| {
        let file = rustix::fs::openat(&within, name, OFlags::RDONLY, Mode::empty());
        let mut bytes = Vec::new();
        File::from(file.unwrap()).read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// Key and leaf belong together, and so do leaf and bundle.
fn is_valid([certificate, key, bundle]: &[Vec<u8>; 3]) -> bool {
    let now = timing::now();
    pem::decode_material(certificate, key, bundle, &Expectations::default(), now).is_ok()
}

/// Eight SVIDs, in turn of two authorities that know nothing of each other.
fn materials() -> Vec<Material> {
    let authorities = [0, 1].map(|_| Authority::new("example.org", false).unwrap());
    let entry = Entry::new(ID).dns("localhost");
    let issue = |number: usize| material(&authorities[number % 2].issue(&entry).unwrap());
    (0..8).map(issue).collect()
}

/// Whatever happens in whatever order: once the publisher has had its turn, the stable names are one valid set.
#[test]
fn after_any_sequence_of_publications_and_tamperings_the_set_is_whole() {
    with_mounts(|| {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..40 {
            let mut library = Library::new();
            let _volume = library.in_memory();
            library.settings.keep_at_most = random.usize(2..6);
            library.settings.keep_until_expiry = random.bool();
            sequence(&library, &mut random);
        }
    });
}

fn sequence(library: &Library, random: &mut fastrand::Rng) {
    let mut history: Vec<String> = Vec::new();
    let mut publisher = library.open();
    let mut svid = library.issue();
    publisher.publish(&material(&svid), &[]).unwrap();
    for _ in 0..25 {
        match random.u8(0..4) {
            0 => {
                history.push("publish".to_owned());
                svid = library.issue();
                publisher.publish(&material(&svid), &[]).unwrap();
            }
            1 => {
                history.push("open again".to_owned());
                drop(publisher);
                publisher = library.open();
                let found = publisher.existing(&Expectations::default(), timing::now()).unwrap();
                // A set of an earlier run counts only if it is whole.
                if let Some(found) = found {
                    assert!(is_valid(&read_set(library.path())), "{history:#?}");
                    svid = [svid, library.issue()]
                        .into_iter()
                        .find(|svid| material(svid).publishes_as(&found))
                        .unwrap_or_else(|| panic!("another set was found: {history:#?}"));
                }
            }
            2 => {
                history.push("sweep".to_owned());
                publisher.sweep(timing::now() + Duration::from_secs(random.u64(0..7200)));
            }
            _ => history.push(tamper(library.path(), random)),
        }
        // What the daemon does whenever something has changed.
        if !publisher.is_intact() {
            history.push("restore".to_owned());
            publisher.publish(&material(&svid), &[]).unwrap();
        }
        assert!(publisher.is_intact(), "{history:#?}");
        assert_eq!(read(library.path()), contents(&svid), "{history:#?}");
        assert!(names(library.path(), "..v").contains(&current(library.path())), "{history:#?}");
        assert_eq!(names(library.path(), "..tmp-"), [""; 0], "{history:#?}");
    }
}

/// Does something to the directory; returns what.
fn tamper(directory: &Path, random: &mut fastrand::Rng) -> String {
    let name = NAMES[random.usize(0..3)];
    let (stable, actual) = (directory.join(name), directory.join("..data").join(name));
    let generation = directory.join(current(directory));
    match random.u8(0..8) {
        0 => {
            write(&stable, "nonsense");
            format!("edit {name}")
        }
        1 => {
            std::fs::remove_file(stable).unwrap();
            format!("delete the link {name}")
        }
        2 => {
            std::fs::remove_file(actual).unwrap();
            format!("delete the file {name}")
        }
        3 => {
            set_mode(&stable, random.u32(0..0o1000));
            format!("change the mode of {name}")
        }
        4 => {
            std::fs::remove_file(directory.join("..data")).unwrap();
            "delete ..data".to_owned()
        }
        5 => {
            std::fs::remove_dir_all(generation).unwrap();
            "delete the generation".to_owned()
        }
        6 => {
            std::fs::remove_file(&stable).unwrap();
            write(&stable, "plain");
            format!("put a plain file at {name}")
        }
        _ => {
            let all = names(directory, "..v");
            let other = &all[random.usize(0..all.len())];
            std::os::unix::fs::symlink(other, directory.join("link")).unwrap();
            std::fs::rename(directory.join("link"), directory.join("..data")).unwrap();
            format!("turn ..data to {other}")
        }
    }
}
