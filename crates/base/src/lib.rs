//! What the other crates of pgsvid share. It imports none of them, parses no certificate and speaks no protocol of
//! PostgreSQL.

pub mod entries;
pub mod files;
pub mod finding;
pub mod key_mode;
pub mod text;
pub mod threads;
pub mod timing;
pub mod users;
