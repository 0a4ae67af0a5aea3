//! The configuration of spiffe-helper, translated: each key is honoured, or refused with what to do instead.

mod jwt;
mod values;
mod words;

use std::fmt::Write as _;
use std::path::Path;

use values::Value;

use super::file::File;
use super::{Environment, Error, reading, rules};
use crate::source::workload_api::Endpoint;

/// Where spiffe-helper looks for the agent if nothing names one.
const AGENT: &str = "/tmp/spire-agent/public/api.sock";

/// A key that is not honoured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// Its line, from 1.
    pub(super) line: usize,
    pub(super) key: String,
    /// The reason, and what to do instead.
    pub(super) why: String,
}

/// A translated configuration.
#[derive(Debug)]
pub(super) struct Translated {
    /// The text of a pgsvid.toml, with comments.
    pub(super) toml: String,
    /// What the text does not have, by line.
    pub(super) refused: Vec<Refused>,
    /// Whether spiffe-helper would fetch once, and end.
    pub(super) once: bool,
}

/// Reads a helper.conf as pgsvid's own configuration. Fails if a key of it is not honoured.
pub(super) fn file(path: &Path, environment: &Environment) -> Result<File, Error> {
    let wrong = |(line, message)| Error::File { path: path.to_owned(), line, message };
    let translated = translated(path, environment)?;
    if let [Refused { line, key, why }, more @ ..] = &translated.refused[..] {
        let more = match more.len() {
            0 => String::new(),
            more => format!("; {more} more: pgsvid setup from-helper names each"),
        };
        let message = super::error::explanation(&format!("{key}: {why}"));
        return Err(wrong((*line, message + &more)));
    }
    let mut file = File::parse(&translated.toml).map_err(wrong)?;
    file.once = translated.once;
    Ok(file)
}

/// The same configuration as a pgsvid.toml, with a comment for each key that is not honoured.
pub fn from_helper(path: &Path, environment: &Environment) -> Result<String, Error> {
    let Translated { toml, refused, once } = translated(path, environment)?;
    let name = super::error::explanation(&path.display().to_string());
    let mut text = format!(
        "# What {name} says to spiffe-helper, for pgsvid. Each key: docs/configuration.md.\n"
    );
    if once {
        text.push_str(
            "# daemon_mode = false: run pgsvid fetch, which publishes one set and ends.\n",
        );
    }
    for Refused { line, key, why } in refused {
        // Both may repeat what the file says, which must not end the comment.
        let [key, why] = [key, why].map(|text| super::error::explanation(&text));
        let _ = writeln!(text, "# NOT TAKEN OVER, line {line}: {key}: {why}");
    }
    Ok(format!("{text}\n{toml}"))
}

fn translated(path: &Path, environment: &Environment) -> Result<Translated, Error> {
    let has_endpoint = ["PGSVID_ENDPOINT", "SPIFFE_ENDPOINT_SOCKET"]
        .iter()
        .any(|name| environment.contains_key(*name));
    translate(&reading::text(path)?, has_endpoint).map_err(|(line, message)| Error::File {
        path: path.to_owned(),
        line,
        message,
    })
}

/// Translates the text of a helper.conf. `has_endpoint` tells whether the environment names the agent, which spiffe-helper
/// prefers to its default. Fails with the line, from 1, and what is wrong there.
pub(super) fn translate(text: &str, has_endpoint: bool) -> Result<Translated, (usize, String)> {
    if text.len() > LARGEST {
        return Err((
            1,
            "it is larger than 64 KiB, and a helper.conf has some hundred bytes".to_owned(),
        ));
    }
    let mut translation = Translation { values: values::read(text)?, refused: Vec::new() };
    let mut toml = String::new();
    translation.agent(&mut toml, has_endpoint);
    translation.files(&mut toml);
    translation.hooks(&mut toml);
    translation.health(&mut toml);
    translation.jwt(&mut toml);
    let once = translation.truth("daemon_mode") == Some(false);
    translation.unknown();
    let mut refused = translation.refused;
    refused.sort_by_key(|refused| refused.line);
    Ok(Translated { toml, refused, once })
}

/// Largest file, in bytes: the time to read one grows with the square of its size.
const LARGEST: usize = 64 * 1024;

/// Every key of spiffe-helper 0.11 and of its main branch.
const KEYS: [&str; 21] = [
    "add_intermediates_to_bundle",
    "agent_address",
    "cert_dir",
    "cert_file_mode",
    "cmd",
    "cmd_args",
    "daemon_mode",
    "health_checks",
    "hint",
    "include_federated_domains",
    "jwt_bundle_file_mode",
    "jwt_bundle_file_name",
    "jwt_svid_file_mode",
    "jwt_svids",
    "key_file_mode",
    "omit_expired",
    "pid_file_name",
    "renew_signal",
    "svid_bundle_file_name",
    "svid_file_name",
    "svid_key_file_name",
];

