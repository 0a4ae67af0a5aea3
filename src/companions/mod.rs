//! Files that follow the published generation: pure renderers, from settings and a path to bytes, and pure readers. And what
//! libpq makes of the values in them.

pub mod parameters;
pub mod places;
pub mod role_map;
pub mod service_file;
pub mod service_reader;
