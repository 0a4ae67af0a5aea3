//! D09, D10: owners and modes of the directory and of published files.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;

use pgsvid::publish::{Publisher, Trust};
use test_support::{Account, LIMIT, Mark, Program, Tmpfs, with_mounts};

use crate::publication::place::{
    Library, NAMES, PGSVID, Place, assert_published, current, files, material, mode_of, open,
    published, said, set_mode, settings,
};

#[test]
fn d09_a_directory_that_others_may_write_to_is_refused_with_the_command_that_fixes_it() {
    let place = Place::new();
    for (mode, allowed) in [(0o777, "0755"), (0o775, "0755"), (0o722, "0700"), (0o2770, "2750")] {
        set_mode(&place.svids, mode);
        let error = place.refused();
        let path = place.svids.display();
        let text = format!(
            "cannot publish to {path}: others may write to it (mode {mode:04o}); run chmod {allowed} {path}"
        );
        assert!(error.contains(&text), "{error}");
        assert_eq!(fs::read_dir(&place.svids).unwrap().count(), 0);
    }
    // The command is the right one.
    set_mode(&place.svids, 0o755);
    published(&place.run(), 1);
    assert_published(&place.svids, &place.agent.svid());
}

#[test]
fn d09_a_sticky_directory_is_taken_with_a_warning() {
    let place = Place::new();
    set_mode(&place.svids, 0o1777);
    let pgsvid = place.run();
    published(&pgsvid, 1);
    let warning = pgsvid.wait_for_event(LIMIT, |event| event["level"] == "WARN");
    assert_eq!(warning["message"], "others may create files in the directory");
    assert_eq!(warning["mode"], "1777");
    assert_published(&place.svids, &place.agent.svid());
}

#[test]
fn d09_an_empty_dir_of_kubernetes_is_taken_with_a_warning() {
    with_mounts(|| {
        let place = Place::new();
        // The tests' account owns it: root, as with Kubernetes, if it can be.
        let volume = Tmpfs::over(&place.svids, "size=1m,mode=0777");
        let pgsvid = place.run();
        published(&pgsvid, 1);
        let warning = pgsvid.wait_for_event(LIMIT, |event| event["level"] == "WARN");
        assert_eq!(warning["event"], "directory-shared", "{warning}");
        assert_eq!(warning["mode"], "0777");
        assert_published(&place.svids, &place.agent.svid());
        assert!(pgsvid.terminate(LIMIT).success());

        // A directory in it is none.
        let mut place = place;
        place.svids.push("inner");
        fs::create_dir(&place.svids).unwrap();
        crate::publication::place::give(&place.svids);
        set_mode(&place.svids, 0o777);
        assert!(place.refused().contains("others may write to it (mode 0777)"));
        drop(volume);
    });
}

#[test]
fn d09_a_directory_of_somebody_else_is_refused_with_the_command_that_fixes_it() {
    with_mounts(|| {
        // In a user namespace, where this is not root's test, root's own directory is somebody else's.
        let (directory, _keep) = if Account::current().uid() == 0 {
            let directory = tempfile::tempdir().unwrap();
            chown(directory.path(), Some(12345), None).unwrap();
            (directory.path().to_owned(), Some(directory))
        } else {
            (Path::new("/usr").to_owned(), None)
        };
        let owner = fs::metadata(&directory).unwrap().uid();
        let ours = Account::current().uid();
        let error = Publisher::open(settings(&directory)).err().unwrap().to_string();
        let path = directory.display();
        let text = format!(
            "cannot publish to {path}: it belongs to uid {owner}, and pgsvid runs as uid {ours}; run pgsvid as \
             uid {owner}, or chown -h {ours} {path}"
        );
        assert_eq!(error, text);
    });
}

#[test]
fn d09_a_directory_of_its_own_or_of_root_is_not_reported() {
    let library = Library::new();
    assert_eq!(library.open().trust(), Trust::Exclusive);
    set_mode(library.path(), 0o1777);
    assert_eq!(library.open().trust(), Trust::Sticky { mode: 0o1777 });
}

