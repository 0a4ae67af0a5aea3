//! What the API server alone decides.

mod injection;
mod publisher;
mod refusals;
mod secrets;
