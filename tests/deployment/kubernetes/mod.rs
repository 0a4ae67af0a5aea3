//! The manifests of k8s/: rendered by kustomize, validated against the schemas of Kubernetes, examined, and run as the pods
//! that they describe.

pub(crate) mod configuration;
mod container;
pub(crate) mod manifests;
mod pod;
mod pods;
mod pooled;
pub(crate) mod schemas;
mod security;

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
