//! Why a file has no new token, or no new keys.

use crate::finding::{Code, Finding};
use crate::publish;
use crate::source;

use super::claims::Rejection;

/// Why there is nothing new.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The agent gives none.
    #[error(transparent)]
    Agent(#[from] source::Error),
    /// What it gives is not used.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The keys that it gives are not used: the text follows "the JWT bundle ".
    #[error("the JWT bundle {0}")]
    Keys(String),
    /// The file cannot be written.
    #[error(transparent)]
    File(#[from] publish::Error),
    /// The file holds something else.
    #[error("the file there holds something else, and is not replaced")]
    Foreign,
    /// The thread that writes has ended.
    #[error("the thread that writes files has ended abnormally")]
    Thread,
}

impl Failure {
    /// Whether asking again soon would change nothing.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::Agent(error) if error.is_permanent())
    }

    /// Fails if this process can never write the file, but the next one may.
    pub(super) fn into_end(self) -> Result<(), publish::Error> {
        match self {
            Self::File(error) if error.needs_restart() => Err(error),
            _ => Ok(()),
        }
    }

    /// The code of the finding.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Agent(error) if error.is_unsupported() => Code::JwtUnsupported,
            Self::Agent(_) => Code::JwtToken,
            Self::Rejected(_) => Code::JwtRejected,
            Self::Keys(_) => Code::JwtBundle,
            Self::File(_) | Self::Foreign | Self::Thread => Code::JwtFile,
        }
    }

    /// What to do.
    #[must_use]
    pub fn fix(&self) -> String {
        match self {
            Self::Agent(error) if error.is_unsupported() => {
                "use an agent that has JWT-SVIDs, such as SPIRE's, or remove [[jwt]] and [jwt_bundle] from the configuration"
                    .to_owned()
            }
            Self::Agent(error) => error.remedy().unwrap_or("see the agent's log").to_owned(),
            Self::Rejected(Rejection::Missing { hint: Some(_) }) => {
                "fix svid.hint (--hint), or the entry's -hint".to_owned()
            }
            Self::Rejected(Rejection::Expired(_) | Rejection::NotYetValid(_)) => {
                "set the clocks of this machine and of SPIRE's server to the same time".to_owned()
            }
            Self::Rejected(Rejection::Signature(_)) => {
                "see the agent's log: the token and the JWT bundle that it gives do not belong together".to_owned()
            }
            Self::Rejected(_) | Self::Keys(_) => {
                "check the agent's version and its log: what it gives breaks a rule of JWT-SVID".to_owned()
            }
            Self::File(error) => {
                error.fix().unwrap_or_else(|| "see the error: it names the file".to_owned())
            }
            Self::Foreign => {
                "give jwt.file or jwt_bundle.file another name, or move the file away".to_owned()
            }
            Self::Thread => "restart pgsvid".to_owned(),
        }
    }

    /// The finding about a file.
    #[must_use]
    pub fn finding(&self, file: &str, what: &str) -> Finding {
        self.about(file, format!("no new {what} is in {file}: {self}"))
    }

    /// The finding about a file that is not as pgsvid wrote it, and cannot be written again.
    pub(super) fn not_restored(&self, file: &str) -> Finding {
        let text = format!("{file} is missing or was changed, and cannot be written again: {self}");
        self.about(file, text)
    }

    fn about(&self, file: &str, text: String) -> Finding {
        let command = match self {
            Self::File(error) => error.command(),
            _ => None,
        };
        Finding::failure(self.code(), text)
            .about(file)
            .cause(self.to_string())
            .fix(self.fix())
            .command_if_any(command)
    }
}
