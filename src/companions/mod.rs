//! Files that follow the published generation: pure renderers, from settings and a path to bytes.

pub mod service_file;
