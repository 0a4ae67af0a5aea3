//! Files that follow the published generation: pure renderers, from settings and a path to bytes, and pure readers.

pub mod role_map;
pub mod service_file;
pub mod service_reader;
