//! Tests the published directory against a model: after any operations in any order, PostgreSQL can start from it.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dev_agent::{Authority, Entry, Svid};
use tempfile::TempDir;
use test_support::{Dice, checked, eventually};

use super::seam::killed_after;
use super::{Error, Files, Publisher, Settings};
use crate::material::Expectations;
use crate::timing;

const NAMES: [&str; 3] = ["svid.pem", "svid_key.pem", "svid_bundle.pem"];
const SEED: &str = "MODEL_SEED";
const SEQUENCES: u64 = 200;
const LONGEST: u32 = 16;
/// More than any publication and its sweep take.
const MOST_STEPS: u32 = 60;

/// Certificate, key and bundle on disk.
type Set = [String; 3];

#[test]
fn d13_d11_any_sequence_of_publish_kill_tamper_and_restart_leaves_what_postgresql_starts_from() {
    let authority = Authority::new("example.org", false).unwrap();
    let svids: Vec<Svid> = (0..6)
        .map(|_| authority.issue(&Entry::new("spiffe://example.org/db").dns("db")).unwrap())
        .collect();
    let first = Dice::from_environment(SEED).seed();
    let mut kills = 0;
    for seed in first..first + SEQUENCES {
        let mut dice = Dice::from_seed(seed);
        let mut model = Model::new(seed, &svids, &mut dice);
        for _ in 0..dice.between(1..=LONGEST) {
            model.turn(&mut dice);
            model.assert_invariant();
        }
        kills += model.kills;
    }
    assert!(kills > 150, "{kills} kills only");
}

#[test]
fn d05_writes_that_are_short_or_interrupted_are_completed() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new("example.org", false).unwrap();
    let svid = authority.issue(&Entry::new("spiffe://example.org/db")).unwrap();
    let mut publisher = Publisher::open(settings(directory.path())).unwrap();
    // The seam writes a hundred bytes at a time, and every third write fails.
    publisher.publish(&checked(&svid, timing::now()), &[]).unwrap();
    assert!(read(directory.path()) == Some(contents(&svid)));
}

#[test]
fn a75_a_set_whose_group_could_write_it_is_taken_over_whole_and_does_not_count_as_ours() {
    let authority = Authority::new("example.org", false).unwrap();
    let entry = Entry::new("spiffe://example.org/db").dns("db");
    let [former, next] = [(); 2].map(|()| authority.issue(&entry).unwrap());
    for steps in 0.. {
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let path = directory.path();
        for ((name, content), mode) in
            NAMES.iter().zip(contents(&former)).zip([0o664, 0o640, 0o664])
        {
            write(&path.join(name), &content);
            set_mode(&path.join(name), mode);
        }
        let files = Files::new(NAMES.map(str::to_owned), 0o640, 0o644);
        let settings = Settings { files, ..settings(path) };
        let publish = || {
            let mut publisher = Publisher::open(settings.clone()).unwrap();
            publisher.publish(&checked(&next, timing::now()), &[]).unwrap();
        };
        let done = killed_after(steps, publish).is_some();
        let found = read(path).unwrap();
        assert!(
            [contents(&former), contents(&next)].contains(&found),
            "killed after {steps} steps"
        );
        let mut publisher = eventually(Duration::from_secs(10), "the former lock is gone", || {
            Publisher::open(settings.clone()).ok()
        });
        assert!(read(path).is_some_and(|again| again == found), "a start changes nothing");
        let counts = publisher.existing(&Expectations::default(), timing::now()).unwrap();
        // Only what is published counts.
        let is_next = fs::read_to_string(path.join("..data/svid.pem"))
            .is_ok_and(|leaf| leaf == next.chain_pem());
        assert_eq!(counts.is_some(), is_next, "killed after {steps} steps");
        publisher.publish(&checked(&next, timing::now()), &[]).unwrap();
        assert!(publisher.is_intact() && read(path) == Some(contents(&next)));
        if done {
            assert!(steps > 20, "{steps} steps only");
            return;
        }
    }
}

