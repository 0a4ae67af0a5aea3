//! What keeps PgBouncer from using the published set, and how that is told.

use test_support::{Account, LIMIT, PgBouncer, Pgsvid, Setup, eventually};

use super::{
    STRICT, alarm, assert_serves, check, configure, current, is, prepared, started, status,
};

/// Copies of the published files, which no rotation changes.
fn copies(setup: &Setup) -> String {
    for name in ["svid.pem", "svid_key.pem", "svid_bundle.pem"] {
        let text = std::fs::read(setup.files.join(name)).unwrap();
        setup.other.write(name, text, 0o600);
    }
    PgBouncer::with_files(setup.other.path())
}

/// Beside a PgBouncer whose settings lead to copies, which have the same content for now.
fn beside_copies() -> (Setup, PgBouncer, Pgsvid) {
    let (setup, pgbouncer) = prepared("");
    let pgsvid = setup.spawn();
    setup.wait_published();
    pgbouncer.configure(&format!("{STRICT}{}", copies(&setup)));
    setup.cluster.start();
    pgbouncer.start();
    current(&pgsvid, "pooler", 1);
    (setup, pgbouncer, pgsvid)
}

#[test]
fn q07_files_of_another_directory_are_named_and_a_corrected_ini_is_loaded() {
    let (setup, pgbouncer, pgsvid) = beside_copies();
    let told = pgsvid.event("settings-lead-elsewhere");
    assert_eq!(told["code"], "pgbouncer-setting-elsewhere", "{told}");
    assert_eq!(told["consumer"], "pooler", "{told}");

    setup.agent.rotate().unwrap();
    let told = alarm(&pgsvid, "pooler");
    assert_eq!(told["verdict"], "still-old", "{told}");
    assert!(told["code"].as_str().unwrap().contains("pgbouncer-setting-elsewhere"), "{told}");
    let files = PgBouncer::with_files(setup.files.path());
    pgbouncer.configure(&format!("{STRICT}{files}"));
    current(&pgsvid, "pooler", 2);
    assert_serves(&pgbouncer, &setup);
}

#[test]
fn q08_a_set_that_pgbouncer_cannot_load_is_still_old_although_reload_says_yes() {
    let (setup, pgbouncer) = prepared("");
    let pgsvid = started(&setup, &[&pgbouncer]);
    current(&pgsvid, "pooler", 1);
    // Its key is one that does not belong to the certificate.
    copies(&setup);
    let (files, other) = (setup.files.path().display(), setup.other.path().display());
    pgbouncer.configure(&format!(
        "{STRICT}client_tls_cert_file = {files}/svid.pem\n\
         client_tls_key_file = {other}/svid_key.pem\nclient_tls_ca_file = {files}/svid_bundle.pem\n"
    ));
    setup.agent.rotate().unwrap();
    let told = alarm(&pgsvid, "pooler");
    assert_eq!(told["verdict"], "still-old", "{told}");
    assert!(told["code"].as_str().unwrap().contains("pgbouncer-setting-elsewhere"), "{told}");
    assert!(pgbouncer.log().contains("TLS setup failed"), "{}", pgbouncer.log());
}

#[test]
fn q09_other_authorities_are_reported_though_none_is_named() {
    let (setup, pgbouncer) = prepared("");
    let pgsvid = started(&setup, &[&pgbouncer]);
    current(&pgsvid, "pooler", 1);
    let twin = dev_agent::Authority::new("example.org", false).unwrap();
    let twin = setup.other.write("twin.pem", twin.root_pem(), 0o644);
    let files = PgBouncer::with_files(setup.files.path());
    pgbouncer.configure(&format!("{STRICT}{files}client_tls_ca_file = {}\n", twin.display()));
    setup.agent.rotate().unwrap();
    let told = alarm(&pgsvid, "pooler");
    assert_eq!(told["verdict"], "old-authorities", "{told}");
}

#[test]
fn q10_two_tables_of_one_pgbouncer_are_an_error() {
    let (setup, pgbouncer) = prepared("");
    configure(&setup, &[&pgbouncer, &pgbouncer], "");
    let pgsvid = setup.spawn();
    let status = pgsvid.wait_exit(LIMIT);
    assert_eq!(status.code(), Some(2), "{}", pgsvid.standard_error());
    assert!(pgsvid.standard_error().contains("two tables name the socket"));
}

