//! Patroni for pgsvid: its REST API, and what its answers and a handshake mean.
//!
//! What Patroni does with its files was measured with 3.0.2 and 4.1.5, and is described in `docs/patroni.md`.

mod api;
mod explain;
mod marks;

pub use api::{Credentials, Error, loop_wait, may_change, reload, why_unanswered};
pub use explain::{authorities_pending, explain, judge, not_asked, outlived};
pub use marks::is_marked;