struct Model<'a> {
    directory: TempDir,
    publisher: Option<Publisher>,
    svids: &'a [Svid],
    /// The sets that may be on disk now; empty while nothing was ever published.
    possible: BTreeSet<Set>,
    /// Whether somebody has tampered with it: then nothing is certain until the next publication.
    tampered: bool,
    kills: u32,
    /// The operations so far, to explain a failure.
    history: Vec<String>,
}

impl<'a> Model<'a> {
    /// An empty directory, or one with plain files of another helper.
    fn new(seed: u64, svids: &'a [Svid], dice: &mut Dice) -> Self {
        // In memory, where syncing costs nothing.
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let mut model = Self {
            directory,
            publisher: None,
            svids,
            possible: BTreeSet::new(),
            tampered: false,
            kills: 0,
            history: vec![format!("{SEED}={seed}")],
        };
        if dice.once_in(2) {
            model.history.push("plain files".to_owned());
            let set = contents(dice.one_of(svids));
            for (name, content) in NAMES.iter().zip(&set) {
                write(&model.path(name), content);
                set_mode(&model.path(name), 0o600);
            }
            model.possible.insert(set);
        }
        model
    }

    fn turn(&mut self, dice: &mut Dice) {
        match dice.between(0..=9) {
            0..=2 => self.publish(dice),
            3..=6 => self.publish_and_be_killed(dice),
            7 => self.tamper(dice),
            8 => self.start(),
            _ => self.be_killed_at_start(dice),
        }
    }

    /// A start finds what is published, and removes leftovers.
    fn start(&mut self) {
        self.history.push("start".to_owned());
        self.publisher = None;
        let mut publisher = open(self.directory.path());
        let found = publisher.existing(&Expectations::default(), timing::now()).unwrap();
        if !self.tampered {
            let has_links = fs::symlink_metadata(self.path("..data")).is_ok();
            assert_eq!(found.is_some(), has_links, "{:?}", self.history);
            let names = self.entries();
            assert!(!names.iter().any(|name| name.starts_with("..tmp-")), "{names:?}");
        }
        self.publisher = Some(publisher);
    }

    fn be_killed_at_start(&mut self, dice: &mut Dice) {
        let steps = dice.between(0..=10);
        self.history.push(format!("start, killed after {steps} steps"));
        self.publisher = None;
        let directory = self.directory.path().to_owned();
        if killed_after(steps, || open(&directory)).is_none() {
            self.kills += 1;
        }
    }

    fn publish(&mut self, dice: &mut Dice) {
        if self.publisher.is_none() {
            self.start();
        }
        let svid = dice.one_of(self.svids);
        self.history.push(format!("publish {}", svid.serial_hex()));
        let publisher = self.publisher.as_mut().unwrap();
        publisher.publish(&checked(svid, timing::now()), &[]).unwrap();
        publisher.sweep(timing::now());
        assert!(
            publisher.is_intact() && publisher.holds(&checked(svid, timing::now()), &[]),
            "{:?}",
            self.history
        );
        self.possible = BTreeSet::from([contents(svid)]);
        self.tampered = false;
    }

    fn publish_and_be_killed(&mut self, dice: &mut Dice) {
        if self.publisher.is_none() {
            self.start();
        }
        let svid = dice.one_of(self.svids);
        let steps = dice.between(0..=MOST_STEPS);
        self.history.push(format!("publish {}, killed after {steps} steps", svid.serial_hex()));
        let mut publisher = self.publisher.take().unwrap();
        let done = killed_after(steps, || {
            publisher.publish(&checked(svid, timing::now()), &[]).unwrap();
            publisher.sweep(timing::now());
            publisher
        });
        if let Some(publisher) = done {
            self.publisher = Some(publisher);
            self.possible = BTreeSet::from([contents(svid)]);
            self.tampered = false;
        } else {
            self.kills += 1;
            self.narrow(contents(svid));
        }
    }

