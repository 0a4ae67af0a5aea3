//! A daemon in which an attacker runs code: every attempt is a system call in the live daemon. Afterwards the daemon must
//! still rotate.

mod calls;
mod changes;
mod given;
mod hooks;
mod injector;
mod parent;
mod reach;

use test_support::{Account, Pgsvid, Setup};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");

/// A daemon as root that publishes for PostgreSQL's group.
fn of_root(configuration: impl FnOnce(&Setup) -> String) -> (Setup, Pgsvid) {
    let (root, setup) = (Account::current(), Setup::new(PGSVID));
    assert!(root.uid() == 0, "these tests need root");
    std::os::unix::fs::chown(setup.files.path(), Some(0), Some(0)).unwrap();
    setup.cluster.set_ident(&format!("pgsvid {} pgsvid", root.name()));
    let group = format!("files.group = \"{}\"\n", setup.cluster.gid());
    setup.configure(&(group + &configuration(&setup)));
    let pgsvid = setup.spawn_as(root, &[]);
    setup.wait_published();
    setup.cluster.start();
    (setup, pgsvid)
}
