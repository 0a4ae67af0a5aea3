//! P07: each set of files that PostgreSQL refuses leads to `still-old` with the right diagnosis, and is served as soon as the
//! cause is fixed; what PostgreSQL accepts is never reported as a fault.

mod cases;
mod server;

use std::os::unix::fs::symlink;

use test_support::{Account, openssl};

use crate::refused::cases::{ABSENT, CONTENT, OWNERS, PAIRS, PROTECTION, UNSEEN};
use crate::refused::server::Server;
use crate::refused::server::What::{Bundle, Certificate, Key};

#[test]
fn p07_files_that_do_not_belong_together() {
    Server::without_sandbox().refuses(PAIRS);
}

#[test]
fn p07_files_that_are_not_there() {
    Server::new().refuses(ABSENT);
}

#[test]
fn p07_files_that_postgresql_may_not_read_or_must_not_trust() {
    let server = Server::new();
    server.refuses(PROTECTION);
    if Account::current().uid() == 0 {
        server.refuses(OWNERS);
    }
}

#[test]
fn p07_files_with_the_wrong_content() {
    Server::without_sandbox().refuses(CONTENT);
}

#[test]
fn p07_what_the_sandbox_does_not_show_is_not_guessed() {
    Server::new().refuses(UNSEEN);
}

/// What PostgreSQL takes, however odd.
#[test]
fn p07_what_postgresql_takes_is_no_fault() {
    let server = Server::new();
    let prose = "Bag Attributes\n    friendlyName: db\n";
    server.takes(Certificate, |copy| copy.write(format!("{prose}{}", copy.good()), 0o644));
    server.takes(Key, |copy| copy.write(format!("{prose}{}", copy.good()), 0o600));
    server.takes(Bundle, |copy| copy.write(format!("{prose}{}", copy.good()), 0o666));
    server.takes(Key, |copy| copy.write(copy.good(), 0o400));
    server.takes(Key, |copy| copy.write(copy.good(), 0o700));
    server.takes(Key, |copy| {
        let sec1 = openssl(&["pkey", "-traditional"], copy.good());
        let sec1 = String::from_utf8(sec1).unwrap();
        assert!(sec1.contains("-----BEGIN EC PRIVATE KEY-----"), "{sec1}");
        copy.write(sec1, 0o600);
    });
    server.takes(Key, |copy| copy.write(copy.new.key_pem() + &copy.new.chain_pem(), 0o600));
    server.takes(Certificate, |copy| copy.write(copy.new.key_pem() + &copy.good(), 0o600));
    server.takes(Key, |copy| {
        symlink(server.setup.files.join("svid_key.pem"), &copy.path).unwrap();
    });
    if Account::current().uid() == 0 {
        server.takes(Key, |copy| copy.write_as(copy.good(), 0o640, 0));
        server.takes(Certificate, |copy| copy.write_as(copy.good(), 0o666, 54321));
    }
    let lines = server.pgsvid.lines();
    let fault = lines.iter().find(|line| line.contains("\"ERROR\""));
    assert_eq!(fault, None);
}
