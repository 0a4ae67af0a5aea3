//! Modes and groups of files: new files get the right ones at once, so that existing files need not be changed.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use nix::libc;
use rustix::fs::XattrFlags;
use test_support::{Account, LIMIT, Pgsvid, Program, Setup};

use crate::taken_over::injector::Injector;
use crate::taken_over::{PGSVID, of_root};

/// What seccomp answers.
const REFUSED: i64 = -(libc::EPERM as i64);
/// As `sandbox entered` has it.
const CHANGES: &str = "modes and groups of files";
/// A group that is neither the daemon's nor PostgreSQL's.
const OTHER_GROUP: u32 = 54321;

/// Mode and group.
fn state(path: &Path) -> (u32, u32) {
    let metadata = fs::metadata(path).unwrap();
    (metadata.permissions().mode() & 0o7777, metadata.gid())
}

/// Of certificate, key and bundle.
fn states(setup: &Setup) -> [(u32, u32); 3] {
    ["svid.pem", "svid_key.pem", "svid_bundle.pem"].map(|name| state(&setup.files.join(name)))
}

fn opened(injector: &Injector, path: &Path) -> u64 {
    let here = i64::from(libc::AT_FDCWD).cast_unsigned();
    let flags = i64::from(libc::O_RDONLY | libc::O_CLOEXEC).cast_unsigned();
    let path = injector.put_text(0, path.to_str().unwrap());
    injector.call(libc::SYS_openat, &[here, path, flags, 0]).try_into().unwrap()
}

#[track_caller]
fn goes_on(setup: &Setup, pgsvid: &Pgsvid) {
    setup.agent.rotate().unwrap();
    pgsvid.current(2);
}

/// What was started with it, what may be read, what is published: nothing gets a mode or a group.
#[track_caller]
fn keeps_modes_and_groups(setup: &Setup, pgsvid: &Pgsvid, readable: &Path) {
    let before = (state(readable), states(setup));
    let injector = Injector::attach(pgsvid.daemon_pid());
    let group = u64::from(setup.cluster.gid());
    let files = [readable, &setup.files.join("svid_key.pem"), setup.files.path()];
    let descriptors = files.map(|path| opened(&injector, path));
    for descriptor in descriptors.into_iter().chain([0, 1, 2]) {
        for mode in [0o600, 0o640, 0o644, 0o700, 0o755] {
            let changed = injector.call(libc::SYS_fchmod, &[descriptor, mode]);
            assert_eq!(changed, REFUSED, "fchmod({descriptor}, {mode:o})");
        }
        for group in [group, u64::from(u32::MAX), 0] {
            let given = [descriptor, u64::from(u32::MAX), group];
            let changed = injector.call(libc::SYS_fchown, &given);
            assert_eq!(changed, REFUSED, "fchown({given:?})");
        }
    }
    for descriptor in descriptors {
        assert_eq!(injector.call(libc::SYS_close, &[descriptor]), 0);
    }
    drop(injector);
    assert_eq!((state(readable), states(setup)), before);
    goes_on(setup, pgsvid);
}

#[test]
fn a31_all_that_the_daemon_can_open_keeps_its_mode_and_its_group() {
    let setup = Setup::new(PGSVID);
    let bundle = setup.agent.svid().bundle_pem();
    // Of the daemon's own user, as a key beside it may be.
    let readable = setup.other.write("extra.pem", bundle, 0o644);
    let owner = setup.cluster.uid();
    std::os::unix::fs::chown(&readable, Some(owner), None).unwrap();
    setup.configure(&format!("files.extra_authorities = ['{}']\n", readable.display()));
    let pgsvid = setup.start();
    keeps_modes_and_groups(&setup, &pgsvid, &readable);
}

#[test]
fn a31_as_root_all_that_the_daemon_can_open_keeps_its_mode_and_its_group() {
    let mut readable = None;
    let (setup, pgsvid) = of_root(|setup| {
        let path = setup.other.write("extra.pem", setup.agent.svid().bundle_pem(), 0o600);
        std::os::unix::fs::chown(&path, Some(0), Some(0)).unwrap();
        let configuration = format!("files.extra_authorities = ['{}']\n", path.display());
        readable = Some(path);
        configuration
    });
    pgsvid.current(1);
    let group = setup.cluster.gid();
    assert_eq!(states(&setup), [(0o644, group), (0o640, group), (0o644, group)]);
    // An agent knows the process by its effective group, which is the third number here; the last one is for files.
    let status = fs::read_to_string(format!("/proc/{}/status", pgsvid.daemon_pid())).unwrap();
    assert!(status.contains(&format!("\nGid:\t0\t0\t0\t{group}\n")), "{status}");
    keeps_modes_and_groups(&setup, &pgsvid, &readable.unwrap());
}

