//! A headless Chromium, controlled by its developer tools' protocol over a pipe: messages of JSON that end with a zero byte.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::{Value, json};
use test_support::{Directory, LIMIT};

/// One page of one browser, which ends with it.
pub(crate) struct Browser {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    session: Option<String>,
    calls: u64,
    /// What it was shown so far.
    pub(crate) seen: BTreeSet<String>,
    _profile: tempfile::TempDir,
}

/// What a page is looked at for.
#[derive(Debug)]
pub(crate) struct Look {
    /// The smallest ratio of contrast of any text to what is behind it, as WCAG 2 defines it, and that text.
    pub(crate) contrast: (f64, String),
    /// Colour behind everything.
    pub(crate) paper: String,
    /// By how many pixels the page is wider than the window.
    pub(crate) overflow: f64,
}

impl Browser {
    pub(crate) fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        // The protocol's pipes are the descriptors 3 and 4.
        let mut child = Command::new("/bin/sh")
            .args(["-c", "exec chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", "sh"])
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update"])
            .args(["--disable-sync", "--disable-quic", "--hide-scrollbars"])
            .arg("--remote-debugging-pipe")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("runs chromium");
        let input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let (sender, messages) = channel();
        thread::spawn(move || {
            let mut message = Vec::new();
            while output.read_until(0, &mut message).is_ok_and(|length| length > 0) {
                message.pop();
                let Ok(value) = serde_json::from_slice(&message) else { return };
                if sender.send(value).is_err() {
                    return;
                }
                message.clear();
            }
        });
        let mut browser = Self {
            child,
            input,
            messages,
            session: None,
            calls: 0,
            seen: BTreeSet::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let target = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", &target);
        browser.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        browser.call("Page.enable", &json!({}));
        browser
    }

    /// Loads a page.
    pub(crate) fn open(&mut self, url: &str) {
        let answer = self.call("Page.navigate", &json!({ "url": url }));
        assert_eq!(answer["errorText"], Value::Null, "{url}");
        self.loaded();
    }

    /// Waits until a page is loaded.
    pub(crate) fn loaded(&mut self) {
        while self.message()["method"] != "Page.loadEventFired" {}
    }

    /// The value of an expression of JavaScript.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true });
        let mut answer = self.call("Runtime.evaluate", &parameters);
        assert_eq!(answer["exceptionDetails"], Value::Null, "{expression}");
        answer["result"]["value"].take()
    }

    /// The text that a person reads.
    pub(crate) fn text(&mut self) -> String {
        self.evaluate("document.body.innerText").as_str().unwrap().to_owned()
    }

    /// Whether the person wants dark pages, and how wide the window is.
    pub(crate) fn prefer(&mut self, dark: bool, width: u32) {
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", &json!({ "features": features }));
        let size =
            json!({ "width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Makes the window as high as the page.
    pub(crate) fn fit(&mut self) {
        let size =
            "[innerWidth, Math.ceil(document.documentElement.getBoundingClientRect().height)]";
        let size = self.evaluate(size);
        let size =
            json!({ "width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Looks at colours and widths as they are computed.
    pub(crate) fn look(&mut self) -> Look {
        let found = self.evaluate(include_str!("look.js"));
        Look {
            contrast: (found["contrast"].as_f64().unwrap(), found["text"].to_string()),
            paper: found["paper"].as_str().unwrap().to_owned(),
            overflow: found["overflow"].as_f64().unwrap(),
        }
    }

    /// A picture of the whole page, as PNG in base64. To look at it, set `PGSVID_PICTURES` to a directory.
    pub(crate) fn picture(&mut self, name: &str) -> String {
        let parameters = json!({ "captureBeyondViewport": true });
        let answer = self.call("Page.captureScreenshot", &parameters);
        let picture = answer["data"].as_str().unwrap().to_owned();
        if let Some(directory) = std::env::var_os("PGSVID_PICTURES") {
            let encoded = Directory::new();
            let encoded = encoded.write("picture", &picture, 0o644);
            let file = Path::new(&directory).join(format!("{name}.png"));
            let mut decode = Command::new("base64");
            decode.arg("-d").arg(encoded).stdout(File::create(file).unwrap());
            assert!(decode.status().unwrap().success());
        }
        picture
    }

    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.calls += 1;
        let mut call = json!({ "id": self.calls, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            call["sessionId"] = json!(session);
        }
        self.input.write_all(call.to_string().as_bytes()).unwrap();
        self.input.write_all(&[0]).unwrap();
        self.input.flush().unwrap();
        loop {
            let mut message = self.message();
            if message["id"] == self.calls {
                assert_eq!(message["error"], Value::Null, "{method}");
                return message["result"].take();
            }
        }
    }

    fn message(&self) -> Value {
        self.messages.recv_timeout(LIMIT).expect("the browser says something")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
