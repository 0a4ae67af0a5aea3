//! A SPIRE server that runs, by its program.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Asks one through its socket.
pub struct SpireServer {
    bin: PathBuf,
    socket: PathBuf,
}

impl SpireServer {
    /// The server behind this socket, asked with the program in `$SPIRE_BIN`.
    pub fn at(socket: &Path) -> Self {
        let bin = std::env::var_os("SPIRE_BIN").map(PathBuf::from);
        let bin = bin.expect("SPIRE_BIN names the directory of spire-server and spire-agent");
        Self { bin, socket: socket.to_owned() }
    }

    /// The directory of its program.
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// What it answers, or says on standard error.
    ///
    /// # Errors
    ///
    /// If the program fails.
    pub fn ask(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(self.bin.join("spire-server"));
        let output = command.args(arguments).arg("-socketPath").arg(&self.socket).output();
        let output = output.expect("runs spire-server");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// What it answers in JSON, for which the arguments ask.
    #[track_caller]
    pub fn answer(&self, arguments: &[&str]) -> Value {
        let text = self.ask(arguments).unwrap_or_else(|said| panic!("{arguments:?}: {said}"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }

    /// The number of the authority in that state, such as `active`.
    #[track_caller]
    pub fn authority(&self, state: &str) -> String {
        let shown = self.answer(&["localauthority", "x509", "show", "-output", "json"]);
        shown[state]["authority_id"].as_str().unwrap_or_else(|| panic!("{shown}")).to_owned()
    }

    /// One step of a change of authority, such as `prepare`.
    #[track_caller]
    pub fn authority_command(&self, command: &str, authority: Option<&str>) {
        let mut arguments = vec!["localauthority", "x509", command, "-output", "json"];
        arguments.extend(authority.into_iter().flat_map(|id| ["-authorityID", id]));
        self.answer(&arguments);
    }
}
