//! How files are written: one by one, in place, byte by byte, as a volume, through links. No set is handed on in parts.

use std::fs::{self, File, create_dir, remove_dir_all, remove_file, rename};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use dev_agent::{Authority, KeyType, Svid};
use test_support::{Directory, LIMIT, Mark, Strace, eventually, openssl};

use super::place::{NAMES, PGSVID, PUBLISHED, Place, issue_by, rejected, texts};

/// Until a set that was written in place is taken.
const SETTLED: Duration = Duration::from_millis(1500);

#[test]
fn z01_a_pair_in_the_middle_of_its_renewal_is_waited_for_and_nothing_is_reported() {
    let place = Place::new();
    let (first, next) = (place.issue(), place.issue());
    place.write(&first);
    let pgsvid = place.start();
    let mark = pgsvid.mark();
    let [certificate, key, _] = texts(&next);
    place.certs.write("tls.key", key, 0o600);
    thread::sleep(SETTLED * 2);
    assert!(place.holds(&first));
    place.certs.write("tls.crt", certificate, 0o600);
    place.serves(&pgsvid, mark, &next);
    assert!(pgsvid.events("certificates-rejected").is_empty());
}

#[test]
fn z09_links_that_are_turned_and_directories_that_are_recreated_are_followed() {
    let place = Place::new();
    let svids: Vec<Svid> = (0..5).map(|_| place.issue()).collect();
    for (at, svid) in svids.iter().enumerate().take(2) {
        place.certs.subdirectory(&format!("v{at}"));
        place.write_below(&format!("v{at}/"), svid);
    }
    let turn = |target: &Path| {
        symlink(target, place.at("next")).unwrap();
        rename(place.at("next"), place.at("current")).unwrap();
    };
    turn(Path::new("v0"));
    place.configure("current", "");
    let pgsvid = place.start();
    let mark = pgsvid.mark();
    turn(Path::new("v1"));
    place.serves(&pgsvid, mark, &svids[1]);
    let mark = pgsvid.mark();
    rename(place.at("v1"), place.at("former")).unwrap();
    place.certs.subdirectory("v1");
    place.write_below("v1/", &svids[2]);
    place.serves(&pgsvid, mark, &svids[2]);
    let mark = pgsvid.mark();
    place.write_below("v1/", &svids[3]);
    place.serves(&pgsvid, mark, &svids[3]);
    assert!(pgsvid.events("daemon-restarted").is_empty());
    // The sandbox was closed to this one: another process is started.
    let elsewhere = Directory::new();
    for (name, text) in NAMES.iter().zip(texts(&svids[4])) {
        elsewhere.write(name, text, 0o600);
    }
    let mark = pgsvid.mark();
    turn(elsewhere.path());
    let (event, mark) = pgsvid.event_after(mark, "daemon-replaced");
    place.serves(&pgsvid, mark, &svids[4]);
    // That was planned: no line is an error.
    assert_eq!(event["level"], "INFO", "{event}");
    assert_eq!(pgsvid.event("certificates-moved")["level"], "WARN");
    assert!(pgsvid.events("daemon-restarted").is_empty());
}

#[test]
fn z10_files_that_are_rewritten_byte_by_byte_are_taken_when_they_are_complete() {
    let place = Place::new();
    let first = place.issue();
    place.write(&first);
    let pgsvid = place.start();
    let mark = pgsvid.mark();
    let mut next = place.issue();
    // Each block of it is a bundle that vouches for the leaf.
    for number in 0..3 {
        let other = Authority::new(&format!("{number}.example"), false).unwrap();
        next.bundle.push(other.root().to_vec());
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for (name, text) in NAMES.iter().zip(texts(&next)) {
                let mut file =
                    File::options().write(true).truncate(true).open(place.at(name)).unwrap();
                for part in text.as_bytes().chunks(7) {
                    file.write_all(part).unwrap();
                    thread::sleep(Duration::from_millis(3));
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            assert!(place.holds(&first), "a set was handed on before it was complete");
            thread::sleep(Duration::from_millis(5));
        }
    });
    place.serves(&pgsvid, mark, &next);
}

/// A volume as the kubelet makes it.
struct Volume<'a> {
    place: &'a Place,
    number: u32,
}

impl<'a> Volume<'a> {
    fn new(place: &'a Place) -> Self {
        place.certs.subdirectory("volume");
        place.configure("volume", "files.publish_every = '0s'");
        let volume = Self { place, number: 0 };
        for name in NAMES {
            symlink(format!("..data/{name}"), volume.at(name)).unwrap();
        }
        volume
    }

    fn at(&self, name: &str) -> PathBuf {
        self.place.at("volume").join(name)
    }

    /// A new version; the one before it is removed, as the kubelet does.
    fn turn(&mut self, svid: &Svid) {
        self.number += 1;
        let version = format!("volume/..{}", self.number);
        self.place.certs.subdirectory(&version);
        self.place.write_below(&format!("{version}/"), svid);
        symlink(format!("..{}", self.number), self.at("..data_tmp")).unwrap();
        rename(self.at("..data_tmp"), self.at("..data")).unwrap();
        let _ = remove_dir_all(self.at(&format!("..{}", self.number - 1)));
    }
}

