//! What errors of the REST API and verdicts mean for Patroni, and what an operator should do. Nothing here uses the network.

use std::time::SystemTime;

use super::Error;
use crate::diagnose::{of_client, served_until};
use crate::verify::{self, Answer, ClientSettings, Expected, Facts, Verdict, alert_name};
use pgsvid_base::finding::{Code, Finding};

/// What Python's TLS shows of `restapi.cafile`: no names.
const CLIENTS: ClientSettings = ClientSettings { asks: false, revocation: false, nameless: true };

/// The way out if the REST API has ended, or Patroni hangs. The steps depend on the leader: maintenance mode keeps PostgreSQL up,
/// but prolongs a split brain if another node leads.
const RESTART: &str = "do not reload Patroni. Check that the process that listens there is Patroni's (ss -ltnp): another program \
     would look the same. Then follow the steps of \"A dead REST API\" in docs/patroni.md. They depend on the leader, which this shows";
const LEADER: &str = "patronictl list";

/// Judges what was seen. Anybody who answers at the address can send an alert, so an alert proves nothing.
#[must_use]
pub fn judge(facts: &Facts, expected: &Expected, now: SystemTime) -> Verdict {
    match &facts.answer {
        Answer::Refused(_) => Verdict::Unreachable,
        _ => verify::judge(facts, &expected.clone().with_clients(CLIENTS), now),
    }
}

/// The finding about a request that failed. If it has no remedy, waiting is enough.
#[must_use]
pub fn not_asked(error: &Error, address: &str) -> Finding {
    let found = |code, text: String| Finding::failure(code, text);
    let what = format!("Patroni's REST API at {address}");
    match error {
        Error::NotRunning => {
            found(Code::PatroniNotRunning, format!("nobody listens at {address}, Patroni's REST API"))
                .fix("start Patroni, or set patroni.address to restapi.listen of its configuration")
        }
        Error::Silent => found(
            Code::PatroniSilent,
            format!("{what} accepts connections and answers nothing. A reload would hang Patroni: it would lose the leader lock, and another node would be promoted while this one still writes"),
        )
        .cause("Patroni could not load its certificate at a reload (its log says \"Failed to reload\"), or it hangs")
        .fix(RESTART)
        .command(LEADER),
        Error::NotProven => found(
            Code::PatroniWaits,
            format!("{what} is not asked to reload before PostgreSQL is proven to serve this set"),
        )
        .cause("the verdict on a [postgres] is not `current` for this set")
        .fix("`pgsvid status` shows it: each [postgres] must be up, and listen on TCP"),
        Error::Lost(_) | Error::Failed(_) | Error::TooLong => {
            found(Code::PatroniUnanswered, format!("{what}: {error}"))
        }
        Error::Untrusted => found(Code::PatroniUntrusted, format!("{what}: {error}"))
            .cause("pgsvid sends the password only to a server whose certificate a published authority has signed, or that this pgsvid has published")
            .fix("let Patroni read its files once: systemctl reload patroni"),
        Error::Unauthorized => found(Code::PatroniAuthentication, format!("{what} does not accept the request: {error}"))
            .cause("restapi.authentication is set in Patroni's configuration")
            .fix("set patroni.username and patroni.password_file to what restapi.authentication names; if they are set, the name or the password is wrong"),
        Error::Forbidden => found(Code::PatroniDenied, format!("{what} does not accept the request: {error}"))
            .cause("restapi.allowlist does not name the address from which pgsvid comes, or restapi.verify_client is set and the certificate is not for clients")
            .fix("add that address to restapi.allowlist (127.0.0.1 where patroni.address is that), and reload Patroni; or issue the certificate for clients, too"),
        Error::Refused => found(Code::PatroniRefusesCertificate, format!("{what} refuses the published certificate"))
            .cause("it has loaded restapi.cafile without the authority that signed this certificate")
            .fix("let it read its files, once, while it answers: systemctl reload patroni. Next time publish the new authority, and the certificate after the next renewal"),
        Error::Unexpected(_) | Error::NotHttp => found(Code::NotPatroni, format!("{what}: {error}"))
            .fix("set patroni.address to restapi.listen of Patroni's configuration"),
        Error::PasswordFile { path, .. } => found(Code::PatroniPasswordFile, format!("the password for {what}: {error}"))
            .about(path.display().to_string())
            .fix("set patroni.password_file to a file that pgsvid's user can read"),
    }
}

