//! JWT-SVIDs and the JWT bundle, each in a file outside of the generations: renewed at half of its life, checked before it is
//! written, replaced in one step. No consumer is reloaded.
//!
//! [`Tokens::run`] never ends because of the agent: one without JWT-SVIDs is reported once, and asked again slowly. The X.509
//! part does not depend on it.

mod claims;
mod due;
mod entry;
mod failure;
mod feed;
mod keyring;
mod keys;
mod last_failure;
mod obtain;
mod once;
mod output;
mod prove;
mod repair;
mod report;
mod run;
mod settings;

pub use claims::{Claims, Rejection};
pub use failure::Failure;
pub use feed::Bundles;
pub use keys::{Keys, Proof};
pub use obtain::{Obtained, bundles, obtain};
pub use once::{Kept, Writer, once};
pub use report::LEFT_OUT_FIX;
pub use run::Tokens;
pub use settings::{Bundle, Format, Settings, SharedDirectory, Token};
