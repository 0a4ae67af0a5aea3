//! D06, D07, D08, D14: what may be in the directory before anything is published.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use pgsvid::timing;
use test_support::{Account, LIMIT, Mark, Program};

use crate::publication::place::{
    Library, NAMES, PGSVID, Place, assert_published, current, give, names, published, said,
    set_mode, write,
};

#[test]
fn d06_leftovers_of_a_killed_run_are_cleared_away() {
    let library = Library::new();
    let directory = library.path();
    let (_, first) = library.publish(&mut library.open());
    symlink("..v1", directory.join("..tmp-0badc0de")).unwrap();
    symlink("..data/svid.pem", directory.join("..tmp-00000001")).unwrap();
    // Killed while it was written: later than what is current, with the certificate alone.
    let unfinished = generation(directory, "..v29990101T000000000Z-00000001", 1, 0o700);
    let empty = generation(directory, "..v20200101T000000000Z-00000002", 0, 0o700);
    // The same by its name, whatever it holds.
    let unnamed = generation(directory, "..v29990101T000000000Z-00000005.part", 3, 0o755);
    // Killed before it became current, and a former one.
    let orphan = generation(directory, "..v29990101T000000000Z-00000003", 3, 0o755);
    let former = generation(directory, "..v20200101T000000000Z-00000004", 3, 0o755);

    let mut publisher = library.open();
    assert_eq!(names(directory, "..tmp-"), [""; 0]);
    let generations = names(directory, "..v");
    for cleared in [&unfinished, &empty, &unnamed] {
        assert!(!generations.contains(cleared), "{cleared} in {generations:?}");
    }
    // What could not be removed then is removed by the next sweep.
    let later = generation(directory, "..v29990101T000000000Z-00000006.part", 3, 0o755);

    let (svid, second) = library.publish(&mut publisher);
    assert_published(directory, &svid);
    // Readers that opened one before the swap have a while.
    publisher.sweep(timing::now());
    assert_eq!(
        names(directory, "..v").len(),
        4,
        "{orphan}, {former}, {first}, {second}, not {later}"
    );
    // What was current before stays, whatever else there is.
    publisher.sweep(timing::now() + Duration::from_secs(120));
    assert_eq!(names(directory, "..v"), [first, second]);
}

#[test]
fn d06_the_daemon_starts_on_leftovers() {
    let place = Place::new();
    let svids = &place.svids;
    symlink("..v1", svids.join("..tmp-0badc0de")).unwrap();
    generation(svids, "..v29990101T000000000Z-00000001", 2, 0o700);
    symlink("..v29990101T000000000Z-00000009", svids.join("..data")).unwrap();
    symlink("..data/svid.pem", svids.join("svid.pem")).unwrap();
    let pgsvid = place.run();
    published(&pgsvid, 1);
    assert_published(svids, &place.agent.svid());
    assert_eq!(names(svids, "..tmp-"), [""; 0]);
    assert_eq!(names(svids, "..v"), [current(svids)]);
}

