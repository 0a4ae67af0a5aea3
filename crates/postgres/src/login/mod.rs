//! A login over TLS, as libpq does it for a client with a certificate: the checks of `sslmode` on the server, the published
//! leaf as the client's, and the start-up message. No password is sent, and no query is run, except by [`first_row`].

mod attempt;
mod direct;
mod distrust;
mod host_name;
mod query;
mod start_up;

pub use attempt::{Login, Negotiation, Outcome, Verify, Versions, attempt, over};
pub use distrust::Distrust;
pub use host_name::{matches, names};
pub use query::{Row, first_row};
pub use start_up::{Refusal, Session};
