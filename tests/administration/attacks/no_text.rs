//! B38: a name that is not written in UTF-8 was compared with roles as if it were another name.

use std::fs::File;
use std::io::Write as _;

use test_support::Setup;

use crate::attacks::endless::started;
use crate::attacks::hidden_rules::{GOOD, fails, is_well, write};

/// Writes a file of the server's as these bytes.
fn put(setup: &Setup, name: &str, bytes: &[u8]) {
    let path = setup.cluster.data_directory().join(name);
    File::create(path).unwrap().write_all(bytes).unwrap();
    setup.cluster.reload();
}

#[test]
fn b38_a_name_that_is_no_utf_8_cannot_be_judged() {
    let setup = started();
    write(&setup, GOOD);
    // In a comment it says nothing.
    put(&setup, "pg_hba.conf", &[GOOD.as_bytes(), b"# m\xf6ller\n"].concat());
    is_well(&setup, &[]);
    for line in [&b"local all \"m\xf6ller\" trust\n"[..], b"hostssl all m\xf6ller all cert\n"] {
        put(&setup, "pg_hba.conf", &[line, GOOD.as_bytes()].concat());
        fails(&setup, &[], "pg_hba.conf line 1 cannot be judged: it is not written in UTF-8");
    }
    put(&setup, "who", b"m\xf6ller\n");
    write(&setup, &format!("local all @who trust\n{GOOD}"));
    fails(&setup, &[], "pg_hba.conf line 1 cannot be judged");
    write(&setup, GOOD);
    put(&setup, "pg_ident.conf", b"people m\xf6ller postgres\n");
    fails(&setup, &[], "pg_ident.conf line 1 cannot be judged");
}
