//! Certificates from files that somebody else writes: what is taken, when, and what is said of the rest.

mod broken;
mod in_place;
mod place;
mod pooled;
mod told;
mod written;