/// The calls are left to the daemon, which says so.
#[track_caller]
fn changes_are_left(pgsvid: &Pgsvid) {
    let entered = pgsvid.event("sandbox-entered");
    assert!(entered["lacking"].as_str().unwrap().contains(CHANGES), "{entered}");
    assert!(!entered["denied"].as_str().unwrap().contains(CHANGES), "{entered}");
}

#[test]
fn a31_where_the_directory_gives_its_own_group_files_get_the_configured_one_all_the_same() {
    let (setup, pgsvid) = of_root(|setup| {
        let directory = setup.files.path();
        std::os::unix::fs::chown(directory, Some(0), Some(OTHER_GROUP)).unwrap();
        fs::set_permissions(directory, fs::Permissions::from_mode(0o2755)).unwrap();
        String::new()
    });
    pgsvid.current(1);
    changes_are_left(&pgsvid);
    goes_on(&setup, &pgsvid);
    let group = setup.cluster.gid();
    assert_eq!(states(&setup), [(0o644, group), (0o640, group), (0o644, group)]);
}

/// As in a container that has dropped all capabilities, and was given the group.
#[test]
fn a31_as_root_without_capabilities_a_member_gives_its_files_to_the_group_all_the_same() {
    let setup = Setup::new(PGSVID);
    let group = setup.cluster.gid();
    std::os::unix::fs::chown(setup.files.path(), Some(0), Some(0)).unwrap();
    setup.cluster.set_ident(&format!("pgsvid {} pgsvid", Account::current().name()));
    setup.configure(&format!("files.group = \"{group}\"\n"));
    let pgsvid = Path::new(PGSVID);
    let groups = format!("0,{group}");
    let dropped = ["--groups", &groups, "--bounding-set=-all", "--inh-caps=-all", "--"];
    let arguments = dropped.map(str::to_owned).into_iter();
    let arguments = arguments.chain([pgsvid.display().to_string(), "run".to_owned()]);
    let setpriv = Path::new("/usr/bin/setpriv");
    let arguments = arguments.chain(setup.arguments());
    let pgsvid = Program::spawn_as(Account::current(), setpriv, arguments, &[]);
    setup.wait_published();
    setup.cluster.start();
    pgsvid.wait_for_event(LIMIT, |event| event["verdict"] == "current");
    let entered = pgsvid.wait_for_event(LIMIT, |event| event["event"] == "sandbox-entered");
    assert!(entered["lacking"].as_str().unwrap().contains(CHANGES), "{entered}");
    assert_eq!(states(&setup), [(0o644, group), (0o640, group), (0o644, group)]);
}

#[test]
fn a31_where_the_directory_gives_the_configured_group_nothing_is_left_to_the_daemon() {
    let (setup, pgsvid) = of_root(|setup| {
        let directory = setup.files.path();
        std::os::unix::fs::chown(directory, Some(0), Some(setup.cluster.gid())).unwrap();
        fs::set_permissions(directory, fs::Permissions::from_mode(0o2755)).unwrap();
        String::new()
    });
    pgsvid.current(1);
    let entered = pgsvid.event("sandbox-entered");
    assert!(entered["denied"].as_str().unwrap().contains(CHANGES), "{entered}");
    goes_on(&setup, &pgsvid);
    let group = setup.cluster.gid();
    assert_eq!(states(&setup), [(0o644, group), (0o640, group), (0o644, group)]);
}

#[test]
fn a31_where_the_directory_limits_modes_files_get_the_configured_ones_all_the_same() {
    let setup = Setup::new(PGSVID);
    limit_modes(setup.files.path());
    let pgsvid = setup.start();
    changes_are_left(&pgsvid);
    goes_on(&setup, &pgsvid);
    let modes = states(&setup).map(|(mode, _)| mode);
    assert_eq!(modes, [0o644, 0o600, 0o644]);
    assert_eq!(state(&setup.files.join("..data")).0, 0o755);
}

/// A default ACL that gives others nothing (`linux/posix_acl_xattr.h`: tag, permissions, and a user that is none).
fn limit_modes(directory: &Path) {
    let entries: [(u16, u16); 3] = [(0x01, 7), (0x04, 5), (0x20, 0)];
    let mut acl = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions) in entries {
        acl.extend(tag.to_le_bytes());
        acl.extend(permissions.to_le_bytes());
        acl.extend(u32::MAX.to_le_bytes());
    }
    let name = "system.posix_acl_default";
    rustix::fs::setxattr(directory, name, &acl, XattrFlags::empty()).unwrap();
}

#[test]
fn a31_without_a_sandbox_files_get_the_same_modes_and_group() {
    let (setup, pgsvid) = of_root(|_| "sandbox.enabled = false\n".to_owned());
    pgsvid.current(1);
    let group = setup.cluster.gid();
    assert_eq!(states(&setup), [(0o644, group), (0o640, group), (0o644, group)]);
    assert_eq!(state(&setup.files.join("..data")).0, 0o755);
}
