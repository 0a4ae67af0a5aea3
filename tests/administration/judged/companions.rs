//! The files that pgsvid publishes beside certificate, key and bundle.

use test_support::Setup;

use crate::judged::{PGSVID, check, found, one, start};

#[test]
fn b143_a_companion_that_is_gone_or_changed_is_a_failure() {
    let setup = Setup::builder(PGSVID).create();
    setup.configure(
        "[files]\nident = 'map.conf'\npgbouncer = 'pgbouncer.ini'\n[[files.extra]]\nname = 'all.pem'\ncontent = 'combined'\n\
         [[files.extra]]\nname = 'key.der'\ncontent = 'der-key'\n",
    );
    start(&setup);
    let report = check(&setup, &[]);
    assert!(found(&report, "failure", "published-set").is_empty(), "{report:#}");
    let at = |name: &str| setup.files.join("..data").join(name);
    std::fs::remove_file(at("map.conf")).unwrap();
    std::fs::remove_file(at("key.der")).unwrap();
    let text = std::fs::read_to_string(at("pgbouncer.ini")).unwrap();
    let mut changed = std::fs::File::create(at("pgbouncer.ini")).unwrap();
    std::io::Write::write_all(&mut changed, format!("{text}junk\n").as_bytes()).unwrap();
    let report = check(&setup, &[]);
    let told = one(&report, "failure", "published-set")["text"].as_str().unwrap().to_owned();
    for part in ["map.conf (missing)", "key.der (missing)", "pgbouncer.ini (changed)"] {
        assert!(told.contains(part), "{told}");
    }
    assert!(!told.contains("all.pem"), "{told}");
    // What the remedy says.
    start_again(&setup);
    let report = check(&setup, &[]);
    assert!(found(&report, "failure", "published-set").is_empty(), "{report:#}");
}

fn start_again(setup: &Setup) {
    let pgsvid = setup.spawn();
    pgsvid.event("rotated");
    assert!(pgsvid.terminate(test_support::LIMIT).success());
}
