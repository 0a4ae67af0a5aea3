//! What errors of the REST API and verdicts mean for Patroni, and what an operator should do. Nothing here uses the network.

use std::time::SystemTime;

use super::Error;
use crate::diagnose::served_until;
use crate::verify::{self, Answer, ClientSettings, Expected, Facts, Verdict, alert_name};
use pgsvid_base::finding::{Code, Finding};

/// What Python's TLS shows of `restapi.cafile`: no names.
const CLIENTS: ClientSettings = ClientSettings { asks: false, revocation: false, nameless: true };

/// The way out if the REST API has ended, or Patroni hangs (measured: SIGTERM does not end such a Patroni, and `patronictl
/// pause` waits for its REST API for minutes). In maintenance mode Patroni does not demote a primary without the leader lock, so
/// these steps would prolong a split brain.
const RESTART: &str = "do not reload it; find the leader: patronictl list. If another node is the leader, do steps 2 and 3 only, \
     at once: Patroni demotes this node when it starts. Otherwise restart Patroni alone, in maintenance mode, in which PostgreSQL \
     stays up. \
     1. patronictl edit-config --set pause=true --force  (wait one loop_wait)  \
     2. systemctl kill --kill-who=main --signal=KILL patroni  \
     3. systemctl start patroni  \
     4. patronictl edit-config --set pause=null --force  \
     With Restart=on-failure systemd has often done step 3. Patroni's unit needs KillMode=process, or PostgreSQL ends with it: \
     systemctl show -p KillMode patroni  (docs/patroni.md)";

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
            format!("{what} accepts connections and answers nothing: the next reload would hang Patroni, and its node would lose the leader lock and go on writing"),
        )
        .cause("Patroni has read files that did not fit together, or that it could not read, or it hangs; its log says \"Failed to reload\"")
        .fix(RESTART),
        Error::NotProven => found(
            Code::PatroniWaits,
            format!("{what} is not asked to reload before PostgreSQL is proven to serve this set"),
        )
        .cause("the verdict on a [postgres] is not `current` for this set")
        .fix("see it with `pgsvid status`: each [postgres] must be up, and listen on TCP"),
        Error::Lost(_) => found(Code::PatroniUnanswered, format!("{what}: {error}")),
        Error::Unauthorized => found(Code::PatroniAuthentication, format!("{what} does not accept the request: {error}"))
            .cause("restapi.authentication is set in Patroni's configuration")
            .fix("set patroni.username and patroni.password_file to what restapi.authentication names"),
        Error::Forbidden => found(Code::PatroniDenied, format!("{what} does not accept the request: {error}"))
            .cause("restapi.allowlist does not name the address from which pgsvid comes, or restapi.verify_client is set and the certificate is not for clients")
            .fix("add that address to restapi.allowlist (127.0.0.1 where patroni.address is that), and reload Patroni; or issue the certificate for clients, too"),
        Error::Refused => found(Code::PatroniRefusesCertificate, format!("{what} refuses the published certificate"))
            .cause("it has loaded restapi.cafile without the authority that signed this certificate")
            .fix("let it read its files, once, while it answers: systemctl reload patroni. Next time publish the new authority, and the certificate after the next renewal"),
        Error::Unexpected(_) => found(Code::NotPatroni, format!("{what}: {error}"))
            .fix("set patroni.address to restapi.listen of Patroni's configuration"),
        Error::PasswordFile { path, .. } => found(Code::PatroniPasswordFile, format!("the password for {what}: {error}"))
            .about(path.display().to_string())
            .fix("let patroni.password_file name a file that pgsvid's user can read"),
    }
}

/// The meaning of a verdict, and what an operator should do. `asked` means that Patroni has accepted a request to reload.
#[must_use]
pub fn explain(verdict: Verdict, facts: &Facts, asked: bool, now: SystemTime) -> Finding {
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
            let fix =
                "start Patroni, or set patroni.address to restapi.listen of its configuration";
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
            "let restapi name the published files (pgsvid setup patroni-yaml), and restart Patroni: a helper that replaces \
             its files one by one can end the REST API at any reload",
        ),
        Verdict::StillOld => finding(
            Code::VerdictStillOld,
            format!(
                "{api} has not loaded the new files, and still serves{}",
                served_until(facts, now)
            ),
            if asked {
                "Patroni has accepted the request to reload, and not executed it in time (patroni.loads_within)"
            } else {
                "Patroni was not asked to reload"
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

/// The finding about authorities that were published without another certificate.
#[must_use]
pub fn authorities_pending(address: &str) -> Finding {
    Finding::warning(
        Code::PatroniAuthoritiesPending,
        format!("Patroni's REST API at {address} still has the authorities from before the last change"),
    )
    .cause("Patroni reads restapi.cafile again only if the certificate's serial number is another one")
    .fix("wait for the next renewal, before certificates of the new authority are issued to other nodes")
}
