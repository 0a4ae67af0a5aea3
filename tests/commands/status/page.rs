//! The page in a browser: it updates by itself, and foreign texts stay texts.

use dev_agent::Misbehaviour;
use test_support::{LIMIT, Setup, Signal, eventually};

use super::PGSVID;
use super::asked::Asked;
use super::browser::Browser;

const MARKUP: &str = "</dd></title><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">";

#[test]
fn the_page_follows_by_itself() {
    let setup = Setup::new(PGSVID);
    let status = Asked::for_a_browser(&setup, "");
    let pgsvid = setup.start();
    let mut browser = Browser::start();
    browser.open(&status.url());
    assert!(browser.text().contains("PostgreSQL serves the published certificate"));
    setup.cluster.set_conf("ssl = off");
    pgsvid.signal(Signal::HUP);
    eventually(LIMIT, "it is known", || status.consumer()["verdict"] == "plaintext");
    let view = status.view();
    assert_eq!(view["consumers"][0]["findings"][0]["code"], "ssl-off", "{view}");
    assert_eq!(view["history"][0]["codes"][0], "ssl-off", "{view}");
    // Nobody but the page itself asks for it again.
    browser.loaded();
    let text = browser.text();
    assert!(text.contains("has TLS turned off") && text.contains("Next try"), "{text}");
}

#[test]
fn texts_of_others_are_text_on_the_page() {
    let setup = Setup::new(PGSVID);
    let status = Asked::for_a_browser(&setup, "");
    // PostgreSQL's own words name the role. It starts with the first set; that it has read the second, whose certificate
    // is the same, is not to be seen from outside.
    let pgsvid = setup.spawn_with(&["--user", "<img src=x onerror=take()>"]);
    setup.wait_published();
    setup.cluster.start();
    pgsvid.current(1);
    pgsvid.signal(Signal::HUP);
    setup.agent.misbehave(Misbehaviour::Refuse(tonic::Status::unavailable(MARKUP)));
    setup.agent.drop_connections();
    eventually(LIMIT, "both have said something", || {
        let view = status.view().to_string();
        view.contains("<script>") && view.contains("onerror=take()>")
    });
    let mut browser = Browser::start();
    browser.open(&status.url());
    let text = browser.text();
    assert!(text.contains(MARKUP) && text.contains("<img src=x onerror="), "{text}");
    assert_eq!(browser.evaluate("document.querySelectorAll('script, img').length"), 0);
    assert!(browser.evaluate("document.title").as_str().unwrap().ends_with("· pgsvid"));
}
