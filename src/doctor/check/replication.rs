//! Replication as the server shows it: what receives from it, whether a standby or a subscription receives, and the nodes of a Citus
//! cluster.

use super::postgresql::Answers;
use crate::consumers::Server;
use crate::doctor::finding::{Code, Finding};
use crate::sql::{Citus, Over, Receiver, Replication, Sender};
use crate::survey;

const SETUP: &str =
    "set it up by certificate: `pgsvid setup replication` prints what to write on both sides";

/// The findings about it; none for a server without replication.
pub(super) fn findings(server: &Server, answers: &Answers) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(citus(answers));
    let seen = match &answers.replication {
        Ok(seen) => seen,
        Err(error) => {
            let text = "whether standbys show a certificate, and whether this server receives";
            found.push(Finding::skipped(Code::ReplicationRights, text).cause(error));
            return found;
        }
    };
    if answers.settings.may_read_stats {
        found.extend(seen.senders.iter().map(sender));
        let more = seen.count.saturating_sub(seen.senders.len() as u64);
        if more > 0 {
            let text = format!("{more} more replication connections are not examined");
            found.push(Finding::skipped(Code::ReplicationCertificate, text));
        }
        found.extend(seen.receiver.as_ref().and_then(|it| receiver(server, answers, it)));
    } else if seen.count > 0 || seen.receiver.is_some() {
        found.push(without_rights(server, answers, seen));
    }
    found.extend(subscriptions(server, seen));
    found
}

fn without_rights(server: &Server, answers: &Answers, seen: &Replication) -> Finding {
    let what = match (seen.count, &seen.receiver) {
        (0, _) => "whether the standby receives".to_owned(),
        (count, None) => format!("the certificates of {count} replication connections"),
        (count, Some(_)) => {
            format!(
                "the certificates of {count} replication connections, and whether the standby receives"
            )
        }
    };
    let text = format!("{what}: role {} may not see it", server.session.user);
    let version = answers.settings.version_number;
    let grant = server.session.grant_sessions(true, false, version);
    Finding::skipped(Code::ReplicationRights, text).command(grant)
}

fn sender(sender: &Sender) -> Finding {
    let Sender { application, role, state, .. } = sender;
    let who = format!("{application} (role {role}, {state})");
    let found = match (&sender.certificate, sender.over) {
        (Some(shown), _) => Finding::ok(
            Code::ReplicationCertificate,
            format!("{who} receives with the certificate {}, serial {}", shown.subject, shown.serial),
        ),
        (None, Over::Socket) => Finding::ok(
            Code::ReplicationCertificate,
            format!("{who} receives over the Unix socket"),
        ),
        (None, Over::Tls) => Finding::warning(
            Code::ReplicationCertificate,
            format!("{who} receives without a certificate: PostgreSQL has let it in by another method"),
        )
        .fix(SETUP),
        (None, Over::Plaintext) => Finding::warning(
            Code::ReplicationCertificate,
            format!("{who} receives without TLS: all that is written to the database crosses the network in clear text"),
        )
        .fix(SETUP),
    };
    found.about(application)
}

/// The finding about a standby's connection to its primary.
fn receiver(server: &Server, answers: &Answers, receiver: &Receiver) -> Option<Finding> {
    let object = "pg_stat_wal_receiver";
    if receiver.receives() {
        let from = receiver.from.as_deref().unwrap_or("its primary");
        let text = format!("the standby receives from {from}");
        return Some(Finding::ok(Code::ReplicationNotReceiving, text).about(object));
    }
    if let Some(state @ ("starting" | "connecting" | "restarting")) = receiver.state.as_deref() {
        let text = format!("whether the standby receives: its walreceiver is {state}");
        let skipped = Finding::skipped(Code::ReplicationNotReceiving, text).about(object);
        return Some(with_cause(skipped, server, "primary server"));
    }
    let setting = "primary_conninfo";
    let is_set = answers
        .standing
        .setting(setting)
        .map(|value| !value.is_empty())
        .or_else(|| survey::is_set(&server.session, setting));
    let found = match is_set {
        // It takes its data from an archive.
        Some(false) => return None,
        Some(true) => Finding::failure(
            Code::ReplicationNotReceiving,
            match &receiver.state {
                Some(state) => format!(
                    "the walreceiver is {state}: the standby receives nothing from its primary at the moment"
                ),
                None => {
                    "the standby receives nothing from its primary: pg_stat_wal_receiver is empty"
                        .to_owned()
                }
            },
        ),
        None => Finding::skipped(
            Code::ReplicationNotReceiving,
            format!(
                "whether the standby should receive: it does not, and role {} may not see {setting}",
                server.session.user
            ),
        ),
    };
    Some(with_cause(found.about(object), server, "primary server"))
}

/// Adds what the server's log says, if that is readable.
fn with_cause(found: Finding, server: &Server, to: &str) -> Finding {
    let words = "fix what the findings of this section about its connection string name; it tries again every few seconds";
    match survey::last_refusal(&server.session, to) {
        Some(why) => found.cause(format!("the server's log says: {why}")).fix(words),
        None => found.fix(format!(
            "{words}. The reason stands in the server's log, which pgsvid cannot read from here, or which does not have it: could not \
             connect to the {to}"
        )),
    }
}

fn subscriptions(server: &Server, seen: &Replication) -> Vec<Finding> {
    seen.subscriptions
        .iter()
        .map(|(name, receives)| {
            let object = format!("subscription {name}");
            if *receives {
                let text = format!("{object} receives");
                return Finding::ok(Code::ReplicationNotReceiving, text).about(object);
            }
            let text = format!("{object} is enabled, and receives nothing from its publisher");
            let found = Finding::failure(Code::ReplicationNotReceiving, text).about(object);
            with_cause(found, server, "publisher")
        })
        .collect()
}

fn citus(answers: &Answers) -> Option<Finding> {
    let skipped = |why: String| {
        Finding::skipped(
            Code::CitusNodes,
            format!("whether the nodes of the Citus cluster reach each other: {why}"),
        )
        .fix("run check as a superuser: --user postgres")
    };
    Some(match answers.citus.as_ref()? {
        Ok(Citus::Asked { broken: 0, pairs, .. }) => Finding::ok(
            Code::CitusNodes,
            format!("Citus: {pairs} of {pairs} pairs of nodes reach each other"),
        ),
        Ok(Citus::Asked { broken, pairs, examples }) => Finding::failure(
            Code::CitusNodes,
            format!(
                "Citus: {broken} of {pairs} pairs of nodes do not reach each other: {}",
                examples.join(", ")
            ),
        )
        .fix(
            "see on the first node of each pair that citus.node_conninfo names the published files, and its log for the reason",
        ),
        Ok(Citus::Denied) => skipped("the role may not ask".to_owned()),
        Err(error) => skipped(error.clone()),
    })
}
