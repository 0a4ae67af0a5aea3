//! Files that others own or name: directories are opened once and without following links; contents are read up to a limit,
//! without waiting.
//!
//! A path can lead elsewhere each time it is resolved. So everything is written through a [`Directory`], whose descriptor
//! never changes.

mod attributes;
mod directory;
mod reading;
mod resolved_path;
mod steps;

pub use attributes::{ACCESS_LIST, Attributes, DEFAULT_LIST, lists_names};
pub use directory::Directory;
pub use reading::{beginning, contents, last_lines, read, text, text_and_status};
pub use resolved_path::{Link, ResolvedPath, resolve_path};
pub use steps::{components, look, root, step};