    /// After a kill either the old set or the new one is on disk; this finds out which.
    fn narrow(&mut self, new: Set) {
        if self.tampered {
            return;
        }
        match read(self.directory.path()) {
            Some(found) if found == new => self.possible = BTreeSet::from([new]),
            Some(_) => {}
            // Nothing was published before, and not all links exist.
            None if self.possible.is_empty() => {
                // What exists is whole, and from one set: this one, or that of an earlier kill.
                let visible = NAMES.map(|name| fs::read_to_string(self.path(name)).ok());
                let fits = |set: &Set| {
                    visible
                        .iter()
                        .zip(set)
                        .all(|(seen, whole)| seen.as_ref().is_none_or(|seen| seen == whole))
                };
                let one = self.svids.iter().any(|svid| fits(&contents(svid)));
                assert!(one, "something is half visible: {:?}", self.history);
            }
            None => panic!("the old set is gone: {:?}", self.history),
        }
    }

    fn tamper(&mut self, dice: &mut Dice) {
        let name = *dice.one_of(&NAMES);
        let path = self.path(name);
        let generation = self.path("..data");
        let what = dice.between(0..=6);
        self.history.push(format!("tamper {what} with {name}"));
        let exists = path.exists();
        match what {
            0 if exists => write(&path, "nonsense"),
            1 => drop(fs::remove_file(&path)),
            2 if exists => set_mode(&path, 0o666),
            3 => drop(fs::remove_file(generation)),
            4 => drop(fs::canonicalize(generation).and_then(fs::remove_dir_all)),
            // What a killed run may leave is not tampering.
            5 => {
                return drop(symlink(
                    "nowhere",
                    self.path(&format!("..tmp-{:08x}", dice.between(0..=9))),
                ));
            }
            _ => {
                let unfinished = self.path(&format!("..v2020-{:08x}", dice.between(0..=9)));
                if fs::create_dir(&unfinished).is_ok() {
                    set_mode(&unfinished, 0o700);
                    write(&unfinished.join(name), "half");
                }
                return;
            }
        }
        self.tampered = true;
        if let Some(publisher) = &self.publisher {
            assert!(!publisher.is_intact(), "it is not noticed: {:?}", self.history);
        }
    }

    /// What the server checks when it starts: each file exists, they belong together, and nobody else may read the key.
    #[track_caller]
    fn assert_invariant(&self) {
        if self.tampered || self.possible.is_empty() {
            return;
        }
        let found = read(self.directory.path());
        let is_possible = found.is_some_and(|found| self.possible.contains(&found));
        assert!(is_possible, "PostgreSQL does not start: {:?}", self.history);
        let mode = fs::metadata(self.path("svid_key.pem")).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "PostgreSQL refuses the key: {:?}", self.history);
    }

    fn entries(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

#[track_caller]
fn open(directory: &Path) -> Publisher {
    let mut settings = settings(directory);
    let render = |path: &Path| path.display().to_string().into_bytes();
    settings.files.add_rendered("pg_service.conf".to_owned(), render);
    // A child that another test has just forked holds a copy of the old lock until it executes its program.
    eventually(Duration::from_secs(10), "the former lock is gone", || {
        match Publisher::open(settings.clone()) {
            Err(Error::Locked { .. }) => None,
            opened => Some(opened.unwrap()),
        }
    })
}

pub(crate) fn settings(directory: &Path) -> Settings {
    Settings {
        directory: directory.to_owned(),
        files: Files::new(NAMES.map(str::to_owned), 0o600, 0o644),
        group: None,
        keep_at_most: 2,
        keep_until_expiry: true,
        seen_as: None,
    }
}

fn contents(svid: &Svid) -> Set {
    [svid.chain_pem(), svid.key_pem(), svid.bundle_pem()]
}

/// The set under the published names, if all exist.
fn read(directory: &Path) -> Option<Set> {
    let [certificate, key, bundle] =
        NAMES.map(|name| fs::read_to_string(directory.join(name)).ok());
    Some([certificate?, key?, bundle?])
}

fn write(path: &Path, text: &str) {
    fs::File::create(path).and_then(|mut file| file.write_all(text.as_bytes())).unwrap();
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
