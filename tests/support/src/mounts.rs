//! Namespaces for a test, and file systems in them: small ones, full ones, and ones that are mounted over a directory.

use std::any::type_name;
use std::ffi::CString;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{FileExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_remount, unmount};
use rustix::process::geteuid;

use crate::{LIMIT, eventually};

/// The environment variable that is set in the process which runs such a test's body.
const INSIDE: &str = "TEST_SUPPORT_MOUNT_NAMESPACE";

/// Runs the body of the calling test where it can mount: the test's binary runs again for this one test, in a mount namespace
/// that ends with it, so nothing is left behind however it ends. Without root this also needs a user namespace. Programs that
/// the body starts are in the same namespace.
#[track_caller]
pub fn with_mounts<F: FnOnce()>(body: F) {
    let as_root: &[&str] =
        if geteuid().is_root() { &[] } else { &["--user", "--map-current-user", "--keep-caps"] };
    within_namespaces(&[&["--mount"], as_root].concat(), &[], body);
}

/// Runs the body of the calling test where containers can be run, too: with its own network and PID namespace, so that
/// everything that the body starts ends with it, and with temporary files in memory. Root only.
#[track_caller]
pub fn with_containers<F: FnOnce()>(body: F) {
    assert!(geteuid().is_root(), "containers with users of their own need root: sudo scripts/test");
    let namespaces =
        ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"].as_slice();
    // Short, because of the sockets' paths; and a separate directory, because the project may be below the usual one.
    let place =
        tempfile::Builder::new().prefix("t").rand_bytes(4).tempdir().expect("makes a directory");
    let variables = [("TMPDIR", place.path())];
    within_namespaces(namespaces, &variables, || {
        let _memory = Tmpfs::over(&std::env::temp_dir(), "mode=1777");
        body();
    });
}

#[track_caller]
fn within_namespaces<F: FnOnce()>(namespaces: &[&str], variables: &[(&str, &Path)], body: F) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    // `binary::module::test::{{closure}}`; the test's own name lacks both ends.
    let mut name = type_name::<F>();
    if let Some((_, inner)) = name.split_once("with_containers<") {
        name = inner.split_once('>').map_or(inner, |(inner, _)| inner);
    }
    let name = name.trim_end_matches("::{{closure}}");
    let name = name.split_once("::").map_or(name, |(_, name)| name);
    let mut command = Command::new("unshare");
    command.args(namespaces);
    let mut child = command
        .arg("--")
        .arg(std::env::current_exe().expect("knows its own path"))
        .args([name, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs unshare, of util-linux");
    let mut errors = child.stderr.take().expect("was piped");
    let errors = thread::spawn(move || {
        let mut text = String::new();
        let _ = errors.read_to_string(&mut text);
        text
    });
    // Each line is shown at once, because the test may be slow.
    let mut has_run = false;
    for line in BufReader::new(child.stdout.take().expect("was piped")).lines() {
        let line = line.expect("a test writes text");
        // A name that matches no test is no failure for the test's binary.
        has_run |= line.contains(" 1 passed");
        show(&line);
    }
    show(&errors.join().expect("reads"));
    let status = child.wait().expect("waits for a child");
    assert!(status.success(), "{name} failed in namespaces of its own ({status})");
    assert!(has_run, "{name} did not run");
}

#[expect(clippy::print_stdout, reason = "the output of a test, for the person who runs it")]
fn show(text: &str) {
    println!("{text}");
}

/// A file that stands in the place of another one, and changes in one piece.
#[derive(Debug)]
pub struct FileOver {
    file: tempfile::NamedTempFile,
    place: PathBuf,
}

impl FileOver {
    /// So many bytes are written at once: a reader never sees a part.
    const SIZE: usize = 4096;

    /// Puts a file with this text over an existing one, such as `/etc/hosts`. For use in [`with_mounts`].
    #[track_caller]
    pub fn over(place: &str, text: &str) -> Self {
        let file = tempfile::NamedTempFile::new().expect("makes a file");
        file.as_file()
            .set_permissions(PermissionsExt::from_mode(0o644))
            .expect("everybody may read it");
        let over = Self { file, place: place.into() };
        over.set(text);
        mount_bind(over.file.path(), &over.place)
            .unwrap_or_else(|error| panic!("cannot mount on {place}: {error}"));
        over
    }

    /// Replaces the text.
    #[track_caller]
    pub fn set(&self, text: &str) {
        let bytes = format!("{text:\n<size$}", size = Self::SIZE);
        assert_eq!(bytes.len(), Self::SIZE, "the text is short");
        self.file.as_file().write_all_at(bytes.as_bytes(), 0).expect("writes");
    }
}

impl Drop for FileOver {
    fn drop(&mut self) {
        let _ = unmount(&self.place, UnmountFlags::DETACH);
    }
}

/// A file system in memory over an existing directory, until it is dropped.
#[derive(Debug)]
pub struct Tmpfs(PathBuf);

impl Tmpfs {
    /// Mounts it; the options are those of tmpfs, as in `size=64k,mode=0755,uid=101`. For use in [`with_mounts`].
    #[track_caller]
    pub fn over(directory: &Path, options: &str) -> Self {
        let data = CString::new(options).expect("options without a zero byte");
        mount("tmpfs", directory, "tmpfs", MountFlags::empty(), data.as_c_str())
            .unwrap_or_else(|error| panic!("cannot mount on {}: {error}", directory.display()));
        Self(directory.to_owned())
    }

    /// Makes it read-only, or writable again.
    #[track_caller]
    pub fn set_read_only(&self, yes: bool) {
        let flags = if yes { MountFlags::RDONLY } else { MountFlags::empty() };
        // No file may be open for writing, but somebody may be writing at this moment.
        eventually(LIMIT, "it is mounted again", || match mount_remount(&self.0, flags, "") {
            Err(Errno::BUSY) => false,
            mounted => {
                mounted.expect("mounts again");
                true
            }
        });
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Processes that still have files open there keep them.
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}