pub(super) struct Translation {
    values: Vec<(String, Value)>,
    refused: Vec<Refused>,
}

impl Translation {
    fn value(&self, key: &str) -> Option<&Value> {
        self.values.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    /// The value as `read` reads it, if it is there and can be read.
    fn get<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Value, &'static str) -> Result<T, Refused>,
    ) -> Option<T> {
        match self.value(key).map(|value| read(value, key))? {
            Ok(value) => Some(value),
            Err(refused) => {
                self.refused.push(refused);
                None
            }
        }
    }

    /// Text that is not empty: spiffe-helper takes an empty one for a missing one.
    fn text(&mut self, key: &'static str) -> Option<String> {
        self.get(key, Value::text).filter(|text| !text.is_empty())
    }

    fn truth(&mut self, key: &'static str) -> Option<bool> {
        self.get(key, Value::truth)
    }

    fn refuse(&mut self, key: &'static str, why: impl Into<String>) {
        let line = self.value(key).map_or(1, |value| value.line);
        self.refused.push(Refused { line, key: key.to_owned(), why: why.into() });
    }

    /// An absolute path.
    fn path(&mut self, key: &'static str) -> Option<String> {
        let path = self.text(key)?;
        match rules::absolute(Path::new(&path)) {
            Ok(_) => Some(path),
            Err(why) => {
                self.refuse(key, why);
                None
            }
        }
    }

    /// `agent_address` as an endpoint, if it is there and can be used.
    fn endpoint(&mut self) -> Option<String> {
        const KEY: &str = "agent_address";
        let address = self.text(KEY)?;
        // A bare path is all that spiffe-helper takes.
        let is_uri = ["unix:", "tcp:"].iter().any(|scheme| address.starts_with(scheme));
        let endpoint = if is_uri { address } else { format!("unix://{}", self.path(KEY)?) };
        match endpoint.parse::<Endpoint>() {
            Ok(_) => Some(endpoint),
            Err(why) => {
                self.refuse(KEY, why.to_string());
                None
            }
        }
    }

    fn agent(&mut self, toml: &mut String, has_endpoint: bool) {
        let _ = writeln!(toml, "[workload_api]");
        let before = self.refused.len();
        let address = self.endpoint();
        let is_unusable = self.refused.len() > before;
        match address {
            Some(endpoint) => {
                let _ = writeln!(toml, "endpoint = {}", quoted(&endpoint));
            }
            None if has_endpoint => {
                let _ = writeln!(toml, "# SPIFFE_ENDPOINT_SOCKET names the agent.");
            }
            None if !is_unusable => {
                let endpoint = quoted(&format!("unix://{AGENT}"));
                let _ = writeln!(
                    toml,
                    "# The default of spiffe-helper. Below /tmp any user may take the agent's place.\nendpoint = {endpoint}"
                );
            }
            None => {}
        }
        if let Some(hint) = self.text("hint") {
            let _ = writeln!(toml, "\n[svid]\nhint = {}", quoted(&hint));
        }
    }

    fn files(&mut self, toml: &mut String) {
        let _ = writeln!(toml, "\n[files]");
        match self.path("cert_dir") {
            Some(directory) => {
                let _ = writeln!(toml, "directory = {}", quoted(&directory));
            }
            None if self.value("cert_dir").is_none() => {
                self.refuse("cert_dir", "it is missing: add it, with an absolute path");
            }
            None => {}
        }
        let mut named: Vec<String> = Vec::new();
        for (key, ours) in [
            ("svid_file_name", "certificate"),
            ("svid_key_file_name", "private_key"),
            ("svid_bundle_file_name", "bundle"),
        ] {
            let Some(name) = self.text(key) else { continue };
            if let Err(why) = rules::file_name(&name) {
                self.refuse(key, why);
            } else if named.contains(&name) {
                self.refuse(key, "another file has this name: give each its own");
            }
            let _ = writeln!(toml, "{ours} = {}", quoted(&name));
            named.push(name);
        }
        if named.len() < 3 {
            let why = "pgsvid publishes certificate, key and bundle: name all three, svid_file_name, svid_key_file_name and svid_bundle_file_name";
            self.refuse("svid_file_name", why);
        }
        for (key, ours) in
            [("cert_file_mode", "certificate_mode"), ("key_file_mode", "private_key_mode")]
        {
            // 0 is spiffe-helper's word for its default, which is pgsvid's, too.
            let Some(mode) = self.get(key, Value::mode).filter(|mode| *mode != 0) else { continue };
            let mode = format!("{mode:04o}");
            let judged = if key == "cert_file_mode" {
                rules::certificate_mode(Some(&mode))
            } else {
                rules::key_mode(Some(&mode), false)
            };
            match judged {
                Ok(_) => {
                    let _ = writeln!(toml, "{ours} = {}", quoted(&mode));
                }
                Err(why) => self.refuse(key, why),
            }
        }
        if self.truth("include_federated_domains") == Some(true) {
            let _ = writeln!(
                toml,
                "# Clients of federated trust domains are let in, too.\nfederated_bundles = true"
            );
        }
        if self.truth("add_intermediates_to_bundle") == Some(true) {
            let why = "pgsvid publishes intermediates after the leaf, where PostgreSQL and libpq need them, and only roots in the bundle: leave it out";
            self.refuse("add_intermediates_to_bundle", why);
        }
        if self.truth("omit_expired") == Some(true) {
            let why = "pgsvid publishes the authorities that the agent sends; an expired one does no harm: leave it out";
            self.refuse("omit_expired", why);
        }
    }