#[test]
fn d10_modes_are_exact_with_any_umask() {
    for umask in ["000", "777", "022", "077"] {
        let place = Place::new();
        let service = "[files.service]\nfile = 'pg_service.conf'\nname = 'products'\n";
        let file = place.other.write("pgsvid.toml", service, 0o644).display().to_string();
        let script = format!("umask {umask}; exec \"$@\"");
        let pgsvid = place.executable();
        let arguments = [
            vec!["-c".to_owned(), script, "sh".to_owned(), pgsvid],
            place.arguments(),
            vec!["--config".to_owned(), file],
        ];
        let pgsvid = Program::spawn("/bin/sh", arguments.concat(), &[]);
        for generation in 1..=2 {
            published(&pgsvid, generation);
            assert_published(&place.svids, &place.agent.svid());
            assert_eq!(mode_of(&place.svids.join("pg_service.conf")), 0o644, "umask {umask}");
            assert_eq!(mode_of(&place.svids.join("..data")), 0o755, "umask {umask}");
            place.agent.rotate().unwrap();
        }
    }
}

/// What is made in a setgid directory is setgid itself, if it is a directory, and its group is that of the directory.
#[test]
fn a31_in_a_volume_with_a_group_as_fs_group_makes_it_modes_are_exact_and_cannot_be_changed() {
    with_mounts(|| {
        let place = Place::new();
        let _volume = Tmpfs::over(&place.svids, "size=1m,mode=2777,gid=54321");
        let pgsvid = place.run();
        published(&pgsvid, 1);
        let (entered, _) = said(&pgsvid, Mark::default(), "sandbox-entered");
        assert!(entered["denied"].as_str().unwrap().contains("modes and groups"), "{entered}");
        place.agent.rotate().unwrap();
        published(&pgsvid, 2);
        assert_published(&place.svids, &place.agent.svid());
        assert_eq!(NAMES.map(|name| mode_of(&place.svids.join(name))), [0o644, 0o600, 0o644]);
        let generation = current(&place.svids);
        assert!(pgsvid.terminate(LIMIT).success());
        // It is found whole by the next run, which has nothing to publish.
        let mut arguments = place.arguments();
        "fetch".clone_into(&mut arguments[0]);
        let fetch = Program::spawn(PGSVID, arguments, &[]);
        assert!(fetch.wait_exit(LIMIT).success(), "{}", fetch.standard_error());
        assert!(fetch.standard_output().contains("published earlier"));
        assert_eq!(current(&place.svids), generation);
    });
}

#[test]
fn d10_configured_modes_are_exact() {
    let place = Place::new();
    let configuration = "[files]\nprivate_key_mode = '0400'\ncertificate_mode = '0440'\n";
    published(&place.run_with(configuration), 1);
    let modes = NAMES.map(|name| mode_of(&place.svids.join(name)));
    assert_eq!(modes, [0o440, 0o400, 0o440]);
}

#[test]
fn a_group_gets_the_key_to_read() {
    // Root may choose any group, others one of their own.
    let gid = Account::current().gid();
    let gid = if Account::current().uid() == 0 { 54321 } else { gid };
    let mut library = Library::new();
    library.settings.group = Some(gid);
    library.settings.files = files(0o640);
    let mut publisher = library.open();
    library.publish(&mut publisher);
    for (name, mode) in NAMES.into_iter().zip([0o644, 0o640, 0o644]) {
        let file = fs::metadata(library.path().join(name)).unwrap();
        assert_eq!((file.gid(), file.uid()), (gid, Account::current().uid()), "{name}");
        assert_eq!(mode_of(&library.path().join(name)), mode, "{name}");
    }
    assert!(publisher.is_intact());
}

#[test]
fn a_group_without_root_is_refused() {
    let place = Place::new();
    let arguments = [place.arguments(), vec!["--group".to_owned(), "0".to_owned()]].concat();
    let pgsvid = Program::spawn(PGSVID, arguments, &[]);
    assert_eq!(pgsvid.wait_exit(LIMIT).code(), Some(1));
    assert!(pgsvid.standard_error().contains("files.group needs root"));
}

#[test]
fn a_rendered_file_is_published_with_its_generation() {
    let mut library = Library::new();
    let render = |path: &Path| path.display().to_string().into_bytes();
    library.settings.files.add_rendered("note".to_owned(), render);
    let mut seen = library.settings.clone();
    seen.seen_as = Some("/elsewhere".into());
    for (settings, root) in
        [(library.settings.clone(), library.path()), (seen, "/elsewhere".as_ref())]
    {
        let mut publisher = open(&settings);
        publisher.publish(&material(&library.issue()), &[]).unwrap();
        let text = fs::read_to_string(library.path().join("note")).unwrap();
        assert_eq!(Path::new(&text), root.join(current(library.path())));
    }
}
