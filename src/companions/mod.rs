//! Files that depend on the published generation: pure renderers, from settings and a path to bytes, and pure readers. And
//! how libpq uses the values in them.

pub mod conninfo;
pub mod hosts;
pub mod parameters;
pub mod patroni_yaml;
pub mod pgbouncer_ini;
pub mod role_map;
pub mod service_file;
pub mod service_reader;
