//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use dev_agent::{Builder, DevAgent, Entry, KeyType, trust_domain_of};

/// A SPIFFE Workload API for laptops and demonstrations
///
/// It makes a certificate authority of its own, issues X.509-SVIDs as SPIRE would, serves them on a
/// Unix socket and renews them at half of their life. Everything is in memory: when it ends, the
/// authority is gone, and certificates that it issued are worth nothing.
///
/// It is NOT for production: every process that can reach the socket gets every private key. A real
/// agent finds out who is calling, and gives each workload its own SVIDs only. If you offer several,
/// in order to serve a database and its client with one dev-agent, each workload has to choose:
/// by `svid.spiffe_id` in pgsvid's configuration, or by the hint.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_long_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The Unix socket to serve on; its directory has to exist
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,

    /// A workload's SPIFFE ID, with what is special about it; may be repeated
    ///
    /// After the ID may follow, separated by commas: dns=NAME (repeatable), hint=TEXT, ttl=DURATION,
    /// key-type=TYPE, unique-id. What is not said there is taken from the options below.
    #[arg(
        long = "spiffe-id",
        value_name = "ID[,dns=NAME][,hint=TEXT]…",
        required = true,
        value_parser = workload
    )]
    workloads: Vec<Workload>,

    /// A DNS name for each workload that names none itself; may be repeated
    ///
    /// The first name is the certificate's CN as well. PostgreSQL's clients compare them with the host
    /// that they connect to, and its `cert` authentication compares the CN with the role.
    #[arg(long, value_name = "NAME")]
    dns: Vec<String>,

    /// How long an SVID lives; it is renewed at half of that
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = lifetime)]
    ttl: Duration,

    /// How long a certificate authority lives; its successor takes over at five sixths of that
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = lifetime)]
    ca_ttl: Duration,

    /// The trust domain, if not that of the first SPIFFE ID
    #[arg(long, value_name = "NAME")]
    trust_domain: Option<String>,

    /// The type of the workloads' keys: ec-p256, ec-p384, rsa-2048, rsa-4096 or ed25519
    #[arg(long, value_name = "TYPE", default_value_t)]
    key_type: KeyType,

    /// The type of the authority's key; with ed25519, SCRAM channel binding does not work
    #[arg(long, value_name = "TYPE", default_value_t)]
    ca_key_type: KeyType,

    /// Issue from an intermediate, as SPIRE does below an upstream authority
    #[arg(long)]
    intermediate: bool,

    /// Put an x500UniqueIdentifier into each subject, as SPIRE's credential composer "uniqueid" does
    #[arg(long)]
    unique_id: bool,
}

const EXAMPLES: &str = "\
Examples:
  A database whose certificate is replaced every 30 seconds:
    dev-agent --socket /tmp/agent.sock --spiffe-id spiffe://example.org/db --dns localhost --ttl 1m

  A database and its client:
    dev-agent --socket /tmp/agent.sock \\
        --spiffe-id spiffe://example.org/db,dns=localhost,hint=server \\
        --spiffe-id spiffe://example.org/app,dns=appuser,hint=client

Exit status: 0 after SIGTERM or SIGINT, 1 if it failed, 2 if the command line is wrong.";

/// One value of `--spiffe-id`.
#[derive(Debug, Clone)]
struct Workload {
    entry: Entry,
    trust_domain: String,
    has_dns: bool,
}

impl Arguments {
    /// Parses the command line; says what is wrong and exits with 2 if it must.
    pub(crate) fn parse() -> Self {
        let arguments = <Self as Parser>::parse();
        if let Err(message) = arguments.check() {
            Self::command().error(ErrorKind::ValueValidation, message).exit();
        }
        arguments
    }

    pub(crate) fn trust_domain(&self) -> &str {
        let first = || self.workloads.first().map(|w| w.trust_domain.as_str());
        let given = self.trust_domain.as_deref();
        given.or_else(first).unwrap_or_default()
    }

