//! Processes that share a port (`so_reuseport`): the kernel chooses one for each connection.

use test_support::{PgBouncer, Served};

use super::{STRICT, alarm, configure, current, prepared, started};

const SHARED: &str = "so_reuseport = 1\n";

/// How many of 40 handshakes show this leaf.
fn shown(pgbouncer: &PgBouncer, leaf: &[u8]) -> usize {
    (0..40).filter(|_| Served::at(pgbouncer.port()).is_ok_and(|served| served.leaf == leaf)).count()
}

#[test]
fn q11_each_process_on_a_port_is_reloaded_and_the_proof_is_of_all() {
    let (setup, one) = prepared(SHARED);
    let two = one.beside(&setup.cluster);
    let files = PgBouncer::with_files(setup.files.path());
    two.configure(&format!("{STRICT}{files}{SHARED}"));
    configure(&setup, &[&one, &two], "");
    let pgsvid = started(&setup, &[&one, &two]);
    for generation in 1..=3 {
        current(&pgsvid, "pooler", generation);
        current(&pgsvid, "pooler1", generation);
        assert_eq!(shown(&one, setup.agent.svid().leaf()), 40);
        if generation < 3 {
            setup.agent.rotate().unwrap();
        }
    }
}

#[test]
fn q12_a_process_that_is_left_out_is_found_by_what_it_serves() {
    let (setup, one) = prepared(SHARED);
    let two = one.beside(&setup.cluster);
    let files = PgBouncer::with_files(setup.files.path());
    two.configure(&format!("{STRICT}{files}{SHARED}"));
    let pgsvid = started(&setup, &[&one, &two]);
    current(&pgsvid, "pooler", 1);
    setup.agent.rotate().unwrap();
    let told = alarm(&pgsvid, "pooler");
    assert_eq!(told["verdict"], "still-old", "{told}");
    let old = shown(&one, setup.agent.svid().leaf());
    assert!((1..40).contains(&old), "{old}");
    two.console("RELOAD");
    current(&pgsvid, "pooler", 2);
}
