//! What each verdict means, and what to do about it.

use std::time::SystemTime;

use crate::verify::{Answer, Facts, Reception, Verdict};
use pgsvid_base::finding::{Code, Finding};
use pgsvid_base::timing;

/// What a verdict means, and what an operator should do. For [`Verdict::StillOld`] the findings of
/// [`super::refused`] and [`super::concerns`] are more exact, where there are any.
#[must_use]
pub fn explain(verdict: Verdict, facts: &Facts, now: SystemTime) -> Finding {
    let address = &facts.address;
    let finding = |code, text: String, cause: &str, fix: &str| {
        Finding::failure(code, text).cause(cause).fix(fix)
    };
    match verdict {
        Verdict::Current => Finding::ok(
            Code::VerdictCurrent,
            format!("PostgreSQL at {address} serves the published certificate"),
        ),
        Verdict::Unverifiable => finding(
            Code::VerdictUnverifiable,
            "the published files were handed over; what PostgreSQL serves cannot be seen"
                .to_owned(),
            "verification is off (postgres.verify = \"none\"), or PostgreSQL has no TCP listener",
            "let PostgreSQL listen on 127.0.0.1 (listen_addresses) to have every rotation proven",
        ),
        Verdict::Unreachable => {
            let reason = match &facts.answer {
                Answer::Nothing(reason) => reason,
                _ => "nobody answered",
            };
            let text = format!("cannot see what PostgreSQL at {address} serves");
            let fix = "start PostgreSQL, or set postgres.verify to the address where it listens";
            finding(Code::VerdictUnreachable, text, reason, fix).about(reason)
        }
        Verdict::Plaintext => finding(
            Code::VerdictPlaintext,
            format!(
                "PostgreSQL at {address} has TLS turned off: clients connect unencrypted or not at all"
            ),
            "ssl is off, or was turned on while the files could not be loaded",
            "set ssl = on in postgresql.conf, then reload; if it is on, the server log says what it could \
                 not load",
        ),
        Verdict::Expired => finding(
            Code::VerdictExpired,
            format!(
                "PostgreSQL at {address} serves a certificate that expired{}",
                served_until(facts, now)
            ),
            "PostgreSQL has refused the files of later rotations, or reads other ones",
            "look for \"SSL configuration was not reloaded\" in the server log",
        ),
        Verdict::Foreign => finding(
            Code::VerdictForeign,
            format!("what listens at {address} serves a certificate that is not pgsvid's"),
            "it is another server or a pooler, or PostgreSQL's ssl_cert_file names another file",
            "set postgres.verify to PostgreSQL's own address, or let ssl_cert_file, ssl_key_file and \
                 ssl_ca_file name the published files",
        ),
        Verdict::StillOld => finding(
            Code::VerdictStillOld,
            format!(
                "PostgreSQL at {address} refused the new files and still serves{}",
                served_until(facts, now)
            ),
            "the three files look right from here; it may be another setting of TLS (ssl_ciphers, ssl_ecdh_curve, ssl_groups, \
                 ssl_dh_params_file, ssl_min_protocol_version, ssl_max_protocol_version, ssl_crl_file)",
            "look for \"SSL configuration was not reloaded\" in the server log: the line above it names the reason",
        ),
        Verdict::OldAuthorities => {
            let (object, cause) = if asks_for_nothing(facts) {
                (
                    "no request for client certificates",
                    "it asks for no client certificate, though ssl_ca_file is set: it has refused a reload since",
                )
            } else if refuses_the_leaf(facts) {
                (
                    "key of an authority",
                    "it does not take the published certificate from a client: it has another authority of the same \
                     name, beside or instead of the published one",
                )
            } else {
                (
                    "names of authorities",
                    "ssl_ca_file does not name the published bundle, or was loaded during somebody else's reload",
                )
            };
            let fix = if asks_for_nothing(facts) {
                "look for \"SSL configuration was not reloaded\" in the server log: the line names the reason"
            } else {
                "let ssl_ca_file name the published bundle; pgsvid reloads again by itself"
            };
            let text = format!(
                "PostgreSQL at {address} serves the new certificate, but trusts other authorities"
            );
            finding(Code::VerdictOldAuthorities, text, cause, fix).about(object)
        }
    }
}

/// What is to be said of a published certificate that is served, and has expired: no file is wrong.
#[must_use]
pub fn outlived(facts: &Facts, now: SystemTime) -> Finding {
    Finding::failure(
        Code::PublishedExpired,
        format!(
            "PostgreSQL at {} serves the published certificate, which has expired{}",
            facts.address,
            served_until(facts, now)
        ),
    )
    .cause("no newer identity has come from the agent, or it could not be published")
    .fix("see that the agent runs, is healthy, and has an entry for this workload")
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
