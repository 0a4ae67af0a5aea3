//! The codes for errors of other rooms.

use super::finding::Code;
use crate::material::Rejection;
use crate::publish;
use crate::source;
use crate::source::workload_api::Discarded;

/// The code for an error of the published directory.
pub(super) fn directory(error: &publish::Error) -> Code {
    use publish::Error;
    match error {
        Error::Open { .. } => Code::DirectoryMissing,
        Error::WritableByOthers { .. } => Code::DirectoryShared,
        Error::WrongOwner { .. } => Code::DirectoryOwner,
        Error::ForeignAncestor { .. } | Error::WritableAncestor { .. } => {
            Code::DirectoryReplaceable
        }
        Error::DefaultAcl { .. } => Code::DirectoryAcl,
        Error::NotOurs(_) => Code::DirectoryForeignFile,
        Error::InTheWay { .. } => Code::DirectoryObstacle,
        Error::Password { .. } => Code::StorePasswordUnusable,
        _ => Code::DirectoryUnusable,
    }
}

/// The code for a failed request to the agent: it cannot be reached, does not answer, or answers with an error.
pub(super) fn agent(error: &source::Error) -> Code {
    use source::Error;
    match error {
        _ if error.is_not_registered() => Code::AgentNotRegistered,
        Error::NoSocket(_) | Error::Refused(_) => Code::AgentNotListening,
        Error::NotASocket(_) => Code::AgentSocketWrong,
        Error::Forbidden(..) => Code::AgentSocketForbidden,
        Error::NotGrpc(_) | Error::Garbled(..) => Code::AgentNotGrpc,
        Error::Silent(_) => Code::AgentSilent,
        Error::Answered { .. } => Code::AgentRefuses,
        _ => Code::AgentConnectionFailed,
    }
}

/// The code for a message without a usable SVID.
pub(super) fn discarded(discarded: &Discarded) -> Code {
    match discarded {
        Discarded::NoSvid | Discarded::NoMatch { .. } => Code::SvidChoice,
        Discarded::Unreadable(_) => Code::AgentMessageUnreadable,
        Discarded::TooLarge { .. } => Code::BundleTooLarge,
        Discarded::Rejected(why) => rejection(why),
    }
}

/// The code for a refused SVID.
pub(super) fn rejection(rejection: &Rejection) -> Code {
    match rejection {
        Rejection::Expired(_) => Code::SvidExpired,
        Rejection::NotYetValid(_) => Code::SvidNotYetValid,
        Rejection::UnexpectedIdentity { .. } | Rejection::UnexpectedTrustDomain { .. } => {
            Code::SvidIdentityUnexpected
        }
        Rejection::UriNames(_) | Rejection::Identity(_) | Rejection::OtherIdentity { .. } => {
            Code::SvidIdentityInvalid
        }
        Rejection::Key(_) => Code::SvidKeyUnsupported,
        Rejection::KeyMismatch => Code::SvidKeyMismatch,
        Rejection::NoRoot(_) | Rejection::Unsigned(_) => Code::SvidNotSigned,
        Rejection::TooManyNames { .. } | Rejection::ChainTooLarge { .. } => Code::BundleTooLarge,
        _ => Code::SvidMalformed,
    }
}