/// The meaning of a verdict, and what an operator should do. `asked` says whether Patroni has accepted a request to reload, if
/// that is known.
#[must_use]
pub fn explain(verdict: Verdict, facts: &Facts, asked: Option<bool>, now: SystemTime) -> Finding {
    let address = &facts.address;
    let finding = |code, text: String, cause: &str, fix: &str| {
        Finding::failure(code, text).cause(cause).fix(fix)
    };
    let api = format!("Patroni's REST API at {address}");
    match verdict {
        Verdict::Current => {
            Finding::ok(Code::VerdictCurrent, format!("{api} serves the published certificate"))
        }
        Verdict::Unverifiable | Verdict::Unreachable => {
            let reason = match &facts.answer {
                Answer::Nothing(reason) => reason.clone(),
                Answer::Refused(alert) => format!(
                    "it ended the handshake with the alert {} before it showed a certificate",
                    alert_name(*alert)
                ),
                Answer::TooLarge => {
                    "one message of its TLS handshake has more than 64 KiB".to_owned()
                }
                Answer::Plaintext | Answer::Served(_) => "nobody answered".to_owned(),
            };
            let fix = match &facts.answer {
                Answer::Refused(_) => {
                    "let restapi.ciphers of Patroni's configuration allow one of pgsvid's cipher suites (TLS 1.2 or 1.3), or set patroni.address to restapi.listen"
                }
                Answer::TooLarge => {
                    "shorten the chain or the authorities of Patroni's REST API, or set patroni.address to restapi.listen"
                }
                _ => "start Patroni, or set patroni.address to restapi.listen of its configuration",
            };
            finding(Code::VerdictUnreachable, format!("cannot see what {api} serves"), &reason, fix)
                .about(reason.as_str())
        }
        Verdict::Plaintext => finding(
            Code::VerdictPlaintext,
            format!("{api} has no TLS"),
            "restapi.certfile is not set in Patroni's configuration",
            "add what `pgsvid setup patroni-yaml` prints to Patroni's configuration, and restart Patroni; or leave [patroni] out",
        ),
        Verdict::Expired => finding(
            Code::VerdictExpired,
            format!("{api} serves a certificate that expired{}", served_until(facts, now)),
            "Patroni has not loaded the files of later rotations",
            RELOAD,
        ),
        Verdict::Foreign => finding(
            Code::VerdictForeign,
            format!(
                "{api} serves a certificate that is not pgsvid's, so pgsvid never asks it to reload"
            ),
            "restapi.certfile names the files of another helper, or another server answers there",
            "set restapi to the published files (pgsvid setup patroni-yaml), and restart Patroni: a helper that replaces \
             its files one by one can end the REST API at any reload",
        ),
        Verdict::StillOld => finding(
            Code::VerdictStillOld,
            format!(
                "{api} has not loaded the new files, and still serves{}",
                served_until(facts, now)
            ),
            match asked {
                Some(true) => {
                    "Patroni has accepted the request to reload, and not executed it in time (patroni.loads_within)"
                }
                Some(false) => "Patroni was not asked to reload",
                None => "Patroni has not executed a reload, or was not asked: see `pgsvid status`",
            },
            RELOAD,
        ),
        Verdict::OldAuthorities => finding(
            Code::VerdictOldAuthorities,
            format!(
                "{api} serves the new certificate, but does not accept it from the other nodes"
            ),
            "it has loaded restapi.cafile without the authority that signed this certificate, and reads that file only with another certificate",
            "wait for the next renewal, or restart Patroni (docs/patroni.md); next time publish the new authority, and the \
             certificate after the next renewal",
        ),
        login => of_client(login, address),
    }
}

/// Where Patroni says what became of a reload.
const RELOAD: &str = "look for \"Failed to reload\" and \"Reloading\" in Patroni's log; if its loop takes longer, set patroni.loads_within";

/// The finding about a published certificate that is served, but has expired: no file is wrong. `why` gives the reason why no
/// newer one is published, and its remedy.
#[must_use]
pub fn outlived(facts: &Facts, why: Finding, now: SystemTime) -> Finding {
    let text = format!(
        "Patroni's REST API at {} serves the published certificate, which has expired{}",
        facts.address,
        served_until(facts, now)
    );
    Finding::failure(Code::PublishedExpired, text).because_of(why)
}

/// The finding about authorities that were published without another certificate. `asked` says whether Patroni has accepted a
/// request to reload for them; `None` if that would change nothing, because the paths are the same.
#[must_use]
pub fn authorities_pending(address: &str, asked: Option<bool>) -> Finding {
    Finding::warning(
        Code::PatroniAuthoritiesPending,
        format!("Patroni's REST API at {address} may not have loaded the authorities that were published last"),
    )
    .cause(match asked {
        None => "without files.patroni, Patroni reads restapi.cafile again only with a certificate of another serial number",
        Some(false) => "Patroni has not been asked to reload for them yet",
        Some(true) => "Patroni has accepted the request to reload; no handshake can show that it has read them",
    })
    .fix("wait for the next renewal, before certificates of the new authority are issued to other nodes")
}