#[test]
fn z11_of_a_volume_under_a_storm_no_set_is_torn_and_the_last_is_served() {
    const TURNS: usize = 300;
    let place = Place::new();
    let mut volume = Volume::new(&place);
    // Each of an authority of its own: parts of two fit nowhere.
    let svids: Vec<Svid> = (0..20)
        .map(|_| {
            let authority = Authority::new("corporate.example", false).unwrap();
            issue_by(&authority, |entry| entry)
        })
        .collect();
    volume.turn(&svids[0]);
    let pgsvid = place.start();
    let mark = pgsvid.mark();
    let wholes: Vec<[String; 3]> = svids.iter().map(texts).collect();
    let mut different = std::collections::BTreeSet::new();
    for turn in 1..=TURNS {
        volume.turn(&svids[turn % svids.len()]);
        // What readers find by one look at the link.
        let version = fs::read_link(place.setup.files.join("..data")).unwrap();
        let read = |name: &str| {
            fs::read_to_string(place.setup.files.path().join(&version).join(name)).unwrap()
        };
        let found = PUBLISHED.map(read);
        let at = wholes.iter().position(|whole| *whole == found);
        different.insert(at.expect("a torn set is published"));
        thread::sleep(Duration::from_millis(10));
    }
    let last = place.issue();
    volume.turn(&svids[1]);
    volume.turn(&last);
    place.serves(&pgsvid, mark, &last);
    assert!(different.len() > 3, "the storm was not seen: {different:?}");
    assert!(pgsvid.events("certificates-rejected").is_empty());
    assert!(pgsvid.events("daemon-restarted").is_empty());
}

#[test]
fn z12_where_the_kernel_tells_of_nothing_the_files_are_looked_at_by_time() {
    let place = Place::new();
    let (first, next) = (place.issue(), place.issue());
    place.write(&first);
    let usual = place.setup.arguments();
    let kept = usual.chunks(2).filter(|pair| pair[0] != "--endpoint").flatten().cloned();
    let arguments: Vec<_> = ["run".to_owned()].into_iter().chain(kept).collect();
    let pgsvid = Strace::quietly(PGSVID, &arguments, "inotify_init1:error=EMFILE");
    let after =
        |mark, name: &str| pgsvid.wait_for_event_after(mark, LIMIT, |it| it["event"] == name);
    after(Mark::default(), "certificates-polled");
    place.setup.wait_published();
    place.setup.cluster.start();
    let (_, mark) = after(Mark::default(), "rotated");
    place.write(&next);
    after(mark, "certificate-read");
    place.wait_holds(&next);
}

#[test]
fn z05_keys_in_pkcs1_and_sec1_are_published_in_pkcs8() {
    let place = Place::new();
    let mut pgsvid = None;
    for kind in [KeyType::EcP256, KeyType::EcP384, KeyType::Rsa2048] {
        let svid = place.issue_with(|entry| entry.key_type(kind));
        place.write(&svid);
        let traditional = openssl(&["pkey", "-traditional"], svid.key_pem());
        let label = String::from_utf8_lossy(&traditional).lines().next().unwrap().to_owned();
        assert!(label.contains("EC PRIVATE KEY") || label.contains("RSA PRIVATE KEY"), "{label}");
        place.certs.write("tls.key", &traditional, 0o600);
        if pgsvid.is_none() {
            pgsvid = Some(place.start());
        }
        eventually(LIMIT, "PostgreSQL serves it", || {
            place.setup.cluster.served().leaf == svid.leaf()
        });
        let [_, key, _] = place.published();
        assert!(key.starts_with("-----BEGIN PRIVATE KEY-----\n"), "{kind:?}");
        let public = |key: &str| openssl(&["pkey", "-pubout"], key);
        assert_eq!(public(&key), public(&svid.key_pem()), "{kind:?}");
    }
}

#[test]
fn z03_files_that_are_taken_away_are_reported_and_come_back() {
    let place = Place::new();
    let first = place.issue();
    place.write(&first);
    let pgsvid = place.start();
    let mark = pgsvid.mark();
    remove_file(place.at("tls.key")).unwrap();
    rejected(&pgsvid, mark, "certificates-missing");
    assert!(place.holds(&first));
    let next = place.issue();
    place.write(&next);
    place.serves(&pgsvid, mark, &next);
    // With the whole directory, which the sandbox is bound to.
    let mark = pgsvid.mark();
    let directory: &Path = place.certs.path();
    let aside = directory.with_extension("aside");
    rename(directory, &aside).unwrap();
    create_dir(directory).unwrap();
    let last = place.issue();
    place.write(&last);
    eventually(LIMIT, "its owner may read it", || {
        std::os::unix::fs::chown(directory, Some(place.setup.cluster.uid()), None).is_ok()
    });
    place.serves(&pgsvid, mark, &last);
    remove_dir_all(aside).unwrap();
}