    fn hooks(&mut self, toml: &mut String) {
        let signal = self.text("renew_signal");
        let arguments = self.text("cmd_args");
        let has_command = self.value("cmd").is_some();
        if let Some(command) = self.path("cmd") {
            if signal.is_some() {
                let why = "with renew_signal it is a program that runs on, and gets the signal at each renewal; pgsvid runs commands that end: start it with a \
                           service manager, and name its pid_file_name instead of cmd";
                self.refuse("cmd", why);
            } else {
                match words::split(arguments.as_deref().unwrap_or_default()) {
                    Some(words) => {
                        let command = [command].into_iter().chain(words);
                        let command: Vec<_> = command.map(|word| quoted(&word)).collect();
                        let _ = writeln!(
                            toml,
                            "\n# cmd and cmd_args. It must end within the time limit; for PostgreSQL a [postgres] table does better.\n[[hooks]]\n\
                             name = \"helper-cmd\"\ncommand = [{}]",
                            command.join(", ")
                        );
                    }
                    None => self.refuse("cmd_args", "a quotation mark is out of place, so that spiffe-helper does not start the command"),
                }
            }
        } else if arguments.is_some() && !has_command {
            self.refuse("cmd_args", "there is no cmd: leave it out");
        }
        let has_signal = self.value("renew_signal").is_some();
        let has_pid_file = self.value("pid_file_name").is_some();
        match (self.path("pid_file_name"), signal) {
            (Some(file), Some(signal)) => {
                if crate::hooks::signal(&signal).is_none() {
                    let known: Vec<_> =
                        crate::hooks::SIGNALS.iter().map(|(name, _)| *name).collect();
                    self.refuse("renew_signal", format!("it is none of {}", known.join(", ")));
                }
                let _ = writeln!(
                    toml,
                    "\n# renew_signal and pid_file_name. For PostgreSQL a [postgres] table does better: it proves what is served.\n[[hooks]]\n\
                     name = \"helper-signal\"\nsignal = {}\npid_file = {}",
                    quoted(&signal),
                    quoted(&file)
                );
            }
            (Some(_), None) if !has_signal => {
                self.refuse("pid_file_name", "there is no renew_signal: add it");
            }
            (None, Some(_)) if !has_command && !has_pid_file => {
                self.refuse(
                    "renew_signal",
                    "there is no process that it goes to: add pid_file_name, or leave it out",
                );
            }
            _ => {}
        }
    }

    fn health(&mut self, toml: &mut String) {
        let checks = |value: &Value, key| value.health_checks(key);
        let Some(Some(port)) = self.get("health_checks", checks) else { return };
        let why = "spiffe-helper listens on all addresses, with paths of your choice; pgsvid has /livez and /readyz, at an address that you name: put health.listen \
                   into pgsvid.toml (or PGSVID_HEALTH_LISTEN=127.0.0.1:8081 into the environment), ask there, and leave this out";
        self.refuse("health_checks", why);
        let _ = writeln!(
            toml,
            "\n# In place of health_checks. A kubelet needs 0.0.0.0 here, and /livez and /readyz in its probes.\n[health]\nlisten = \"127.0.0.1:{port}\""
        );
    }

    /// Keys that spiffe-helper refuses, too.
    fn unknown(&mut self) {
        for (key, value) in &self.values {
            if KEYS.contains(&key.as_str()) {
                continue;
            }
            let snake = key.chars().fold(String::new(), |mut name, c| {
                if c.is_ascii_uppercase() {
                    name.push('_');
                }
                name.push(c.to_ascii_lowercase());
                name
            });
            let why = if KEYS.contains(&snake.as_str()) {
                format!("spiffe-helper has not read this name since 0.9; write {snake}")
            } else {
                "spiffe-helper has no such key; leave it out".to_owned()
            };
            self.refused.push(Refused { line: value.line, key: key.clone(), why });
        }
    }
}

/// A string of TOML.
fn quoted(text: &str) -> String {
    // JSON's escapes are TOML's, but TOML escapes one more character.
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
mod tests;
