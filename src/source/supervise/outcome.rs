//! What a message or the end of a stream comes to: the state that others see, and what is said of it.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::Supervisor;
use super::agent::Agent;
use crate::material::{Certificate, Material, Warning};
use crate::source::error::Error;
use crate::source::lines::Line;
use crate::source::{Connection, Identity, Rejected, limits};
use crate::text::{ascii, sentence, shown};
use crate::timing;

/// A line of the log that an agent causes: among the details once it has caused too many.
macro_rules! tell {
    ($supervisor:expr, $level:ident, $($line:tt)+) => {
        if $supervisor.may_tell() { $level!($($line)+) } else { debug!($($line)+) }
    };
}

impl<A: Agent> Supervisor<A> {
    /// Says of which federated bundles or authorities the last accepted message went without, if they are others than before.
    pub(super) fn leave_out(&mut self, left_out: String) {
        if self.left_out != left_out {
            if !left_out.is_empty() {
                tell!(
                    self,
                    warn,
                    event = "federated-left-out",
                    left_out,
                    "federated bundles, or authorities of them, are left out"
                );
            }
            self.left_out = left_out;
        }
    }

    /// Says which of the trust domain's own authorities the last accepted message goes without.
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
            let spiffe_id = ascii(&material.spiffe_id().to_string());
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
            let said: Vec<_> =
                before.identity.material().map(|material| material.warnings()).unwrap_or_default();
            let is_news = |warning: &Warning| {
                // It has a line of its own.
                !said.contains(warning) && *warning != Warning::AuthorityLeftOut
            };
            for warning in material.warnings().into_iter().filter(is_news) {
                tell!(self, warn, event = "identity-warning", "{warning}");
            }
        }
        self.leave_out_own(&material);
        self.source.state.send_modify(|state| {
            state.rejected = None;
            state.connection = Connection::Streaming;
            if !same {
                state.identity = Identity::Current(Arc::new(material));
            }
        });
    }

    /// Another socket has taken the place of the one that was dialled.
    pub(super) fn tell_replaced(&mut self) {
        tell!(
            self,
            info,
            event = "agent-replaced",
            "another agent listens at the socket's path; connecting to it"
        );
    }

    /// The agent's renewal has not come, whatever else it has said.
    pub(super) fn tell_overdue(&mut self) {
        if !self.has_identity() {
            debug!("the agent has sent no identity that is accepted; connecting anew");
        } else if std::mem::replace(&mut self.overdue, true) {
            debug!("{} still; connecting anew", Error::Overdue);
        } else {
            tell!(self, warn, event = "agent-overdue", "{}; connecting anew", Error::Overdue);
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
                "the agent's message is rejected; what is published stays"
            );
        }
        self.source.state.send_modify(|state| {
            state.connection = Connection::Streaming;
            state.rejections += 1;
            for (_, count) in state.rejections_by_reason.iter_mut().filter(|(of, _)| *of == kind) {
                *count += 1;
            }
            state.rejected = Some(Rejected { at: self.clocks.now(), reason });
        });
    }

    pub(super) fn withdraw(&mut self) {
        let withdrawn = match &self.source.state.borrow().identity {
            Identity::Current(material) => Some(Arc::clone(material)),
            _ => None,
        };
        let is_news = self.is_news("not registered");
        if let Some(material) = &withdrawn {
            tell!(
                self,
                warn,
                event = "identity-withdrawn",
                spiffe_id = ascii(&material.spiffe_id().to_string()),
                not_after = timing::utc(material.not_after()),
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
            state.connection = Connection::NotRegistered;
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
                "no connection to the agent; trying again"
            );
        } else {
            debug!(error = text, "still no connection to the agent");
        }
        self.source.state.send_modify(|state| {
            state.connection = Connection::Failed(Arc::new(error));
        });
    }

    /// The agent has served us before, and now calls the request wrong: it will not go away by itself.
    pub(super) fn refused(&mut self, error: Error, pause: Duration) {
        let text = error.to_string();
        if self.is_news(&text) {
            let next = format!(
                "what was published stays; asking again in {}",
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
            debug!(error = text, "the agent refuses the request still");
        }
        self.source.state.send_modify(|state| {
            state.connection = Connection::Failed(Arc::new(error));
        });
    }

    pub(super) fn connected(&mut self) {
        if !std::mem::take(&mut self.said).is_empty() {
            tell!(self, info, event = "agent-connected", endpoint = %self.source.settings.endpoint, "connected to the agent");
        }
        self.source.state.send_modify(|state| {
            state.connects += 1;
        });
    }

    /// Whether there may be another line; says so once when there is not.
    fn may_tell(&mut self) -> bool {
        let line = self.lines.take();
        if line == Line::FirstHidden {
            warn!(
                event = "agent-lines-limited",
                "the agent causes too many lines: one every {} from now on, the others at level debug",
                humantime::format_duration(limits::LINES.1)
            );
        }
        line == Line::Written
    }

    fn is_news(&mut self, text: &str) -> bool {
        let news = !self.said.iter().any(|said| said == text);
        if news {
            // An agent's texts may all differ.
            self.said.truncate(limits::SAID - 1);
            self.said.insert(0, text.to_owned());
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use tonic::Code;

    use super::*;
    use crate::material::Expectations;
    use crate::source::allowance::Allowance;
    use crate::source::supervise::agent::Address;
    use crate::source::{Endpoint, Selection, Settings, Source};
    use crate::timing::Clocks;
    use crate::watching::Watching;

    /// How many lines there are.
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
