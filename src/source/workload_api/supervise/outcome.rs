//! The effect of a message, or of the end of a stream, on the state and on the log.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::Supervisor;
use super::agent::Agent;
use crate::entries;
use crate::material::{Certificate, Material, Names, Warning};
use crate::source::lines::Line;
use crate::source::workload_api::error::Error;
use crate::source::workload_api::message::LeftOut;
use crate::source::workload_api::{Connection, SOCKET_PATH_FIX, limits};
use crate::source::{Identity, Rejected, SourceState};
use crate::text::{ascii, sentence, shown};
use crate::timing;

/// A log line that an agent causes: it goes to the debug level once the agent has caused too many.
macro_rules! tell {
    ($supervisor:expr, $level:ident, $($line:tt)+) => {
        if $supervisor.may_tell() { $level!($($line)+) } else { debug!($($line)+) }
    };
}
pub(super) use tell;

impl<A: Agent> Supervisor<A> {
    /// Reports which federated bundles or authorities of the last accepted message were left out, if they have changed.
    pub(super) fn leave_out(&mut self, left_out: LeftOut) {
        let LeftOut { unfit, unproven } = &left_out;
        if *unfit != self.left_out.unfit && !unfit.is_empty() {
            tell!(
                self,
                warn,
                event = "federated-left-out",
                left_out = unfit,
                "federated bundles, or authorities of them, are left out"
            );
        }
        if *unproven != self.left_out.unproven && !unproven.is_empty() {
            tell!(
                self,
                warn,
                event = "federated-unproven",
                left_out = unproven,
                fix = "give each authority a name of its own, or end federations that are not needed any more (federatesWith)",
                "authorities of federated trust domains are left out: more of them have one name than can be told apart in time"
            );
        }
        self.left_out = left_out;
    }

    /// Reports which of the trust domain's own authorities of the last accepted message were left out.
    fn leave_out_own(&mut self, material: &Material) {
        let fingerprints = material.left_out().map(Certificate::fingerprint).collect();
        let before = std::mem::replace(&mut self.left_out_own, fingerprints);
        let is_news = |found: &&Certificate| !before.contains(&found.fingerprint());
        for found in material.left_out().filter(is_news) {
            tell!(
                self,
                warn,
                event = "authority-left-out",
                subject = ascii(&found.subject_text()),
                serial = found.serial().short(),
                not_after = timing::utc(found.not_after()),
                fix = Warning::AuthorityLeftOut.fix(),
                "{}",
                Warning::AuthorityLeftOut.cause()
            );
        }
    }

    pub(super) fn accept(&mut self, material: Material) {
        let before = self.source.state.borrow().clone();
        if before.rejected.is_some() {
            tell!(self, info, event = "message-accepted", "the agent's message is accepted again");
        }
        let same = matches!(&before.identity, Identity::Current(current) if current.publishes_as(&material));
        if !same {
            self.overdue = false;
            let leaf = material.leaf();
            let spiffe_id = ascii(&material.name().to_string());
            let hint = material.hint().map(shown);
            let serial = leaf.serial().short();
            let not_after = timing::utc(material.not_after());
            if self.identities.take() == Line::Written {
                info!(
                    event = "identity-received",
                    spiffe_id, hint, serial, not_after, "identity received"
                );
            } else {
                debug!(spiffe_id, hint, serial, not_after, "identity received");
            }
            let known: Vec<_> =
                before.identity.material().map(|material| material.warnings()).unwrap_or_default();
            let is_news = |warning: &Warning| {
                // An authority that is left out has its own line.
                !known.contains(warning) && *warning != Warning::AuthorityLeftOut
            };
            for warning in material.warnings().into_iter().filter(is_news) {
                tell!(self, warn, event = "identity-warning", code = warning.code(), "{warning}");
            }
            self.compare(&Names::of(&material));
        }
        self.leave_out_own(&material);
        self.source.state.send_modify(|state| {
            state.rejected = None;
            set_connection(state, Connection::Streaming);
            if !same {
                state.identity = Identity::Current(Arc::new(material));
            }
        });
    }

