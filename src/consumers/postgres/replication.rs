//! The replication connections of a server: facts for the status, which are queried when sessions are counted. A standby or a
//! subscription that no longer receives is logged once.

use std::time::{Duration, SystemTime};

use tracing::{info, warn};

use super::Postgres;
use crate::sql;
use crate::status::{Connected, Receives, Replication, Shows};

const FIX: &str = "see the findings of `pgsvid check` about replication";

impl Postgres {
    pub(in crate::consumers) fn replication(&self) -> Option<&Replication> {
        self.replication.as_ref()
    }

    /// Takes note of the connections, and logs what has changed in what the server receives. A standby that is seen for the first
    /// time may still be starting, or may take its data from an archive, so its silence is only news after a connection. `None`: the
    /// role may not see them any more, so nothing earlier is shown.
    pub(super) fn note_replication(&mut self, seen: Option<(SystemTime, sql::Replication)>) {
        let Some((at, seen)) = seen else {
            self.replication = None;
            return;
        };
        let (life, _) = self.outlived();
        let life_is_set = self.server.sessions.life.is_some();
        let now = seen_by_role(at, seen, (life, life_is_set));
        if let Some(before) = &self.replication {
            tell_changes(self.label.as_deref(), before, &now);
        }
        self.replication = Some(now);
    }
}

fn tell_changes(consumer: Option<&str>, before: &Replication, now: &Replication) {
    if let (Some(was), Some(is)) = (&before.receiver, &now.receiver) {
        match (was.receives, is.receives) {
            (true, false) => {
                let from = was.from.as_deref();
                warn!(
                    event = "replication-lost",
                    consumer,
                    from,
                    fix = FIX,
                    "the standby no longer receives from its primary"
                );
            }
            (false, true) => {
                let from = is.from.as_deref();
                info!(event = "replication-back", consumer, from, "the standby receives");
            }
            _ => {}
        }
    }
    for (subscription, receives) in &now.subscriptions {
        let was = before.subscriptions.iter().find(|(name, _)| name == subscription);
        match (was.map(|(_, received)| *received), *receives) {
            (Some(true), false) => warn!(
                event = "replication-lost",
                consumer,
                subscription,
                fix = FIX,
                "the subscription no longer receives from its publisher"
            ),
            (Some(false), true) => info!(
                event = "replication-back",
                consumer, subscription, "the subscription receives"
            ),
            _ => {}
        }
    }
}

fn seen_by_role(
    at: SystemTime,
    seen: sql::Replication,
    (life, life_is_set): (Duration, bool),
) -> Replication {
    let connected = |one: sql::Sender| Connected {
        application: one.application,
        role: one.role,
        state: one.state,
        shows: match (one.certificate, one.over) {
            (Some(sql::Shown { subject, issuer, serial }), _) => {
                Shows::Certificate { subject, issuer, serial }
            }
            (None, sql::Over::Tls | sql::Over::Gss) => Shows::Nothing,
            (None, sql::Over::Plaintext) => Shows::Plaintext,
            (None, sql::Over::Socket) => Shows::Local,
        },
        age: one.age,
    };
    Replication {
        at,
        life,
        life_is_set,
        connections: seen.senders.into_iter().map(connected).collect(),
        count: seen.count,
        receiver: seen.receiver.map(|it| {
            let receives = it.receives();
            Receives { state: it.state, from: it.from, receives }
        }),
        subscriptions: seen.subscriptions,
    }
}
