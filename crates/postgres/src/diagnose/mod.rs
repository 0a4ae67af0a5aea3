//! Pure: from facts about files, settings and handshakes to causes and remedies. One text for every command.

mod access;
mod common_names;
mod files;
mod login;
mod maps;
mod openssl;
mod order;
mod other_settings;
mod passwords;
mod revocation;
mod session;
mod settings;
mod superuser;
mod verdict;

pub use access::{AccessFacts, JudgedMapping, Misread, SHARED, access, misread, strangers};
pub use common_names::named_superusers;
pub use files::refused_files;
pub use login::{Login, refused_login};
pub use maps::{mapped_superusers, open_mappings};
pub use order::{MOST_DECIDERS, compared, is_decided};
pub use other_settings::{AT_A_START, doubtful, refused, refused_settings};
pub use passwords::Password;
pub use revocation::revocation;
pub use session::session;
pub use settings::concerns;
pub use superuser::{SocketUser, named, superuser_logins};
pub use verdict::{explain, outlived};

use pgsvid_base::finding::{Code, Finding};

/// What does not work, and what to do about it.
fn failure(code: Code, text: String, fix: String) -> Finding {
    Finding::failure(code, text).fix(fix)
}

/// What works and will hurt somebody, and what to do about it.
fn warning(code: Code, text: String, fix: String) -> Finding {
    Finding::warning(code, text).fix(fix)
}
