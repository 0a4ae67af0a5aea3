//! Pods on a node, with a real SPIRE.

mod examples;
mod failures;
mod jobs;
mod namespace;
mod processes;
mod spire_away;
mod upgrades;

use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Held by every test that needs SPIRE and the CSI driver; exclusively by those that stop one of them.
static SPIRE: RwLock<()> = RwLock::new(());

fn with_spire() -> RwLockReadGuard<'static, ()> {
    SPIRE.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn alone_with_spire() -> RwLockWriteGuard<'static, ()> {
    SPIRE.write().unwrap_or_else(std::sync::PoisonError::into_inner)
}
