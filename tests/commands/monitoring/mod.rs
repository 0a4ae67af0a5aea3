//! The alert rules and the dashboard of `examples/monitoring`, with a real Prometheus that scrapes a real pgsvid.

#![allow(clippy::disallowed_methods, reason = "what is read here is no published file")]
mod exposed;
mod prometheus;
mod promql;

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use serde_json::Value;
use test_support::{ApiServer, LIMIT, PgBouncer, Pgsvid, Setup, Signal, eventually, free_address};

use exposed::Exposed;
use prometheus::{Prometheus, get, tool};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/monitoring");
/// Where the alerts' links lead: this repository's pages.
const PAGES: &str = "https://github.com/pgsvid/pgsvid/blob/main/";
/// PgBouncer's settings besides the files.
const POOLED: &str =
    "client_tls_sslmode = verify-full\nauth_type = cert\nserver_tls_sslmode = verify-full\n";
/// Queries of the dashboard that find nothing where all is well, or while there was one rotation alone.
const MAY_BE_EMPTY: [&str; 2] = ["pgsvid_agent_rejected_messages_total", "changes("];

#[test]
fn promtool_accepts_the_rules_and_their_tests_pass() {
    for arguments in [
        ["check", "rules", "pgsvid.rules.yml"],
        ["check", "config", "prometheus.yml"],
        ["test", "rules", "pgsvid.rules.test.yml"],
    ] {
        let output =
            Command::new(tool("promtool")).args(arguments).current_dir(FILES).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "promtool {}: {text}{errors}", arguments.join(" "));
        assert!(text.contains("SUCCESS"), "{text}");
    }
}

#[test]
fn a_prometheus_reads_every_metric_and_raises_an_alert() {
    let (setup, pgsvid, address, _beside) = database();
    let exposed = Exposed::at(address);
    let prometheus = Prometheus::start(address, &Path::new(FILES).join("pgsvid.rules.yml"));
    let names = exposed.names().iter().map(String::as_str).collect::<Vec<_>>().join("|");
    let count = format!("count(count by (__name__) ({{__name__=~\"{names}\"}}))");
    // Two scrapes, and so something to compute a rate from.
    eventually(LIMIT, "Prometheus has scraped twice", || {
        prometheus.number("min(count_over_time(up[1m]))").is_some_and(|count| count >= 2.0)
            && prometheus.number("pgsvid_ready") == Some(1.0)
    });
    assert_eq!(
        prometheus.number(&count).map(|count| count.to_string()),
        Some(exposed.names().len().to_string())
    );

    // The rules, as Prometheus has understood them.
    let rules = prometheus.rules();
    assert!(rules.len() >= 15, "{rules:#?}");
    let tests = fs::read_to_string(Path::new(FILES).join("pgsvid.rules.test.yml")).unwrap();
    for rule in &rules {
        let name = rule["name"].as_str().unwrap();
        assert_eq!(rule["lastError"], Value::Null, "{name}");
        exposed.has_all_of(name, rule["query"].as_str().unwrap());
        assert!(tests.contains(&format!("alertname=\"{name}\"")), "{name} has no test");
        assert!(["warning", "critical"].contains(&rule["labels"]["severity"].as_str().unwrap()));
        let text = |key: &str| rule["annotations"][key].as_str().unwrap_or_default().to_owned();
        for key in ["summary", "description"] {
            assert!(text(key).len() > 20, "{name}: {key}");
            exposed.has_labels_of_template(name, &text(key));
        }
        leads_somewhere(name, &text("runbook_url"));
    }

    // The dashboard: every query finds what it is about.
    for expression in dashboard_expressions(&dashboard()) {
        exposed.has_all_of("dashboard", &expression);
        let found = prometheus.query(&expression);
        let may_be_empty = MAY_BE_EMPTY.iter().any(|part| expression.contains(part));
        assert!(may_be_empty || !found.is_empty(), "{expression} finds nothing");
    }

    // From a real mistake to the alert.
    assert_eq!(prometheus.alerts(), BTreeSet::new(), "all is well");
    setup.cluster.set_conf("ssl = off");
    pgsvid.signal(Signal::HUP);
    eventually(LIMIT, "the alert is raised", || prometheus.alerts().contains("PgsvidPlaintext"));
}

#[test]
fn the_rules_tests_use_what_is_exposed() {
    let (_setup, _pgsvid, address, _beside) = database();
    let exposed = Exposed::at(address);
    let tests = fs::read_to_string(Path::new(FILES).join("pgsvid.rules.test.yml")).unwrap();
    let mut checked = 0;
    for line in tests.lines() {
        if let Some(series) = line.trim().strip_prefix("- series: '") {
            exposed.has_all_of("test", series.trim_end_matches('\''));
            checked += 1;
        } else if let Some(expression) = line.trim().strip_prefix("- expr: ") {
            exposed.has_all_of("test", expression);
        }
    }
    assert!(checked > 40, "{checked}");
    exposed.is_documented(
        &fs::read_to_string(Path::new(FILES).join("../../docs/monitoring.md")).unwrap(),
    );
}

#[test]
fn the_dashboard_has_a_place_for_each_panel() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is another's");
        assert!(panel["description"].as_str().unwrap().len() > 10, "{title}");
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{title} is too wide");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "{title} lies over another");
            }
        }
        assert!(!panel["targets"].as_array().unwrap().is_empty(), "{title}");
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            assert!(
                target["expr"].as_str().unwrap().contains("instance=~\"$instance\""),
                "{title}"
            );
        }
    }
    assert!(panels.len() >= 10);
}