    /// Reports that other users could have put the socket in its place: once, and again if the reason changes.
    pub(super) fn tell_exchangeable(&mut self) {
        let found = self.agent.exchangeable();
        if self.exchangeable == found {
            return;
        }
        if let Some(found) = &found {
            tell!(
                self,
                warn,
                event = "agent-socket-exchangeable",
                endpoint = %self.source.settings.endpoint,
                reason = %found,
                fix = SOCKET_PATH_FIX,
                "other users of this machine could have put the agent's socket in its place, and so choose what pgsvid publishes"
            );
        }
        self.exchangeable = found;
    }

    /// Reports that another socket has replaced the one that was dialled.
    pub(super) fn tell_replaced(&mut self) {
        tell!(
            self,
            info,
            event = "agent-replaced",
            "another agent listens at the socket's path; connecting to it"
        );
    }

    /// Reports that the agent has not renewed the identity in time, even if it has sent other messages.
    pub(super) fn tell_overdue(&mut self) {
        if !self.has_identity() {
            debug!("the agent has sent no acceptable identity; reconnecting");
        } else if std::mem::replace(&mut self.overdue, true) {
            debug!("{} still; reconnecting", Error::Overdue);
        } else {
            tell!(self, warn, event = "agent-overdue", "{}; reconnecting", Error::Overdue);
        }
    }

    pub(super) fn reject(&mut self, kind: &'static str, reason: &str) {
        let reason = sentence(reason);
        let repeated = self
            .source
            .state
            .borrow()
            .rejected
            .as_ref()
            .is_some_and(|rejected| rejected.reason == reason);
        if repeated {
            debug!(reason, "the agent's message is rejected again");
        } else {
            tell!(
                self,
                warn,
                event = "message-rejected",
                reason,
                "the agent's message is rejected; the published files stay"
            );
        }
        self.source.state.send_modify(|state| {
            set_connection(state, Connection::Streaming);
            state.rejections += 1;
            let counts = state.agent_mut().map(|agent| &mut agent.rejections_by_reason);
            for (_, count) in counts.into_iter().flatten().filter(|(of, _)| *of == kind) {
                *count += 1;
            }
            state.rejected = Some(Rejected { at: self.clocks.now(), reason });
        });
    }

    pub(super) fn withdraw(&mut self) {
        let withdrawn = self.source.state.borrow().identity.current().cloned();
        let is_news = self.is_news("not registered");
        if let Some(material) = &withdrawn {
            let (fix, command) = entry_again(material);
            tell!(
                self,
                warn,
                event = "identity-withdrawn",
                spiffe_id = ascii(&material.name().to_string()),
                not_after = timing::utc(material.not_after()),
                fix,
                command,
                "the agent has withdrawn the identity: is its registration entry deleted? \
                 The published files stay until they expire"
            );
        } else if is_news {
            tell!(self, info, event = "not-registered",
                endpoint = %self.source.settings.endpoint,
                "not registered yet: the agent has no entry for this workload; asking again"
            );
        }
        self.source.state.send_modify(|state| {
            set_connection(state, Connection::NotRegistered);
            if let Some(material) = withdrawn {
                state.identity = Identity::Withdrawn(material);
            }
        });
    }

    pub(super) fn fail(&mut self, error: Error) {
        let text = error.to_string();
        if self.is_news(&text) {
            tell!(
                self,
                warn,
                event = "agent-disconnected",
                error = text,
                fix = error.remedy(),
                "no connection to the agent; retrying"
            );
        } else {
            debug!(error = text, "still no connection to the agent");
        }
        self.source.state.send_modify(|state| {
            set_connection(state, Connection::Failed(Arc::new(error)));
        });
    }

