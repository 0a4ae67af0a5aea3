//! psql, again and again, under sslmode=verify-full and `cert` authentication.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use test_support::{Directory, LIMIT, Reconnecting};

use crate::both::{Both, ROLE, files_in, psql};
use crate::one_directory;

#[test]
fn p25_no_client_fails_while_both_sides_rotate_fifty_times() {
    let mut both = Both::start("");
    let rewritten = Directory::new();
    rewrite(&both, &rewritten);
    let by_service = Reconnecting::start(both.psql());
    let through_one = one_directory::connect_loop(both.files.path(), both.setup.cluster.port());
    // What those do who cannot name one generation. Measured, not asserted.
    let by_names = Reconnecting::start(both.psql_by_names(&files_in(both.files.path())));
    let in_place = Reconnecting::start(both.psql_by_names(&files_in(rewritten.path())));
    for _ in 0..50 {
        both.setup.agent.rotate().unwrap();
        rewrite(&both, &rewritten);
        both.settled();
    }
    println!("psql with stable names: {}", by_names.stop());
    println!("psql with files rewritten in place: {}", in_place.stop());

    // The authority changes, too, as SPIRE changes it; each step is over before the next begins.
    let nobody_is_under_way = || {
        for running in [&by_service.running, &through_one] {
            running.wait_for_attempts(running.attempts() + 2, LIMIT);
        }
    };
    both.setup.agent.prepare_authority().unwrap();
    both.settled();
    nobody_is_under_way();
    let agent = &both.setup.agent;
    agent.activate_authority().unwrap();
    agent.rotate().unwrap();
    both.settled();
    nobody_is_under_way();
    both.setup.agent.revoke_authority().unwrap();
    both.settled_on_newest();
    nobody_is_under_way();
    let bundle = fs::read_to_string(both.files.join("svid_bundle.pem")).unwrap();
    assert_eq!(bundle, both.setup.agent.authority().root_pem(), "the old authority is gone");
    let (by_service, through_one) = (by_service.stop(), through_one.stop());
    println!("psql with the service file: {by_service}");
    println!("tokio-postgres through one opened directory: {through_one}");
    for counts in [by_service, through_one] {
        assert_eq!(counts.failed(), 0, "{counts}");
        assert!(counts.succeeded >= 50, "{counts}");
    }
}

#[test]
fn p26_readers_that_see_the_directory_elsewhere_get_paths_that_are_theirs() {
    let elsewhere = Directory::new();
    let certs = elsewhere.join("certs");
    let mut both = Both::start(&format!("seen_as = '{}'", certs.display()));
    symlink(both.files.path(), &certs).unwrap();
    for _ in 0..3 {
        let service = fs::read_to_string(both.files.join("pg_service.conf")).unwrap();
        let generation = fs::read_link(both.files.join("..data")).unwrap();
        for (keyword, file) in
            ["sslcert", "sslkey", "sslrootcert"].into_iter().zip(files_in(&certs.join(&generation)))
        {
            let line = format!("{keyword}={}", file.display());
            assert!(service.lines().any(|found| found == line), "{line:?} is not in\n{service}");
        }
        let output = psql(&certs.join("pg_service.conf")).script("SELECT user").run();
        assert_eq!(output.stdout, ROLE, "{output:?}");
        both.rotate();
    }
    // It is through that path alone that they are reached.
    fs::remove_file(&certs).unwrap();
    let output = both.psql().run();
    assert!(output.stderr.contains(&certs.display().to_string()), "{output:?}");
}

/// What a helper does that rewrites its files in place.
fn rewrite(both: &Both, directory: &Directory) {
    let svid = both.setup.agent.svids().swap_remove(1);
    let contents = [svid.chain_pem(), svid.key_pem(), svid.bundle_pem()];
    let names: [PathBuf; 3] = files_in(directory.path());
    for (path, content) in names.iter().zip(contents) {
        let name = path.file_name().unwrap().to_str().unwrap();
        directory.write(name, content, 0o600);
    }
}
