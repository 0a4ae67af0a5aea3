//! The answer of `/metrics`, and its page in the documentation.

use std::path::Path;

use test_support::{LIMIT, Setup, eventually};

use super::PGSVID;
use super::asked::Asked;

#[test]
fn metrics_tell_times_counts_and_sessions_of_a_role_that_may_see_them() {
    let setup = Setup::new(PGSVID);
    let status = Asked::configure(&setup, "");
    let pgsvid = setup.start();
    assert!(!status.metrics().contains("\npgsvid_sessions{"), "{}", status.metrics());
    setup.cluster.sql("postgres", "postgres", "GRANT pg_read_all_stats TO pgsvid");
    setup.agent.rotate().unwrap();
    pgsvid.current(2);
    // They are counted once the rotation is proven.
    let counted = || status.metrics().contains("\npgsvid_sessions{");
    eventually(LIMIT, "the sessions are counted", counted);
    let metrics = status.metrics();
    for sample in [
        "pgsvid_sessions{consumer=\"postgres\",protocol=\"TLSv1.3\"} ",
        "pgsvid_sessions_older_than_svid_estimate{consumer=\"postgres\"} 0",
        "pgsvid_published_not_after_timestamp_seconds ",
        "pgsvid_served_not_after_timestamp_seconds{consumer=\"postgres\"} ",
        "pgsvid_authority_not_after_timestamp_seconds ",
        "pgsvid_verified_timestamp_seconds{consumer=\"postgres\"} ",
        "pgsvid_publications_total{outcome=\"completed\"} 2",
        "pgsvid_publication_duration_seconds_count 2",
        "pgsvid_delivery_attempts_total{consumer=\"postgres\",outcome=\"completed\",step=\"verify\"} 2",
        "pgsvid_rotation_duration_seconds_count{consumer=\"postgres\"} 2",
        "pgsvid_delivery_step_duration_seconds_count{consumer=\"postgres\",step=\"reload\"} 2",
        "pgsvid_agent_rejected_messages_total{reason=\"validity\"} 0",
        "process_resident_memory_bytes ",
        "process_start_time_seconds ",
        "pgsvid_build_info{version=\"",
    ] {
        assert!(metrics.contains(&format!("\n{sample}")), "{sample} in {metrics}");
    }
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
}

/// `docs/monitoring.md` lists what the binary exposes; `PGSVID_WRITE_DOCS=1` writes it.
#[test]
fn the_page_of_metrics_is_the_registrys() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/monitoring.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- metrics: begin -->\n", "<!-- metrics: end -->\n");
    let (before, rest) = text.split_once(begin).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    let table =
        "| metric | type | meaning |\n|---|---|---|\n".to_owned() + &pgsvid::status::reference();
    let wanted = format!("{before}{begin}\n{table}\n{end}{after}");
    if std::env::var_os("PGSVID_WRITE_DOCS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
        return;
    }
    assert!(
        text == wanted,
        "docs/monitoring.md is stale: PGSVID_WRITE_DOCS=1 cargo test --test commands page_of_metrics"
    );
}
