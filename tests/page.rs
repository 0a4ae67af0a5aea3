//! The status page in a real browser: what it shows, that it follows, and that others' texts stay texts.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use dev_agent::Misbehaviour;
use test_support::{LIMIT, Setup, Signal, eventually};

#[test]
fn a_browser_shows_each_state_and_follows_it() {
    let setup = Setup::new(env!("CARGO_BIN_EXE_pgsvid"));
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    setup.configure(&format!("[health]\nlisten = '{address}'"));
    let url = format!("http://{address}/");
    let pgsvid = setup.start();
    let page = shown(&url);
    for text in [">Ready<", "PostgreSQL serves the published certificate", Setup::SPIFFE_ID] {
        assert!(page.contains(text), "{text} in {page}");
    }
    assert!(page.contains("http-equiv=\"refresh\""), "it fetches itself anew: {page}");
    assert!(page.contains("<rect class=\"bar\""), "{page}");

    let picture = |name: &str, width: u32| {
        let file = setup.other.join(name);
        let empty = screenshot("about:blank", &file, width);
        let full = screenshot(&url, &file, width);
        assert!(full > 3 * empty, "{full} bytes, and {empty} of an empty page");
        keep(&file, name);
    };
    picture("ready.png", 900);
    picture("ready-phone.png", 500);

    setup.cluster.set_conf("ssl = off");
    pgsvid.signal(Signal::HUP);
    eventually(LIMIT, "the browser shows what is wrong", || shown(&url).contains(">Not ready<"));
    let page = shown(&url);
    assert!(page.contains("has TLS turned off"), "{page}");
    assert!(page.contains("Next try"), "{page}");
    picture("not-ready.png", 900);
}

#[test]
fn a_browser_finds_no_markup_in_texts_of_others() {
    let setup = Setup::new(env!("CARGO_BIN_EXE_pgsvid"));
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    setup.configure(&format!("[health]\nlisten = '{address}'"));
    let _pgsvid = setup.start();
    let text = "</dd><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">";
    setup.agent.misbehave(Misbehaviour::Refuse(tonic::Status::unavailable(text)));
    setup.agent.drop_connections();
    let url = format!("http://{address}/");
    eventually(LIMIT, "the agent's words are shown", || shown(&url).contains("&lt;script&gt;"));
    let page = shown(&url);
    assert!(page.contains("<title>Ready · pgsvid</title>"), "{page}");
    assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
}

fn chromium(profile: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("chromium");
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--hide-scrollbars", "--timeout=5000"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(arguments)
        .stderr(Stdio::null());
    command
}

/// The document as the browser has understood it.
fn shown(url: &str) -> String {
    let profile = tempfile::tempdir().unwrap();
    let output = chromium(profile.path(), &["--dump-dom", url]).output().expect("runs chromium");
    String::from_utf8(output.stdout).unwrap()
}

/// The size of a picture of the page, in bytes.
fn screenshot(url: &str, file: &Path, width: u32) -> u64 {
    let profile = tempfile::tempdir().unwrap();
    let size = format!("--window-size={width},1000");
    let to = format!("--screenshot={}", file.display());
    let status = chromium(profile.path(), &[&size, &to, url]).status().expect("runs chromium");
    assert!(status.success());
    fs::metadata(file).unwrap().len()
}

/// For whoever wants to look at them: `PGSVID_PICTURES` names a directory.
fn keep(file: &Path, name: &str) {
    if let Some(directory) = std::env::var_os("PGSVID_PICTURES") {
        fs::copy(file, Path::new(&directory).join(name)).unwrap();
    }
}
