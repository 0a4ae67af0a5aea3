//! PgBouncer for pgsvid: its admin console, the files that its settings name, and what these and a handshake mean.
//!
//! What PgBouncer does with its files was measured with 1.18 and 1.25, and is described in `docs/pgbouncer.md`.

mod admission;
mod console;
mod databases;
mod explain;
mod hba;
mod ini;
mod server_side;
mod settings;
mod users;

pub use admission::admission;
pub use console::{Console, Error};
pub use databases::{Backend, ForcedRole};
pub use explain::{
    Supply, alone_on_a_port, concerns, explain, judge, may_only_look, outlived, pasted, session,
    unusable_in_place,
};
pub use hba::{Rules, rules};
pub use ini::{
    BesidePart, DecidingFiles, Included, Unread, backends, deciding_files, forced_roles, included,
};
pub use server_side::{Login, ServerSide};
pub use settings::{ClientTls, Settings, TlsFile, TlsFiles, tls_files};
pub use users::users;

/// PgBouncer's admin console is a database of this name. Over the Unix socket it admits the user of the same name without a
/// password, if pgsvid runs as PgBouncer's own user (PgBouncer: `admin_pre_login`).
pub const CONSOLE: &str = "pgbouncer";
