//! What the server shows to a new connection over TCP, as OpenSSL reports it: the program under test is not asked.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use super::Cluster;
use crate::openssl;

/// How names are written, so that they can be compared.
const NAMES: [&str; 2] = ["-nameopt", "RFC2253"];
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The result of one handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The leaf, in DER.
    pub leaf: Vec<u8>,
    /// The names of the authorities that the server accepts, in the form of [`subject`]; `None` if it asks for no
    /// certificate.
    pub authorities: Option<BTreeSet<String>>,
}

impl Cluster {
    /// The result of a handshake now.
    #[track_caller]
    pub fn served(&self) -> Served {
        self.try_served().unwrap_or_else(|said| panic!("PostgreSQL does not shake hands: {said}"))
    }

    /// The result of a handshake now, or OpenSSL's error.
    pub fn try_served(&self) -> Result<Served, String> {
        Served::at(self.port())
    }
}

impl Served {
    /// The result of a handshake with what listens on this port of 127.0.0.1, or OpenSSL's error.
    pub fn at(port: u16) -> Result<Self, String> {
        Self::shake(port, &["-starttls", "postgres"])
    }

    /// The same for a server that begins with TLS.
    pub fn directly(port: u16) -> Result<Self, String> {
        Self::shake(port, &[])
    }

    fn shake(port: u16, options: &[&str]) -> Result<Self, String> {
        let output = Command::new("timeout")
            .args(["10", "openssl", "s_client"])
            .args(options)
            .arg("-connect")
            .arg(format!("127.0.0.1:{port}"))
            .args(NAMES)
            .stdin(Stdio::null())
            .output()
            .expect("runs openssl");
        let text = String::from_utf8_lossy(&output.stdout);
        let shown = text.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END));
        let Some((body, rest)) = shown else {
            return Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr)));
        };
        let leaf = openssl(&["x509", "-outform", "DER"], format!("{BEGIN}{body}{END}\n"));
        let asked = rest.split_once("Acceptable client certificate CA names\n");
        let authorities = asked.map(|(_, names)| {
            let names = names.lines().take_while(|line| !is_about_something_else(line));
            names.map(str::to_owned).collect()
        });
        Ok(Self { leaf, authorities })
    }
}

/// Whether this line comes after the names of the authorities.
fn is_about_something_else(line: &str) -> bool {
    [
        "Client Certificate Types",
        "Requested Signature Algorithms",
        "Shared Requested",
        "Peer signing",
        "Server Temp",
    ]
    .iter()
    .any(|beginning| line.starts_with(beginning))
}

/// The subject of a certificate in DER, in text.
#[track_caller]
pub fn subject(certificate: &[u8]) -> String {
    let arguments = [&["x509", "-inform", "DER", "-noout", "-subject"], &NAMES[..]].concat();
    let said = String::from_utf8(openssl(&arguments, certificate)).expect("is text");
    said.trim_end().strip_prefix("subject=").expect("begins so").to_owned()
}
