//! `pgsvid setup replication`.

use std::io::Write as _;

use clap::Args;

use crate::cli::{Failure, MISUSED, Settings};
use crate::config::{self, Environment, Flags, Parts};
use crate::setup::{self, Replicating};

const PORT: u16 = 5432;
/// Longest name of a role, slot or database (PostgreSQL: `NAMEDATALEN`).
const LONGEST: usize = 63;

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    settings: Settings,
    /// The primary: a DNS name of its certificate, and its port if it is not 5432
    #[arg(long, value_name = "HOST[:PORT]", value_parser = primary)]
    primary: (String, u16),
    /// The CN of the standby's or subscriber's certificate: the first DNS name of its registration entry
    #[arg(long, value_name = "NAME", value_parser = common_name)]
    cn: String,
    /// The role that replicates
    #[arg(long, value_name = "ROLE", default_value = "replicator", value_parser = role)]
    role: String,
    /// Also create this physical slot, and use it; with --publication, the name of the subscription's slot (default: made of both names)
    #[arg(long, value_name = "SLOT", value_parser = slot)]
    slot: Option<String>,
    /// Also print what pg_rewind needs, by which a former primary follows the new one
    #[arg(long, conflicts_with = "publication")]
    rewind: bool,
    /// Logical replication of this publication, instead of a standby
    #[arg(long, value_name = "PUBLICATION", value_parser = name, requires = "publication_database")]
    publication: Option<String>,
    /// The database of the publication
    #[arg(long, value_name = "DATABASE", value_parser = name, requires = "publication")]
    publication_database: Option<String>,
}

pub(super) fn run(arguments: Arguments, environment: &Environment) -> Result<(), Failure> {
    let misused = |error: config::Error| Failure { status: MISUSED, text: error.to_string() };
    let Arguments { settings, primary, cn, role, slot, rewind, publication, publication_database } =
        arguments;
    let parts = Parts::load(&Flags::from(settings), environment).map_err(misused)?;
    let place = parts.place.ok_or_else(|| misused(config::Error::NoDirectory))?;
    let (host, port) = primary;
    let slot = match (slot, &publication) {
        (None, Some(publication)) => Some(subscribers_slot(&cn, publication)?),
        (slot, _) => slot,
    };
    let text = setup::replication(&Replicating {
        paths: config::published_paths(&place),
        host,
        port,
        common_name: cn,
        role,
        slot,
        rewind,
        publication: publication.zip(publication_database),
    })
    .map_err(|error| Failure { status: MISUSED, text: error.to_string() })?;
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

/// The slot of a subscriber: its name and the publication's, in the characters that a slot's name may have.
fn subscribers_slot(cn: &str, publication: &str) -> Result<String, Failure> {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let made: String = format!("{cn}_{publication}").chars().map(plain).collect();
    slot(&made).map_err(|_| Failure {
        status: MISUSED,
        text: format!(
            "the slot's name would be {made}, which has more than {LONGEST} characters: name it with --slot"
        ),
    })
}

fn primary(text: &str) -> Result<(String, u16), String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => {
            let port: Result<u16, _> = port.parse();
            let port = port.ok().filter(|port| *port > 0);
            (host, port.ok_or("the port is no number from 1 to 65535: write db.example.org:5432")?)
        }
        None => (text, PORT),
    };
    if host.is_empty() || host.ends_with('.') || !host.chars().all(is_name) {
        return Err(
            "write a DNS name of the primary's certificate, such as db.example.org".to_owned()
        );
    }
    Ok((host.to_owned(), port))
}

/// Whether a DNS name or a CN of a certificate can have it.
fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._".contains(c)
}

fn common_name(text: &str) -> Result<String, String> {
    if text.is_empty() || !text.chars().all(is_name) {
        return Err(
            "write the name as it is in the certificate: letters, digits, `.`, `-` and `_`"
                .to_owned(),
        );
    }
    Ok(text.to_owned())
}

/// A name that pg_hba.conf can hold between quotation marks, and that is no word of its own there.
fn name(text: &str) -> Result<String, String> {
    let is_plain = |c: char| !c.is_control() && !"\"\\,".contains(c);
    if text.is_empty() || text.len() > LONGEST || !text.chars().all(is_plain) {
        return Err(format!(
            "write a name of at most {LONGEST} bytes, without quotation marks, backslashes and commas"
        ));
    }
    Ok(text.to_owned())
}

/// A name without a dollar sign, which could end the block in which the role is created.
fn role(text: &str) -> Result<String, String> {
    if text.contains('$') {
        return Err("write a name without a dollar sign".to_owned());
    }
    name(text)
}

fn slot(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if text.is_empty() || text.len() > LONGEST || !text.chars().all(is_plain) {
        return Err(format!(
            "PostgreSQL accepts lower-case letters, digits and underscores, at most {LONGEST}"
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l02_each_subscriber_has_a_slot_of_its_own() {
        for (cn, publication, wanted) in [
            ("db2.example.org", "sales", "db2_example_org_sales"),
            ("db3.example.org", "sales", "db3_example_org_sales"),
            ("a", "My-Pub \u{fc}", "a_my_pub__"),
        ] {
            assert_eq!(subscribers_slot(cn, publication).ok().as_deref(), Some(wanted));
        }
        let failure = subscribers_slot(&"a".repeat(60), "sales").unwrap_err();
        assert!(failure.text.contains("--slot"), "{}", failure.text);
    }
}