#[test]
fn q16_a_part_of_the_ini_that_was_pasted_is_found_before_the_next_rotation() {
    found_before_the_next_rotation(|_, pasted| format!("{STRICT}{pasted}"));
}

/// Lines below the include win over those of the published part.
#[test]
fn b111_a_part_that_was_pasted_below_its_include_is_found_before_the_next_rotation() {
    found_before_the_next_rotation(|included, pasted| format!("{included}{pasted}"));
}

/// `wrong` is made of an ini that includes the published part, and of that part's text.
fn found_before_the_next_rotation(wrong: impl FnOnce(&str, &str) -> String) {
    let (setup, pgbouncer) = prepared("");
    configure(&setup, &[&pgbouncer], "[files]\npgbouncer = 'part.ini'\n");
    let pgsvid = setup.spawn();
    setup.wait_published();
    let part = setup.files.join("part.ini");
    // The links come one after the other.
    eventually(LIMIT, "the part is published", || part.exists());
    let pasted = std::fs::read_to_string(&part).unwrap();
    let included = format!("{STRICT}%include {}\n", part.display());
    pgbouncer.configure(&wrong(&included, &pasted));
    setup.cluster.start();
    pgbouncer.start();
    current(&pgsvid, "pooler", 1);
    let found = check(&setup, Account::server());
    assert!(is(&found, "pgbouncer-setting-elsewhere", "failure"), "{found:?}");
    // The remedy.
    pgbouncer.configure(&included);
    pgbouncer.console("RELOAD");
    let found = check(&setup, Account::server());
    assert!(found.iter().all(|(_, severity)| severity != "failure"), "{found:?}");
}

#[test]
fn q18_on_a_port_that_two_have_and_do_not_share_nothing_is_proven() {
    let (setup, one) = prepared("");
    let two = one.beside(&setup.cluster);
    let files = PgBouncer::with_files(setup.files.path());
    // 1.25 does not start if it can listen on none of its addresses.
    two.configure(&format!("{STRICT}{files}listen_addr = 127.0.0.1, 127.0.0.2\n"));
    configure(&setup, &[&one, &two], "");
    let pgsvid = started(&setup, &[&one, &two]);
    for name in ["pooler", "pooler1"] {
        pgsvid.wait_for_event(LIMIT, |event| {
            event["consumer"] == name && event["code"] == "pgbouncer-port-taken"
        });
        pgsvid.wait_for_event(LIMIT, |event| {
            event["consumer"] == name && event["verdict"] == "unreachable"
        });
    }
    let found = check(&setup, Account::server());
    assert!(is(&found, "pgbouncer-port-taken", "failure"), "{found:?}");
    assert!(pgsvid.events("rotated").iter().all(|event| event["consumer"] == "postgres"));
}

#[test]
fn q26_settings_that_lead_elsewhere_are_one_finding_which_ends_when_they_are_corrected() {
    let (setup, pgbouncer, pgsvid) = beside_copies();
    let failures = || {
        let findings = status(&setup)["consumers"][1]["findings"].clone();
        let findings = findings.as_array().cloned().unwrap_or_default();
        findings.iter().filter(|it| it["severity"] == "failure").count()
    };
    eventually(LIMIT, "it is told once", || failures() == 1);
    // The first word says so, too.
    let view = status(&setup);
    assert!(view["degraded"].to_string().contains("names another file"), "{view}");
    let files = PgBouncer::with_files(setup.files.path());
    pgbouncer.configure(&format!("{STRICT}{files}"));
    pgbouncer.console("RELOAD");
    eventually(LIMIT, "it is told no longer", || {
        failures() == 0 && status(&setup)["degraded"] == serde_json::json!([])
    });
    assert!(pgsvid.events("not-in-force").is_empty());
}

#[test]
fn q27_a_pgbouncer_that_is_stopped_or_started_again_is_noticed_without_another_set() {
    let (setup, pgbouncer) = prepared("");
    let pgsvid = started(&setup, &[&pgbouncer]);
    current(&pgsvid, "pooler", 1);
    let is = |verdict: &str| status(&setup)["consumers"][1]["verdict"] == verdict;
    eventually(LIMIT, "it is proven", || is("current"));
    pgbouncer.stop();
    eventually(LIMIT, "it is down", || is("unreachable"));
    pgbouncer.start();
    eventually(LIMIT, "it is back", || is("current"));
}
