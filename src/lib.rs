//! pgsvid keeps PostgreSQL's TLS certificates fresh from the SPIFFE Workload API, and proves that they are served.
//!
//! `ARCHITECTURE.md` shows the rooms and which may know which.

pub mod cli;
pub mod companions;
pub mod config;
pub mod consumers;
pub mod daemon;
pub mod diagnose;
pub mod doctor;
pub mod files;
pub mod http;
pub mod material;
pub mod postgres;
pub mod publish;
pub mod rotation;
pub mod sandbox;
pub mod setup;
pub mod source;
pub mod status;
pub mod survey;
pub mod telemetry;
pub mod text;
pub mod timing;
pub mod users;
pub mod verify;
pub mod watching;
