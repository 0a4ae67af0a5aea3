//! Tests that run one after the other: they stop what all pods need, or keep the node busy.

mod cloudnative_pg;
mod outages;
