//! What each verdict means, and what to do about it.

use std::time::SystemTime;

use super::no_common_tls::{no_certificate_shown, no_longer_completes};
use crate::verify::{Answer, Facts, Reception, Verdict, is_without_common_tls};
use pgsvid_base::finding::{Code, Finding};
use pgsvid_base::timing;

/// The meaning of a verdict, and what an operator should do. For [`Verdict::StillOld`] the findings of [`super::refused`] and
/// [`super::concerns`] are more exact, if there are any.
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
        Verdict::Unverifiable if matches!(facts.answer, Answer::Refused(_)) => {
            no_certificate_shown(facts)
        }
        Verdict::Unverifiable => finding(
            Code::VerdictUnverifiable,
            "the files are published, but pgsvid cannot see what PostgreSQL serves".to_owned(),
            "verification is off (postgres.verify = \"none\"), or PostgreSQL has no TCP listener",
            "let PostgreSQL listen on 127.0.0.1 (listen_addresses), so that pgsvid can verify every rotation",
        ),
        Verdict::Unreachable => {
            let reason = match &facts.answer {
                Answer::Nothing(reason) => reason,
                Answer::Refused(alert) if is_without_common_tls(*alert) => {
                    return no_longer_completes(facts, *alert);
                }
                Answer::Refused(_) => return no_certificate_shown(facts),
                Answer::TooLarge => return too_large(facts),
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
            "PostgreSQL has refused the files of later rotations, or reads other files",
            "look for \"SSL configuration was not reloaded\" in the server log",
        ),
        Verdict::Foreign => finding(
            Code::VerdictForeign,
            format!("the server at {address} serves a certificate that is not pgsvid's"),
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
            "look for \"SSL configuration was not reloaded\" in the server log: the line above it names the reason; if that is \
             \"Permission denied\", SELinux, AppArmor or an access control list keeps PostgreSQL from a file (dmesg, getfacl)",
        ),
        Verdict::OldAuthorities => {
            let (object, cause) = if asks_for_nothing(facts) {
                (
                    "no request for client certificates",
                    "it asks for no client certificate, although ssl_ca_file is set: it has refused a reload since",
                )
            } else if refuses_the_leaf(facts) {
                (
                    "key of an authority",
                    "it does not accept the published certificate from a client: it has another authority of the same \
                     name, beside or instead of the published one",
                )
            } else {
                (
                    "names of authorities",
                    "ssl_ca_file does not name the published bundle, or another reload loaded it while the files changed",
                )
            };
            let fix = if asks_for_nothing(facts) {
                "look for \"SSL configuration was not reloaded\" in the server log: the line names the reason"
            } else {
                "set ssl_ca_file to the published bundle; pgsvid reloads again by itself"
            };
            let text = format!(
                "PostgreSQL at {address} serves the new certificate, but trusts other authorities"
            );
            finding(Code::VerdictOldAuthorities, text, cause, fix).about(object)
        }
        login => of_client(login, address),
    }
}

/// The meaning of a verdict that only a login as a client has.
#[must_use]
pub fn of_client(verdict: Verdict, address: &str) -> Finding {
    let failure = |code, text: String| Finding::failure(code, text);
    match verdict {
        Verdict::Admitted => Finding::ok(
            Code::VerdictAdmitted,
            format!("the server at {address} lets the client in with the published certificate"),
        ),
        Verdict::HandedOver => {
            Finding::ok(Code::VerdictHandedOver, "each Secret holds the published set")
        }
        Verdict::Standby => Finding::ok(
            Code::VerdictStandby,
            "another replica writes the Secrets; this one takes over if it ends",
        ),
        Verdict::PasswordAsked => failure(
            Code::VerdictPasswordAsked,
            format!("the server at {address} asks the client for more than its certificate"),
        ),
        Verdict::ServerUntrusted => failure(
            Code::VerdictServerUntrusted,
            format!("the client does not trust the server at {address}"),
        ),
        Verdict::Unavailable => failure(
            Code::VerdictUnavailable,
            format!("the server at {address} takes no new session at the moment"),
        ),
        _ => failure(Code::VerdictRefused, format!("the server at {address} refuses the client")),
    }
}

/// PostgreSQL answers with a larger message than pgsvid and most clients read.
fn too_large(facts: &Facts) -> Finding {
    Finding::failure(
        Code::HandshakeTooLarge,
        format!(
            "what PostgreSQL at {} serves cannot be read: one message of its TLS handshake has more than 64 KiB",
            facts.address
        ),
    )
    .cause(
        "ssl_cert_file has far more certificates than a leaf and its intermediates, or ssl_ca_file has thousands of authorities, whose \
         names PostgreSQL sends to each client",
    )
    .fix(
        "set ssl_cert_file and ssl_ca_file to the published files, or remove from them what is not needed, then reload",
    )
}

/// The finding about a published certificate that is served, but has expired: no file is wrong. `why` gives the reason why no
/// newer one is published, and its remedy.
#[must_use]
pub fn outlived(facts: &Facts, why: Finding, now: SystemTime) -> Finding {
    Finding::failure(
        Code::PublishedExpired,
        format!(
            "PostgreSQL at {} serves the published certificate, which has expired{}",
            facts.address,
            served_until(facts, now)
        ),
    )
    .because_of(why)
}

/// The finding about an old certificate if pgsvid could not request a reload: PostgreSQL has refused nothing. `why` says what
/// pgsvid could not do.
#[must_use]
pub fn never_read(facts: &Facts, why: Finding, now: SystemTime) -> Finding {
    Finding::failure(
        Code::VerdictStillOld,
        format!(
            "PostgreSQL at {} has not loaded the new files, and still serves{}",
            facts.address,
            served_until(facts, now)
        ),
    )
    .because_of(why)
}

fn asks_for_nothing(facts: &Facts) -> bool {
    matches!(&facts.answer, Answer::Served(served) if served.authorities.is_none())
}

fn refuses_the_leaf(facts: &Facts) -> bool {
    matches!(&facts.answer, Answer::Served(served) if matches!(served.reception, Reception::Refused(_)))
}

/// The served leaf's serial number and its expiry, as the end of a sentence; empty if none is known.
pub(crate) fn served_until(facts: &Facts, now: SystemTime) -> String {
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
