//! What the API server alone decides.

mod chart;
pub(crate) mod injection;
mod installed;
mod operators;
mod publisher;
mod refusals;
mod secrets;
