//! OpenSSL, run by a Python program: one process for thousands of certificates.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

/// What OpenSSL is asked, certificates as DER.
pub(crate) enum Question<'a> {
    /// Whether it loads them as authorities.
    Bundle(&'a [&'a [u8]]),
    /// Whether it serves them, with the key in this file.
    Chain(&'a Path, &'a [&'a [u8]]),
    /// Whether it reads these certificates, and no others, from a file with this text; with none, whether it refuses it.
    Text(&'a [u8], &'a [&'a [u8]]),
    /// Whether it loads a file with this text as authorities.
    Authorities(&'a [u8]),
    /// Whether it loads a private key without a passphrase from a file with this text.
    Private(&'a [u8]),
    /// Whether it can read the extensions that it reads itself.
    Extensions(&'a [u8]),
    /// Whether it takes a leaf as a peer's, `ssl_server` or `ssl_client`, with what the peer sends and what is trusted.
    Path { purpose: &'a str, leaf: &'a [u8], sent: &'a [&'a [u8]], trusted: &'a [&'a [u8]] },
}

/// Questions, to be asked all at once.
#[derive(Default)]
pub(crate) struct Questions(String);

impl Questions {
    pub(crate) fn ask(&mut self, question: &Question<'_>) {
        let certificates = match question {
            Question::Path { purpose, leaf, sent, trusted } => {
                write!(self.0, "path {purpose} {}", sent.len() + 1).unwrap();
                &[&[*leaf], *sent, *trusted].concat()
            }
            Question::Bundle(certificates) => {
                self.0.push_str("bundle");
                *certificates
            }
            Question::Chain(key, certificates) => {
                self.0.push_str("chain ");
                self.0.push_str(key.to_str().unwrap());
                *certificates
            }
            Question::Text(text, certificates) => {
                self.0.push_str("text ");
                self.0.push_str(&hex(text));
                *certificates
            }
            Question::Authorities(text) => {
                self.0.push_str("authorities ");
                self.0.push_str(&hex(text));
                &[][..]
            }
            Question::Private(text) => {
                self.0.push_str("private ");
                self.0.push_str(&hex(text));
                &[]
            }
            Question::Extensions(certificate) => {
                self.0.push_str("extensions");
                &[*certificate]
            }
        };
        for der in certificates {
            self.0.push(' ');
            self.0.push_str(&hex(der));
        }
        self.0.push('\n');
    }

    /// The answers, in order: `Err` has OpenSSL's reason.
    pub(crate) fn answers(self) -> Vec<Result<(), String>> {
        let mut python = Command::new("python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files/material/openssl.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("runs python3");
        let mut input = python.stdin.take().unwrap();
        let asked = self.0.lines().count();
        let asking = thread::spawn(move || input.write_all(self.0.as_bytes()));
        let mut answers = String::new();
        python.stdout.take().unwrap().read_to_string(&mut answers).unwrap();
        assert!(python.wait().unwrap().success(), "openssl.py has failed");
        asking.join().unwrap().unwrap();
        let answers: Vec<_> = answers
            .lines()
            .map(|answer| if answer == "yes" { Ok(()) } else { Err(answer.to_owned()) })
            .collect();
        assert_eq!(answers.len(), asked);
        answers
    }
}

/// DER, to be pasted.
pub(crate) fn hex(der: &[u8]) -> String {
    let mut text = String::new();
    for byte in der {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}
