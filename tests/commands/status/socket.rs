//! A18: the socket of `health.listen` in a directory that others may write to.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use test_support::{Directory, LIMIT, Strace, eventually};

use super::PGSVID;

#[test]
fn a18_what_is_put_in_the_sockets_place_keeps_its_mode() {
    let directory = Directory::new();
    let open = directory.subdirectory("open");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let svids = directory.subdirectory("svids");
    // The same account's, as root's would be root's.
    let victim = directory.write("victim", "secret", 0o600);
    let socket = open.join("status.sock");
    let configuration = format!(
        "[workload_api]\nendpoint = 'unix:{0}/agent.sock'\n[files]\ndirectory = '{1}'\n[health]\nlisten = 'unix:{2}'\n",
        open.display(),
        svids.display(),
        socket.display()
    );
    let configuration = directory.write("pgsvid.toml", &configuration, 0o644);
    // Whatever changes a mode by name has to wait, which makes the attack sure to come in between.
    let arguments = ["run", "--config", &configuration.display().to_string()].map(str::to_owned);
    let delayed = "?chmod,?fchmodat,?fchmodat2:delay_enter=2000000";
    let pgsvid = Strace::around(PGSVID, &arguments, delayed);
    eventually(LIMIT, "the socket is there", || socket.exists());
    let away = open.join("away");
    fs::rename(&socket, &away).unwrap();
    symlink(&victim, &socket).unwrap();
    pgsvid.wait_for_text(LIMIT, "no connection to the agent");
    let mode = |path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(&victim), 0o600);
    assert_eq!(mode(&away), 0o660, "whatever the umask");
}
