//! The pictures of the README, taken of the real program. `PGSVID_PICTURES=docs/pictures cargo test --test commands pictures`
//! takes them again.

use std::fmt::Write as _;

use test_support::{LIMIT, Setup, Signal, eventually};

use super::PGSVID;
use super::asked::Asked;
use super::browser::Browser;

/// Width in pixels of what GitHub shows beside its margins.
const WIDTH: u32 = 880;

#[test]
fn pictures_of_the_page_and_of_the_log() {
    let setup = Setup::new(PGSVID);
    let status = Asked::for_a_browser(&setup, "");
    let pgsvid = setup.spawn_leaving_out(&["--log-format"]);
    setup.wait_published();
    setup.cluster.start();
    let serves = |verdict: &str, rotations: usize| {
        eventually(LIMIT, verdict, || {
            let view = status.view();
            let done = view["history"].as_array().map_or(0, Vec::len);
            view["consumers"][0]["verdict"] == verdict && done >= rotations
        });
    };
    serves("current", 1);
    pgsvid.signal(Signal::HUP);
    for rotations in 2..5 {
        setup.agent.rotate().unwrap();
        serves("current", rotations);
    }

    let mut browser = Browser::start();
    for (dark, name) in [(false, "status-light"), (true, "status-dark")] {
        browser.prefer(dark, WIDTH);
        browser.open(&status.url());
        browser.fit();
        assert!(browser.picture(name).len() > 10_000, "{name}");
    }

    // What a DBA does at times: the key of somebody's test.
    let other = setup.agent.authority().issue(&dev_agent::Entry::new(Setup::SPIFFE_ID)).unwrap();
    let key = setup.other.write("old.key", other.key_pem(), 0o600);
    setup.cluster.set_conf(&format!("ssl_key_file = '{}'", key.display()));
    setup.agent.rotate().unwrap();
    serves("still-old", 5);
    let log = pgsvid.lines();
    let page = setup.other.write("terminal.html", terminal(&setup, &log), 0o644);
    browser.open(&format!("file://{}", page.display()));
    browser.fit();
    assert!(browser.text().contains("verdict=current"));
    assert!(browser.picture("log").len() > 10_000);
}

/// The last rotation that succeeded, and the one that did not, as on a terminal.
fn terminal(setup: &Setup, log: &[String]) -> String {
    let begins = log.iter().rposition(|line| line.contains("verdict=current")).unwrap();
    let mut page = String::from(include_str!("terminal.html"));
    let socket = setup.cluster.socket_directory().to_str().unwrap();
    for line in &log[begins - 1..] {
        let line = line
            .replace(socket, "/run/orders")
            .replace(setup.files.path().to_str().unwrap(), "/var/lib/pgsvid")
            .replace(setup.other.path().to_str().unwrap(), "/home/postgres");
        let class = ["ERROR", "WARN", "INFO"].into_iter().find(|level| line.contains(*level));
        let line = line.replace('&', "&amp;").replace('<', "&lt;");
        write!(page, "<span class=\"{}\">{line}</span>", class.unwrap_or("more")).unwrap();
    }
    page
}
