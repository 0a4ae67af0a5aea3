//! Pure: from facts about files, settings and handshakes to causes and remedies. One text for every command.

mod access;
mod files;
mod login;
mod maps;
mod order;
mod passwords;
mod settings;
mod superuser;
mod verdict;

pub use access::{AccessFacts, JudgedMapping, Misread, SHARED, access, misread, strangers};
pub use files::{refused, revocation};
pub use login::{Login, refused_login};
pub use maps::{mapped_superusers, open_mappings};
pub use order::{MOST_DECIDERS, compared, is_decided};
pub use passwords::Password;
pub use settings::concerns;
pub use superuser::{SocketUser, named, superuser_logins};
pub use verdict::{explain, outlived};

/// One cause, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong: names the object.
    pub cause: String,
    /// The command, SQL or line that fixes it.
    pub fix: String,
}

/// Something that lets the wrong clients in, or keeps the right ones out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concern {
    /// Whether it has to be fixed; otherwise it is worth a thought.
    pub severe: bool,
    /// What it is.
    pub finding: Finding,
}

impl Concern {
    fn failure(cause: String, fix: String) -> Self {
        Self { severe: true, finding: Finding { cause, fix } }
    }

    fn warning(cause: String, fix: String) -> Self {
        Self { severe: false, finding: Finding { cause, fix } }
    }
}
