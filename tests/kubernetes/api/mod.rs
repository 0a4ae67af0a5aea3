//! What the API server alone decides.

pub(crate) mod injection;
mod refusals;
