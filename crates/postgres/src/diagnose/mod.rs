//! Pure functions: from facts about files, settings and handshakes to causes and remedies, with one text for every command.

mod access;
mod common_names;
mod curves;
mod files;
mod local_lines;
mod login;
mod login_rules;
mod loopback;
mod map_file;
mod maps;
mod naming;
mod no_common_tls;
mod openssl;
mod order;
mod other_settings;
mod own_login;
mod passwords;
mod revocation;
mod session;
mod session_rights;
mod settings;
mod strangers;
mod superuser;
mod verdict;

pub use access::{AccessFacts, JudgedMapping, Misread, access, misread};
pub use common_names::named_superusers;
pub use files::refused_files;
pub use local_lines::local_logins;
pub use login::{line_by_certificate, more_connections, refused_login};
pub use login_rules::RefusedLogin;
pub use loopback::Guarded;
pub use map_file::MapFile;
pub use maps::{mapped_superusers, open_mappings};
pub use no_common_tls::{no_common_tls, without_clients, wrong_curve};
pub use order::{MOST_DECIDERS, compared, is_decided};
pub use other_settings::{AT_A_START, doubtful, refused, refused_settings};
pub use own_login::{deciding_line, is_limited, superuser_of_others};
pub use passwords::{Password, is_local_password};
pub use revocation::{refused_by_lists, revocation};
pub use session::{looked_around, session};
pub use session_rights::session_rights;
pub use settings::{concerns, unasked};
pub use strangers::{SHARED, strangers};
pub use superuser::{SocketUser, named, superuser_logins};
pub(crate) use verdict::served_until;
pub use verdict::{explain, never_read, of_client, outlived};

use pgsvid_base::finding::{Code, Finding};

/// A failure, and its remedy.
fn failure(code: Code, text: String, fix: String) -> Finding {
    Finding::failure(code, text).fix(fix)
}

/// A warning, and its remedy.
fn warning(code: Code, text: String, fix: String) -> Finding {
    Finding::warning(code, text).fix(fix)
}

#[cfg(test)]
mod parsed;
