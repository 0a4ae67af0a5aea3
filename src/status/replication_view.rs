//! The replication connections of a server, in the document of the status.

use serde::{Deserialize, Serialize};

use super::replication::{Connected, Replication, Shows};
use super::time::Time;
use crate::timing::roughly;

/// The replication connections of a server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReplicationView {
    /// When they were seen.
    pub at: Time,
    /// The connections that receive from this server, at most 20: those without a certificate first, then the oldest.
    pub connections: Vec<ConnectionView>,
    /// Their whole number.
    pub count: u64,
    /// Whether the life of clients' certificates is configured. If not, `expired_by` assumes that they live as long as pgsvid's own.
    pub life_is_set: bool,
    /// Whether a standby receives; `None` if the server is no standby.
    pub receiver: Option<ReceiverView>,
    /// The enabled subscriptions of this server.
    pub subscriptions: Vec<SubscriptionView>,
}

/// A connection that receives from the server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConnectionView {
    /// `application_name`
    pub application: String,
    /// Its role.
    pub role: String,
    /// `streaming`, `catchup`, `startup`, `backup` or `stopping`.
    pub state: String,
    /// `plaintext`, `socket`, `no-certificate` or `certificate`.
    pub shows: String,
    /// The subject of the client's certificate.
    pub subject: Option<String>,
    /// Its issuer.
    pub issuer: Option<String>,
    /// Its serial number in hexadecimal, with colons.
    pub serial: Option<String>,
    /// When the connection was opened.
    pub since: Time,
    /// When the certificate has expired at the latest, if it does not live longer than `life_is_set` says.
    pub expired_by: Option<Time>,
}

/// What a standby receives.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReceiverView {
    /// Whether it receives.
    pub receives: bool,
    /// The state of its walreceiver.
    pub state: Option<String>,
    /// `host:port` of the server that it receives from.
    pub from: Option<String>,
}

/// A subscription.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SubscriptionView {
    /// Its name.
    pub name: String,
    /// Whether it receives from its publisher.
    pub receives: bool,
}

impl ReplicationView {
    pub(super) fn of(replication: &Replication) -> Self {
        Self {
            at: Time(replication.at),
            connections: replication
                .connections
                .iter()
                .map(|one| ConnectionView::of(replication, one))
                .collect(),
            count: replication.count,
            life_is_set: replication.life_is_set,
            receiver: replication.receiver.as_ref().map(|receiver| ReceiverView {
                receives: receiver.receives,
                state: receiver.state.clone(),
                from: receiver.from.clone(),
            }),
            subscriptions: replication
                .subscriptions
                .iter()
                .map(|(name, receives)| SubscriptionView {
                    name: name.clone(),
                    receives: *receives,
                })
                .collect(),
        }
    }

    /// A phrase for each connection, for a standby's own, and for each subscription, for people; `now` is the time of the document.
    #[must_use]
    pub fn in_words(&self, now: Time) -> Vec<String> {
        let ago = roughly(self.at.until(now));
        let mut lines: Vec<String> =
            self.connections.iter().map(|one| one.in_words(now, self.life_is_set)).collect();
        let more = self.count.saturating_sub(self.connections.len() as u64);
        if more > 0 {
            lines.push(format!("{more} more connections, not listed"));
        }
        match &self.receiver {
            Some(ReceiverView { receives: true, state, from }) => {
                let from = from.as_deref().unwrap_or("its primary");
                let state = state.as_deref().unwrap_or("streaming");
                lines.push(format!("receives from {from}: {state}, seen {ago} ago"));
            }
            Some(ReceiverView { state, .. }) => {
                let state = state.as_ref().map(|state| format!(" ({state})")).unwrap_or_default();
                lines.push(format!("receives nothing from its primary{state}, seen {ago} ago"));
            }
            None => {}
        }
        for SubscriptionView { name, receives } in &self.subscriptions {
            let what = if *receives { "receives" } else { "receives nothing" };
            lines.push(format!("subscription {name} {what}, seen {ago} ago"));
        }
        lines
    }
}

impl ConnectionView {
    fn of(replication: &Replication, one: &Connected) -> Self {
        let (subject, issuer, serial) = match &one.shows {
            Shows::Certificate { subject, issuer, serial } => {
                (Some(subject.clone()), Some(issuer.clone()), Some(serial.clone()))
            }
            Shows::Plaintext | Shows::Local | Shows::Nothing => (None, None, None),
        };
        Self {
            application: one.application.clone(),
            role: one.role.clone(),
            state: one.state.clone(),
            shows: one.shows.name().to_owned(),
            subject,
            issuer,
            serial,
            since: Time(replication.at.checked_sub(one.age).unwrap_or(replication.at)),
            expired_by: replication.bound(one).map(Time),
        }
    }

    fn in_words(&self, now: Time, life_is_set: bool) -> String {
        let Self { application, role, state, .. } = self;
        let whose = match (&self.subject, self.shows.as_str()) {
            (Some(subject), _) => subject.clone(),
            (None, "plaintext") => "without TLS".to_owned(),
            (None, "socket") => "over the Unix socket".to_owned(),
            (None, _) => "without a certificate".to_owned(),
        };
        let life = match self.expired_by {
            Some(by) if by > now => {
                format!("; its certificate expires within {}", roughly(now.until(by)))
            }
            Some(_) if !life_is_set => {
                "; its certificate may have expired (postgres.client_svid_life is not set)"
                    .to_owned()
            }
            Some(by) => {
                format!("; its certificate has expired, {} ago at least", roughly(by.until(now)))
            }
            None => String::new(),
        };
        format!("{application} ({role}) receives: {state}, {whose}{life}")
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::super::replication::Receives;
    use super::*;

    #[test]
    fn l01_the_life_of_a_certificate_is_bounded_by_the_age_of_its_connection() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000);
        let shows = Shows::Certificate {
            subject: "/CN=standby".to_owned(),
            issuer: "/CN=ca".to_owned(),
            serial: "ff".to_owned(),
        };
        let aged = |age, shows: &Shows| Connected {
            application: "a".to_owned(),
            state: "streaming".to_owned(),
            shows: shows.clone(),
            age: Duration::from_secs(age),
            ..Connected::default()
        };
        let of = |life| Replication {
            at,
            life: Duration::from_secs(life),
            life_is_set: true,
            connections: vec![aged(600, &shows), aged(4000, &shows), aged(1, &Shows::Nothing)],
            count: 4,
            receiver: Some(Receives::default()),
            subscriptions: Vec::new(),
        };
        let by = |view: &ReplicationView, at: usize| {
            view.connections[at]
                .expired_by
                .map(|Time(at)| at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs())
        };
        let view = ReplicationView::of(&of(3600));
        assert_eq!((by(&view, 0), by(&view, 1), by(&view, 2)), (Some(13_000), Some(9600), None));
        assert_eq!(view.connections[0].serial.as_deref(), Some("ff"));
        assert!(!view.receiver.as_ref().unwrap().receives);
        // Three connections, those that are not named, and the standby's own.
        assert_eq!(view.in_words(Time(at)).len(), 5);
        assert_eq!(by(&ReplicationView::of(&of(0)), 0), None, "no life is known");
    }
}
