//! A PgBouncer that reads the files of another program where they are: it opens them at each connection to PostgreSQL.

use test_support::{LIMIT, PgBouncer, eventually};

use super::place::{NAMES, Place, texts};

/// PgBouncer's lines: the files of the other program, towards clients and towards PostgreSQL.
fn lines(place: &Place) -> String {
    let side = |side: &str| {
        let [certificate, key, bundle] = NAMES.map(|name| place.at(name).display().to_string());
        format!(
            "{side}_tls_sslmode = verify-full\n{side}_tls_cert_file = {certificate}\n\
             {side}_tls_key_file = {key}\n{side}_tls_ca_file = {bundle}\n"
        )
    };
    format!("auth_type = cert\nserver_login_retry = 1\n{}{}", side("client"), side("server"))
}

#[test]
fn q25_files_in_place_that_are_no_set_are_reported_as_pgbouncers_trouble_until_they_are_one() {
    let place = Place::read_in_place("");
    let pgbouncer = PgBouncer::before(&place.setup.cluster);
    pgbouncer.configure(&lines(&place));
    let (listen, table) = (place.listen(), pgbouncer.table("pooler"));
    place.configure("", &format!("health.listen = '{listen}'\n{}\n{table}", place.server()));
    place.write(&place.issue());
    place.setup.cluster.start();
    pgbouncer.start();
    let pgsvid = place.spawn_in_place();
    eventually(LIMIT, "both serve the set", || {
        let status = place.status();
        let verdicts = |at: usize| status["consumers"][at]["verdict"] == "current";
        verdicts(0) && verdicts(1) && status["degraded"] == serde_json::json!([])
    });
    let (_, report) = place.command(&["check", "--format", "json"]);
    assert!(!report.contains("\"pgbouncer-files-unusable\""), "{report}");
    // What could be set does not exist without a directory.
    assert!(!report.contains("set files.pgbouncer = "), "{report}");
    assert!(report.contains("server_login_retry, 1 s"), "{report}");

    let mark = pgsvid.mark();
    let next = place.issue();
    let [certificate, key, bundle] = texts(&next);
    place.certs.write("tls.key", key, 0o600);
    let (event, _) = pgsvid
        .wait_for_event_after(mark, LIMIT, |event| event["event"] == "files-unusable-in-place");
    let of = (&event["level"], &event["consumer"], &event["code"]);
    assert_eq!(of, (&"ERROR".into(), &"pooler".into(), &"pgbouncer-files-unusable".into()));
    let status = place.status();
    assert_eq!(status["ready"], true, "{status}");
    let degraded = status["degraded"].to_string();
    assert!(degraded.contains("pooler: PgBouncer opens the files"), "{degraded}");
    let [postgres, pooler] = [0, 1].map(|at: usize| &status["consumers"][at]["findings"]);
    assert_eq!(pooler[0]["code"], "pgbouncer-files-unusable", "{status}");
    assert_eq!(postgres, &serde_json::json!([]), "{status}");
    let (code, report) = place.command(&["check", "--format", "json"]);
    assert_eq!(code, Some(1), "{report}");
    assert!(report.contains("\"pgbouncer-files-unusable\""), "{report}");

    place.certs.write("tls.crt", certificate, 0o600);
    place.certs.write("ca.crt", bundle, 0o600);
    eventually(LIMIT, "it is over", || {
        let status = place.status();
        status["degraded"] == serde_json::json!([])
            && status["consumers"][1]["verdict"] == "current"
            && !status["consumers"][1]["findings"].to_string().contains("pgbouncer-files-unusable")
    });
    assert_eq!(pgsvid.events("files-unusable-in-place").len(), 1);
}
