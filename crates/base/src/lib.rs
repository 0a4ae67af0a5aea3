//! What every crate of pgsvid builds on, and what knows nothing of certificates or of PostgreSQL.

pub mod files;
pub mod finding;
pub mod text;
pub mod threads;
pub mod timing;
pub mod users;
