//! The manifests of k8s/: rendered by kustomize, validated against the schemas of Kubernetes, examined, and run as the pods
//! that they describe.

mod configuration;
mod container;
mod manifests;
mod pod;
mod pods;
mod pooled;
mod schemas;
mod security;

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
