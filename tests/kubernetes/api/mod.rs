//! What the API server alone decides.

mod chart;
mod injection;
mod publisher;
mod refusals;
mod secrets;
