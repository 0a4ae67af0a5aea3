//! What each verdict means, and what to do about it.

use std::time::SystemTime;

use super::Finding;
use crate::verify::{Answer, Facts, Reception, Verdict};
use pgsvid_base::timing;

/// The sentence for a verdict, and what an operator should do. For [`Verdict::StillOld`] the findings of
/// [`super::refused`] and [`super::concerns`] are more exact, where there are any.
#[must_use]
pub fn explain(verdict: Verdict, facts: &Facts, now: SystemTime) -> (String, Finding) {
    let address = &facts.address;
    let finding = |cause: &str, fix: &str| Finding { cause: cause.to_owned(), fix: fix.to_owned() };
    match verdict {
        Verdict::Current => {
            (format!("PostgreSQL at {address} serves the published certificate"), finding("", ""))
        }
        Verdict::Unverifiable => (
            "the published files were handed over; what PostgreSQL serves cannot be seen"
                .to_owned(),
            finding(
                "verification is off (postgres.verify = \"none\"), or PostgreSQL has no TCP listener",
                "let PostgreSQL listen on 127.0.0.1 (listen_addresses) to have every rotation proven",
            ),
        ),
        Verdict::Unreachable => (
            format!("cannot see what PostgreSQL at {address} serves"),
            finding(
                match &facts.answer {
                    Answer::Nothing(reason) => reason,
                    _ => "nobody answered",
                },
                "start PostgreSQL, or set postgres.verify to the address where it listens",
            ),
        ),
        Verdict::Plaintext => (
            format!(
                "PostgreSQL at {address} has TLS turned off: clients connect unencrypted or not at all"
            ),
            finding(
                "ssl is off, or was turned on while the files could not be loaded",
                "set ssl = on in postgresql.conf, then reload; if it is on, the server log says what it could \
                 not load",
            ),
        ),
        Verdict::Expired => (
            format!(
                "PostgreSQL at {address} serves a certificate that expired{}",
                served_until(facts, now)
            ),
            finding(
                "PostgreSQL has refused the files of later rotations, or reads other ones",
                "look for \"SSL configuration was not reloaded\" in the server log",
            ),
        ),
        Verdict::Foreign => (
            format!("what listens at {address} serves a certificate that is not pgsvid's"),
            finding(
                "it is another server or a pooler, or PostgreSQL's ssl_cert_file names another file",
                "set postgres.verify to PostgreSQL's own address, or let ssl_cert_file, ssl_key_file and \
                 ssl_ca_file name the published files",
            ),
        ),
        Verdict::StillOld => (
            format!(
                "PostgreSQL at {address} refused the new files and still serves{}",
                served_until(facts, now)
            ),
            finding(
                "the files look right from here",
                "look for \"SSL configuration was not reloaded\" in the server log: the line names the reason",
            ),
        ),
        Verdict::OldAuthorities => (
            format!(
                "PostgreSQL at {address} serves the new certificate, but trusts other authorities"
            ),
            finding(
                if asks_for_nothing(facts) {
                    "it asks for no client certificate, though ssl_ca_file is set: it has refused a reload since"
                } else if refuses_the_leaf(facts) {
                    "it does not take the published certificate from a client: it has another authority of the same \
                     name, beside or instead of the published one"
                } else {
                    "ssl_ca_file does not name the published bundle, or was loaded during somebody else's reload"
                },
                if asks_for_nothing(facts) {
                    "look for \"SSL configuration was not reloaded\" in the server log: the line names the reason"
                } else {
                    "let ssl_ca_file name the published bundle; pgsvid reloads again by itself"
                },
            ),
        ),
    }
}

/// The sentence for a published certificate that is served, and has expired: no file is wrong.
#[must_use]
pub fn outlived(facts: &Facts, now: SystemTime) -> (String, Finding) {
    let sentence = format!(
        "PostgreSQL at {} serves the published certificate, which has expired{}",
        facts.address,
        served_until(facts, now)
    );
    let finding = Finding {
        cause: "no newer identity has come from the agent, or it could not be published".to_owned(),
        fix: "see that the agent runs, is healthy, and has an entry for this workload".to_owned(),
    };
    (sentence, finding)
}

fn asks_for_nothing(facts: &Facts) -> bool {
    matches!(&facts.answer, Answer::Served(served) if served.authorities.is_none())
}

fn refuses_the_leaf(facts: &Facts) -> bool {
    matches!(&facts.answer, Answer::Served(served) if matches!(served.reception, Reception::Refused(_)))
}

fn served_until(facts: &Facts, now: SystemTime) -> String {
    let Answer::Served(served) = &facts.answer else {
        return String::new();
    };
    let serial = served.leaf.serial().short();
    let end = timing::utc(served.not_after());
    match served.not_after().duration_since(now) {
        Ok(left) => format!(" serial {serial}, which expires in {} ({end})", timing::roughly(left)),
        Err(ago) => format!(": serial {serial}, {} ago ({end})", timing::roughly(ago.duration())),
    }
}
