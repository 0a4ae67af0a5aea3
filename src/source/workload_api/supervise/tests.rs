//! The loop under paused time, with channels as the agent.

mod connections;
mod fake;
mod identities;
mod random;
mod renewals;
mod replaced;