#[test]
fn a_name_that_is_not_exposed_is_found() {
    let exposed = Exposed::parse(
        "# HELP pgsvid_verdict V\n# TYPE pgsvid_verdict gauge\npgsvid_verdict{verdict=\"current\"} 1\n# EOF\n",
    );
    let objections = |expression: &str| exposed.objections(expression).join("; ");
    for good in [
        "pgsvid_verdict{verdict=\"current\", instance=~\"a\"} == 1",
        "sum without (verdict) (rate(pgsvid_verdict[5m])) and ignoring (verdict) up{job=\"pgsvid\"} == 0",
    ] {
        assert_eq!(objections(good), "", "{good}");
    }
    for (bad, wanted) in [
        ("pgsvid_veredict == 1", "there is no pgsvid_veredict"),
        ("pgsvid_verdict{state=\"current\"}", "pgsvid_verdict has no label state"),
        ("pgsvid_verdict{verdict=\"fresh\"}", "verdict is never \"fresh\""),
        ("sum by (outcome) (pgsvid_verdict)", "nothing here has a label outcome"),
    ] {
        assert_eq!(objections(bad), wanted);
    }
}

/// What is beside the database, and ends when it is dropped.
struct Beside {
    _api_server: ApiServer,
    _pooler: PgBouncer,
}

/// A database that is looked after, with a PgBouncer, a client and a Secret, and where to ask about it. Its role may see sessions, and
/// one has outlived its certificate.
fn database() -> (Setup, Pgsvid, SocketAddr, Beside) {
    let setup = Setup::builder(PGSVID)
        .cluster(|cluster| cluster.hba("hostssl postgres localhost 127.0.0.1/32 cert"))
        .create();
    let address = free_address();
    let hook = "[[hooks]]\nname = 'pooler'\ncommand = ['/bin/true']\n";
    let port = setup.cluster.port();
    let client = format!(
        "[client.options]\nuser = 'localhost'\ndbname = 'postgres'\nhost = 'localhost'\nhostaddr = '127.0.0.1'\nport = {port}\n"
    );
    let served = format!("[[served]]\nname = 'cluster'\naddress = 'localhost:{port}'\n");
    let file = setup.files.join("token");
    let token = format!("[[jwt]]\naudience = 'products'\nfile = '{}'\n", file.display());
    let pgbouncer = PgBouncer::before(&setup.cluster);
    pgbouncer.configure(&format!("{POOLED}{}", PgBouncer::with_files(setup.files.path())));
    let pooler = pgbouncer.table("pgbouncer");
    let api_server = ApiServer::start();
    let secret = "[[secrets]]\nname = 'db'\ncreate = true\nfields = { 'tls.crt' = 'chain' }\n";
    let secret = format!("{}{secret}", api_server.table());
    setup
        .configure(&format!(
            "[postgres]\nclient_svid_life = '1s'\n{pooler}login_role = 'localhost'\n{hook}{client}{served}{token}{secret}[health]\nlisten = '{address}'"
        ));
    let pgsvid = setup.start();
    setup.cluster.sql("postgres", "postgres", "GRANT pg_read_all_stats TO pgsvid");
    setup.cluster.sql("postgres", "postgres", "CREATE ROLE localhost LOGIN");
    pgbouncer.start();
    let session = setup.cluster.client(setup.files.path(), "localhost", "");
    // It ends with the server.
    thread::spawn(move || session.script("SELECT pg_sleep(3600)").run());
    let old = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%sleep(3600)' AND backend_start < now() - interval '2s'";
    eventually(LIMIT, "a session has outlived its certificate", || {
        setup.cluster.sql("postgres", "postgres", old) == "1"
    });
    setup.agent.rotate().unwrap();
    pgsvid.current(2);
    pgsvid.event("client-admitted");
    // They are counted once the rotation is proven.
    let counted = || {
        let page = get(address, "/metrics");
        [
            "\npgsvid_sessions{",
            "\npgsvid_sessions_outlived{",
            "\npgsvid_served_delay_seconds{",
            "\npgsvid_pgbouncer_server_side_proven{consumer=\"pgbouncer\"} 1",
        ]
        .iter()
        .all(|it| page.contains(it))
    };
    eventually(LIMIT, "the sessions are counted, and the instance is measured", counted);
    (setup, pgsvid, address, Beside { _api_server: api_server, _pooler: pgbouncer })
}

fn dashboard() -> Value {
    let text = fs::read_to_string(Path::new(FILES).join("dashboard.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Its queries, with the variables that Grafana fills in.
fn dashboard_expressions(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_str() {
                    Some(expression) if key == "expr" => found.push(
                        expression
                            .replace("$instance", ".*")
                            .replace("$__rate_interval", "1m")
                            .replace("$__range", "5m"),
                    ),
                    _ => found.extend(dashboard_expressions(value)),
                }
            }
        }
        Value::Array(values) => found.extend(values.iter().flat_map(dashboard_expressions)),
        _ => {}
    }
    found
}

/// The page is there, and so is the heading.
fn leads_somewhere(name: &str, url: &str) {
    let link = url.strip_prefix(PAGES).unwrap_or_else(|| panic!("{name} links to {url}"));
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let page: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{name}: {url}: {error}"));
    let slug = |heading: &str| -> String {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    let found = text.lines().any(|line| line.starts_with('#') && slug(line) == anchor);
    assert!(anchor.is_empty() || found, "{name}: {url} leads nowhere");
}
