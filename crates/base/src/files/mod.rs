//! Files that others own or name: directories are opened once and without following links, contents are read without
//! waiting and up to a limit.
//!
//! A path can lead somewhere else each time that it is walked. So what is written goes through a [`Directory`], whose
//! descriptor stays what it is.

mod attributes;
mod directory;
mod reading;

pub use attributes::Attributes;
pub use directory::Directory;
pub use reading::{contents, end, read, text, text_and_owner};
