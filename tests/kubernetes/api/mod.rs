//! What the API server alone decides.

mod injection;
mod refusals;