    pub(crate) fn builder(&self) -> Builder {
        let mut builder = DevAgent::builder(&self.socket)
            .trust_domain(self.trust_domain())
            .ttl(self.ttl)
            .ca_ttl(self.ca_ttl)
            .key_type(self.key_type)
            .ca_key_type(self.ca_key_type)
            .intermediate(self.intermediate);
        for workload in &self.workloads {
            let mut entry = workload.entry.clone();
            if !workload.has_dns {
                entry = self.dns.iter().fold(entry, Entry::dns);
            }
            if self.unique_id {
                entry = entry.unique_id(true);
            }
            builder = builder.entry(entry);
        }
        builder
    }

    fn check(&self) -> Result<(), String> {
        let own = self.trust_domain();
        for workload in &self.workloads {
            if workload.trust_domain != own {
                let id = workload.entry.spiffe_id();
                return Err(format!(
                    "{id} is not in the trust domain {own}: one agent serves one trust domain; \
                     start a second one"
                ));
            }
        }
        Ok(())
    }
}

fn workload(text: &str) -> Result<Workload, String> {
    let mut parts = text.split(',');
    let id = parts.next().unwrap_or_default();
    let trust_domain = trust_domain_of(id)?.to_owned();
    let mut entry = Entry::new(id);
    let mut has_dns = false;
    for part in parts {
        entry = match part.split_once('=').unwrap_or((part, "")) {
            ("dns", name) if !name.is_empty() => {
                has_dns = true;
                entry.dns(name)
            }
            ("hint", hint) if !hint.is_empty() => entry.hint(hint),
            ("ttl", ttl) => entry.ttl(lifetime(ttl)?),
            ("key-type", kind) => entry.key_type(kind.parse()?),
            ("unique-id", "") => entry.unique_id(true),
            _ => {
                return Err(format!(
                    "{part:?} is none of dns=NAME, hint=TEXT, ttl=DURATION, key-type=TYPE, \
                     unique-id"
                ));
            }
        };
    }
    Ok(Workload { entry, trust_domain, has_dns })
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write it as 30s, 5m or 1h"))?;
    // Certificates know whole seconds, and half of the time is for renewal.
    if duration < Duration::from_secs(2) {
        return Err("it must be 2s or more".to_owned());
    }
    if duration > Duration::from_secs(100 * 366 * 24 * 3600) {
        return Err("it must be a hundred years or less".to_owned());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        let arguments = Arguments::try_parse_from(line.split(' ')).map_err(|e| e.to_string())?;
        arguments.check().map(|()| arguments)
    }

    #[test]
    fn workloads_have_their_own_names_or_the_common_ones() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent.sock");
        let line = format!(
            "dev-agent --socket {} --dns common --unique-id --spiffe-id spiffe://td/a \
             --spiffe-id spiffe://td/b,dns=own,hint=x,ttl=5m,key-type=ec-p384",
            socket.display()
        );
        let arguments = parse(&line).unwrap();
        assert_eq!(arguments.trust_domain(), "td");
        let agent = arguments.builder().start().unwrap();
        let svids = agent.svids();
        let contains =
            |der: &[u8], text: &str| der.windows(text.len()).any(|w| w == text.as_bytes());
        assert!(contains(svids[0].leaf(), "common"));
        assert!(contains(svids[1].leaf(), "own"));
        assert!(!contains(svids[1].leaf(), "common"));
        assert_eq!(svids[1].hint, "x");
    }

    #[test]
    fn mistakes_are_explained() {
        for (arguments, text) in [
            ("", "--spiffe-id"),
            ("--spiffe-id https://td/a", "must begin with spiffe://"),
            ("--spiffe-id spiffe://td", "it needs a path"),
            ("--spiffe-id spiffe://td/a,dsn=x", "is none of dns=NAME"),
            ("--spiffe-id spiffe://td/a --ttl 1", "write it as 30s"),
            ("--spiffe-id spiffe://td/a --ttl 1s", "must be 2s or more"),
            ("--spiffe-id spiffe://td/a --key-type dsa", "one of ec-p256"),
            (
                "--spiffe-id spiffe://td/a --spiffe-id spiffe://other/a",
                "is not in the trust domain td",
            ),
        ] {
            let line = format!("dev-agent --socket /tmp/x {arguments}");
            let error = parse(line.trim_end()).unwrap_err();
            assert!(error.contains(text), "{arguments}: {error}");
        }
    }
}
