//! A listener, and all of its answers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Output};

use dev_agent::Svid;
use serde_json::Value;
use test_support::{LIMIT, Pgsvid, Setup, Signal, eventually, free_address};

use super::PGSVID;
use super::browser::Browser;

/// Where it listens.
pub(crate) enum Asked {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

impl Asked {
    /// Lets the next pgsvid listen on a Unix socket.
    pub(crate) fn configure(setup: &Setup, more: &str) -> Self {
        Self::at(setup, more, Self::Unix(setup.other.join("status.sock")))
    }

    /// Lets the next pgsvid listen where a browser can ask.
    pub(crate) fn for_a_browser(setup: &Setup, more: &str) -> Self {
        let address = free_address();
        Self::at(setup, more, Self::Tcp(address))
    }

    fn at(setup: &Setup, more: &str, asked: Self) -> Self {
        setup.configure(&format!("{more}\n[health]\nlisten = '{}'", asked.name()));
        asked
    }

    /// As `health.listen` and `--socket` have it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Unix(path) => format!("unix:{}", path.display()),
            Self::Tcp(address) => address.to_string(),
        }
    }

    /// The page's address.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.name())
    }

    pub(crate) fn listens(&self) -> bool {
        match self {
            Self::Unix(path) => UnixStream::connect(path).is_ok(),
            Self::Tcp(address) => TcpStream::connect(address).is_ok(),
        }
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
    }

    pub(crate) fn ask(&self, request: &str) -> (u16, String) {
        fn converse(mut stream: impl Read + Write, request: &str) -> String {
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        }
        let answer = match self {
            Self::Unix(path) => converse(UnixStream::connect(path).unwrap(), request),
            Self::Tcp(address) => converse(TcpStream::connect(address).unwrap(), request),
        };
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    pub(crate) fn metrics(&self) -> String {
        self.get("/metrics").1
    }

    pub(crate) fn view(&self) -> Value {
        serde_json::from_str(&self.get("/status").1).unwrap()
    }

    /// What it says of the one consumer.
    pub(crate) fn consumer(&self) -> Value {
        self.view()["consumers"][0].clone()
    }

    /// What it says of the directory.
    pub(crate) fn target(&self) -> Value {
        self.view()["targets"][0].clone()
    }

    /// `pgsvid status`, with more arguments.
    pub(crate) fn command(&self, more: &[&str]) -> Output {
        Command::new(PGSVID).args(["status", "--socket", &self.name()]).args(more).output().unwrap()
    }

    /// Waits for a verdict, and looks at every place.
    #[track_caller]
    pub(crate) fn says(&self, verdict: &str, ready: bool, browser: &mut Browser) -> Value {
        eventually(LIMIT, verdict, || self.listens() && self.consumer()["verdict"] == verdict);
        // A server that has just started may have to be asked once more.
        let at_rest = || verdict != "current" || self.view()["degraded"] == serde_json::json!([]);
        eventually(LIMIT, "all is well", at_rest);
        let view = self.view();
        assert_eq!(view["ready"], ready, "{view}");
        let (code, text) = self.get("/readyz");
        assert_eq!(code, if ready { 200 } else { 503 }, "{verdict}: {text}");
        assert_eq!(text.starts_with("ready\n"), ready, "{text}");
        let metrics = self.metrics();
        for sample in [
            format!("\npgsvid_verdict{{consumer=\"postgres\",verdict=\"{verdict}\"}} 1\n"),
            format!("\npgsvid_ready {}\n", u8::from(ready)),
        ] {
            assert!(metrics.contains(&sample), "{sample} in {metrics}");
        }
        assert_eq!(metrics.matches("\npgsvid_verdict{").count(), 8, "{metrics}");

        let output = self.command(&[]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(i32::from(!ready)), "{text}");
        assert_eq!(text.starts_with("not ready"), !ready, "{text}");
        assert!(text.lines().any(|line| line.starts_with(verdict)), "{text}");

        self.shows(verdict, &view, browser);
        view
    }

    /// The page in a browser: in both schemes of colours, on a desk and on a phone.
    #[track_caller]
    fn shows(&self, verdict: &str, view: &Value, browser: &mut Browser) {
        let degraded = !view["degraded"].as_array().unwrap().is_empty();
        let word = match (view["ready"] == true, degraded) {
            (false, _) => "Not ready",
            (true, true) => "Degraded",
            (true, false) => "Ready",
        };
        let mut papers = Vec::new();
        let is_new = browser.seen.insert(verdict.to_owned());
        let ways = [(false, 900), (true, 900), (false, 360), (true, 360)];
        for (dark, width) in ways.into_iter().take(if is_new { 4 } else { 1 }) {
            browser.prefer(dark, width);
            browser.open(&self.url());
            let shown = browser.evaluate("document.querySelector('.word').textContent");
            assert_eq!(shown, word, "{verdict}");
            let title = browser.evaluate("document.title");
            assert_eq!(title, format!("{word} · pgsvid"));
            let text = browser.text();
            assert!(text.contains(verdict), "{verdict} is not in:\n{text}");
            for list in ["missing", "degraded"] {
                for words in view[list].as_array().unwrap() {
                    // How much time is left may have changed meanwhile.
                    let words = words.as_str().unwrap().split(" in ").next().unwrap();
                    assert!(text.contains(words), "{words} is not in:\n{text}");
                }
            }
            let look = browser.look();
            let (contrast, what) = look.contrast;
            assert!(contrast >= 4.5, "{verdict}, dark {dark}: {contrast} at {what}");
            assert!(look.overflow <= 0.0, "{verdict} at {width}: {} too wide", look.overflow);
            papers.push(look.paper);
            let scheme = if dark { "dark" } else { "light" };
            let picture = browser.picture(&format!("{verdict}-{scheme}-{width}"));
            assert!(picture.len() > 20_000, "{} bytes are no page", picture.len());
        }
        if is_new {
            assert_ne!(papers[0], papers[1], "the schemes differ");
            assert_eq!((&papers[0], &papers[1]), (&papers[2], &papers[3]));
        }
    }
}

/// The settings that let the server serve this instead of what is published.
pub(crate) fn serving(setup: &Setup, svid: &Svid) -> String {
    let serial = svid.serial_hex();
    let file = |name: &str, text: String, mode| {
        setup.other.write(&format!("{serial}{name}"), text, mode).display().to_string()
    };
    format!(
        "ssl = on\nssl_cert_file = '{}'\nssl_key_file = '{}'",
        file("cert.pem", svid.chain_pem(), 0o644),
        file("key.pem", svid.key_pem(), 0o600)
    )
}

/// Lets the server serve what is published.
pub(crate) fn serve_published(setup: &Setup, pgsvid: &Pgsvid) {
    let path = |name| setup.files.join(name).display().to_string();
    setup.cluster.set_conf(&format!(
        "ssl = on\nssl_cert_file = '{}'\nssl_key_file = '{}'\nssl_ca_file = '{}'",
        path("svid.pem"),
        path("svid_key.pem"),
        path("svid_bundle.pem")
    ));
    pgsvid.signal(Signal::HUP);
}