    /// Handles an agent that sent messages before, and now rejects the request. An operator has to fix this.
    pub(super) fn refused(&mut self, error: Error, pause: Duration) {
        let text = error.to_string();
        if self.is_news(&text) {
            let next = format!(
                "the published files stay; asking again in {}",
                humantime::format_duration(Duration::from_secs(pause.as_secs()))
            );
            tell!(
                self,
                error,
                event = "agent-refused",
                error = text,
                next,
                "the agent refuses the request: was it replaced or reconfigured?"
            );
        } else {
            debug!(error = text, "the agent still refuses the request");
        }
        self.source.state.send_modify(|state| {
            set_connection(state, Connection::Failed(Arc::new(error)));
        });
    }

    pub(super) fn connected(&mut self) {
        if !std::mem::take(&mut self.said).is_empty() {
            tell!(self, info, event = "agent-connected", endpoint = %self.source.settings.endpoint, "connected to the agent");
        }
        self.source.state.send_modify(|state| {
            if let Some(agent) = state.agent_mut() {
                agent.connects += 1;
            }
        });
    }

    /// Whether another line may be logged. Logs once that the limit is reached.
    pub(super) fn may_tell(&mut self) -> bool {
        let line = self.lines.take();
        if line == Line::FirstHidden {
            warn!(
                event = "agent-lines-limited",
                "the agent causes too many log lines: from now on one every {}, the others at level debug",
                humantime::format_duration(limits::LINES.1)
            );
        }
        line == Line::Written
    }

    fn is_news(&mut self, text: &str) -> bool {
        let news = !self.said.iter().any(|said| said == text);
        if news {
            // An agent can cause any number of different texts.
            self.said.truncate(limits::SAID - 1);
            self.said.insert(0, text.to_owned());
        }
        news
    }
}

/// Records the state of the connection.
fn set_connection(state: &mut SourceState, connection: Connection) {
    if let Some(agent) = state.agent_mut() {
        agent.connection = connection;
    }
}

/// How to create the registration entry of an identity again: in words, and with the command.
fn entry_again(material: &Material) -> (&'static str, Option<String>) {
    let uid = rustix::process::geteuid().as_raw();
    let names = material.leaf().dns_names().iter().map(String::as_str);
    entries::recreate_command(&material.name().to_string(), uid, names)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use tonic::Code;

    use super::*;
    use crate::material::Expectations;
    use crate::source::workload_api::allowance::Allowance;
    use crate::source::workload_api::supervise::agent::Address;
    use crate::source::workload_api::{Endpoint, Selection, Settings, Source};
    use crate::timing::Clocks;
    use crate::watching::Watching;

    /// Counts log lines.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<usize>>);

    impl Log {
        fn lines(&self) -> MutexGuard<'_, usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            *self.lines() += 1;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a66_no_line_that_an_agent_causes_goes_past_the_limit() {
        let settings = Settings {
            endpoint: Endpoint::Unix("/nowhere/agent.sock".into()),
            selection: Selection::default(),
            expectations: Expectations::default(),
            federated_bundles: false,
        };
        let most = usize::try_from(limits::LINES.0).unwrap() + 1;
        let causes: [fn(&mut Supervisor<Address>, usize); 3] = [
            |supervisor, _| {
                supervisor.withdraw();
                supervisor.connected();
            },
            |supervisor, number| {
                let error =
                    Error::Answered { code: Code::InvalidArgument, text: number.to_string() };
                supervisor.refused(error, Duration::from_secs(2));
            },
            |supervisor, number| supervisor.reject("malformed", &number.to_string()),
        ];
        for (which, cause) in causes.into_iter().enumerate() {
            let log = Log::default();
            let writer = log.clone();
            let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
            let _guard = tracing::subscriber::set_default(subscriber);
            let (source, _state) = Source::new(settings.clone(), Watching::blind());
            let endpoint = settings.endpoint.clone();
            let agent = Address::new(endpoint, &Watching::blind(), Allowance::new());
            let mut supervisor = Supervisor::new(source, agent, Clocks::compared());
            for number in 0..1000 {
                cause(&mut supervisor, number);
            }
            assert_eq!(*log.lines(), most, "cause {which}");
        }
    }
}