#[test]
fn d07_what_is_no_link_of_ours_at_data_is_refused() {
    let library = Library::new();
    let data = library.path().join("..data");
    let outside = tempfile::tempdir().unwrap();
    let beside = outside.path().display().to_string();

    fs::create_dir(&data).unwrap();
    let error = library.refused();
    assert!(error.contains(&format!("{} is a directory", data.display())), "{error}");
    assert!(error.contains("is not pgsvid's; move it away"), "{error}");
    fs::remove_dir(&data).unwrap();

    write(&data, "text");
    assert!(library.refused().contains("..data is a plain file"));
    fs::remove_file(&data).unwrap();

    // A volume of Kubernetes' own has such links, too.
    for target in [beside.as_str(), "../elsewhere", "..2026_11_23_20_00_00.1", "..v1/../../x", "."]
    {
        symlink(target, &data).unwrap();
        let error = library.refused();
        assert!(error.contains(&format!("..data is a symbolic link to {target}")), "{error}");
        fs::remove_file(&data).unwrap();
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert_eq!(names(library.path(), ""), ["..lock"], "nothing is left behind");
}

#[test]
fn d07_a_link_that_turns_away_while_the_daemon_runs_is_an_alarm() {
    let place = Place::new();
    let pgsvid = place.run();
    published(&pgsvid, 1);
    let outside = place.other.subdirectory("outside");
    let elsewhere = place.svids.join("elsewhere");
    symlink(&outside, &elsewhere).unwrap();
    fs::rename(&elsewhere, place.svids.join("..data")).unwrap();
    let (alarm, mark) = said(&pgsvid, Mark::default(), "publication-failed");
    assert_eq!(alarm["level"], "ERROR");
    assert!(alarm["error"].as_str().unwrap().contains("..data is a symbolic link to "), "{alarm}");
    // Removing the obstacle is enough; nobody has to tell pgsvid.
    fs::remove_file(place.svids.join("..data")).unwrap();
    said(&pgsvid, mark, "published");
    assert_published(&place.svids, &place.agent.svid());
    assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
}

#[test]
fn d08_nothing_planted_at_a_stable_name_is_followed() {
    let target = tempfile::tempdir().unwrap();
    let file = target.path().join("file");
    write(&file, "precious");
    for name in NAMES {
        let library = Library::new();
        let planted = library.path().join(name);
        for to in [file.as_path(), target.path(), Path::new("..data/other"), Path::new("nowhere")] {
            symlink(to, &planted).unwrap();
            let error = library.refused();
            let text = format!("{} is a symbolic link to {}", planted.display(), to.display());
            assert!(error.contains(&text), "{error}");
            assert_eq!(fs::read_link(&planted).unwrap(), to);
            fs::remove_file(&planted).unwrap();
        }
        fs::create_dir(&planted).unwrap();
        assert!(library.refused().contains(&format!("{name} is a directory")));
        fs::remove_dir(&planted).unwrap();

        let fifo = Command::new("mkfifo").arg(&planted).status().unwrap();
        assert!(fifo.success());
        assert!(library.refused().contains(&format!("{name} is neither a file nor a link")));
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn d08_the_daemon_names_the_planted_link_and_ends() {
    let place = Place::new();
    let precious = place.other.write("precious", "precious", 0o600);
    symlink(&precious, place.svids.join("svid_key.pem")).unwrap();
    let error = place.refused();
    assert!(error.contains("svid_key.pem is a symbolic link to "), "{error}");
    assert!(error.contains("move it away"), "{error}");
    assert_eq!(fs::read_to_string(precious).unwrap(), "precious");
}

#[test]
fn d14_a_second_instance_ends_with_a_clear_error() {
    let place = Place::new();
    let first = place.run();
    published(&first, 1);
    let error = place.refused();
    let text = format!("{} is in use by another pgsvid", place.svids.display());
    assert!(error.contains(&text), "{error}");
    // The first one does not care, and the second one may come when it has ended.
    place.agent.rotate().unwrap();
    published(&first, 2);
    assert!(first.terminate(LIMIT).success());
    let third = place.run();
    third.wait_for_text(LIMIT, "the set of an earlier run is still valid");
}

#[test]
fn a_directory_that_is_missing_or_no_directory_is_named_with_the_remedy() {
    let mut place = Place::new();
    place.svids = place.other.join("missing");
    let error = place.refused();
    assert!(error.contains(&format!("-m 0755 {}", place.svids.display())), "{error}");
    place.svids = place.other.write("file", "", 0o644);
    let error = place.refused();
    assert!(error.contains(&format!("cannot open the directory {}", place.svids.display())));
}

#[test]
fn a_relative_directory_is_a_wrong_command_line() {
    let arguments = ["run", "--endpoint", "unix:///tmp/agent.sock", "--directory", "svids"];
    let pgsvid = Program::spawn_as(Account::current(), PGSVID, arguments, &[]);
    assert_eq!(pgsvid.wait_exit(LIMIT).code(), Some(2));
    let error = pgsvid.standard_error();
    assert!(error.contains("--directory") && error.contains("absolute path"), "{error}");
}

/// Makes a generation's directory with so many of its files, for the library or a daemon; returns its name.
fn generation(directory: &Path, name: &str, files: usize, mode: u32) -> String {
    let path = directory.join(name);
    fs::create_dir(&path).unwrap();
    // In the order in which they are written.
    for name in ["svid.pem", "svid_bundle.pem", "svid_key.pem"].into_iter().take(files) {
        write(&path.join(name), "text");
        give(&path.join(name));
    }
    set_mode(&path, mode);
    give(&path);
    name.to_owned()
}
