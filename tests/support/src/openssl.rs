//! OpenSSL's program, which PostgreSQL's packages install: a second opinion about certificates and keys.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// The output of `openssl` with these arguments and this input.
#[track_caller]
pub fn openssl(arguments: &[&str], input: impl AsRef<[u8]>) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs openssl");
    // Writing may fail, because a command that reads a file may leave its input unread.
    let _ = child.stdin.take().expect("was piped").write_all(input.as_ref());
    let output = child.wait_with_output().expect("waits for openssl");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {said}");
    output.stdout
}
