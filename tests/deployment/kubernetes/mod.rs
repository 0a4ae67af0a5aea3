//! The manifests of k8s/: rendered by kustomize, validated against the schemas of Kubernetes, examined, and run as the pods
//! that they describe.

pub(crate) mod configuration;
pub(crate) mod container;
pub(crate) mod manifests;
pub(crate) mod pod;
pub(crate) mod pods;
mod pooled;
pub(crate) mod schemas;
mod security;

pub(crate) const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
