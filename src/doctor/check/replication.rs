//! Replication as the server shows it: what receives from it, whether a standby or a subscription receives, and the nodes of a Citus
//! cluster.

use super::postgresql::Answers;
use crate::consumers::Server;
use crate::doctor::finding::{Code, Finding};
use crate::sql::{Citus, Over, Receiver, Replication, Sender};
use crate::survey::{self, Refusals, Refused};

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
    found.extend(subscriptions(server, answers, seen));
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
        (None, Over::Gss) => Finding::warning(
            Code::ReplicationCertificate,
            format!("{who} receives without a certificate: it is encrypted by GSSAPI"),
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
        return Some(of_standby(skipped, server, answers));
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
    Some(of_standby(found.about(object), server, answers))
}

fn of_standby(found: Finding, server: &Server, answers: &Answers) -> Finding {
    let refusals = survey::last_refusals(&server.session, Refused::Standby);
    let cause = refusals.last.map(|why| format!("the server's log says: {why}"));
    with_cause(found, cause, Refused::Standby, answers)
}

/// Adds what the server's log says, if that is known.
fn with_cause(found: Finding, cause: Option<String>, which: Refused, answers: &Answers) -> Finding {
    let words = "fix the findings about its connection string in this section; PostgreSQL tries again every few seconds by itself";
    let Some(cause) = cause else {
        let to = which.to();
        return found.fix(format!(
            "{words}. Search the server's log for `could not connect to the {to}`: pgsvid cannot read that log, or found no such line"
        ));
    };
    let forgeable = if clients_write_first(answers.standing.setting("log_line_prefix")) {
        " (clients can write such a line)"
    } else {
        ""
    };
    found.cause(format!("{cause}{forgeable}")).fix(words)
}

/// Whether a line begins with names that clients choose: role, database, application. They can hold a whole message.
fn clients_write_first(prefix: Option<&str>) -> bool {
    let Some(prefix) = prefix else { return true };
    prefix.split('%').skip(1).any(|part| {
        let letter = part.trim_start_matches(|c: char| c == '-' || c.is_ascii_digit());
        letter.starts_with(['u', 'd', 'a'])
    })
}

fn subscriptions(server: &Server, answers: &Answers, seen: &Replication) -> Vec<Finding> {
    let silent = seen.subscriptions.iter().filter(|(_, receives)| !receives).count();
    // The log may be long, so it is read once.
    let refusals = if silent > 0 {
        survey::last_refusals(&server.session, Refused::Subscription)
    } else {
        Refusals::default()
    };
    let cause = |name: &str| {
        let of_this = refusals.named.iter().find(|(of, _)| of == name).map(|(_, why)| why);
        match (of_this, &refusals.last) {
            (Some(why), _) => Some(format!("the server's log says: {why}")),
            (None, Some(why)) if silent == 1 => Some(format!("the server's log says: {why}")),
            (None, Some(why)) => Some(format!(
                "the server's log has this reason for one of the silent subscriptions: {why}"
            )),
            (None, None) => None,
        }
    };
    let mut found: Vec<Finding> = seen
        .subscriptions
        .iter()
        .map(|(name, receives)| {
            let object = format!("subscription {name}");
            if *receives {
                let text = format!("{object} receives");
                return Finding::ok(Code::ReplicationNotReceiving, text).about(object);
            }
            let text = format!("{object} is enabled, and receives nothing from its publisher");
            let found = Finding::failure(Code::ReplicationNotReceiving, text).about(object);
            with_cause(found, cause(name), Refused::Subscription, answers)
        })
        .collect();
    let more = seen.subscription_count.saturating_sub(seen.subscriptions.len() as u64);
    if more > 0 {
        let text = format!("{more} more subscriptions are not examined");
        found.push(Finding::skipped(Code::ReplicationNotReceiving, text));
    }
    found
}

fn citus(answers: &Answers) -> Option<Finding> {
    const ASK: &str = "run SELECT * FROM citus_check_cluster_node_health() in psql: result is NULL for the pairs that cannot connect";
    let skipped = |why: &str| {
        let text = format!("whether the nodes of the Citus cluster reach each other: {why}");
        Finding::skipped(Code::CitusNodes, text)
    };
    Some(match answers.citus.as_ref()? {
        Ok(Citus::Asked { pairs: 0, .. }) => skipped("Citus names no nodes"),
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
        Ok(Citus::Denied) => skipped("the role may not ask").fix("run check as a superuser: --user postgres"),
        // It waits longer for a node that does not answer than a statement of this session may take.
        Err(error) if error.is_about_time() => Finding::failure(
            Code::CitusNodes,
            "Citus: the nodes have not answered each other in time: probably one of them does not answer at all",
        )
        .cause(error.to_string())
        .fix(ASK),
        Err(error) => skipped("the query to Citus failed").cause(error.to_string()).fix(ASK),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l10_a_prefix_with_names_that_clients_choose_is_reported() {
        for (prefix, is) in [
            (None, true),
            (Some("%m [%p] "), false),
            (Some("%t %% u [%5p]: "), false),
            (Some("%m [%p] %q%u@%d "), true),
            (Some("%m %-10a "), true),
        ] {
            assert_eq!(clients_write_first(prefix), is, "{prefix:?}");
        }
    }
}
