//! Codes of what other rooms say in their own errors.

use super::finding::Code;
use crate::material::Rejection;
use crate::publish;
use crate::source::{self, Discarded};

/// Of what is wrong with the published directory.
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
        _ => Code::DirectoryUnusable,
    }
}

/// Of why there is no answer from the agent.
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

/// Of why a message gives no SVID.
pub(super) fn discarded(discarded: &Discarded) -> Code {
    match discarded {
        Discarded::NoSvid | Discarded::NoMatch { .. } => Code::SvidChoice,
        Discarded::Unreadable(_) => Code::AgentMessageUnreadable,
        Discarded::TooLarge { .. } => Code::BundleTooLarge,
        Discarded::Rejected(why) => rejection(why),
    }
}

/// Of why an SVID is refused.
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
        Rejection::TooManyNames { .. } => Code::BundleTooLarge,
        _ => Code::SvidMalformed,
    }
}
