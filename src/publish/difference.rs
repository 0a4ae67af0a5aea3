//! Which published file has changed since it was written, for people.

use std::path::PathBuf;

use super::{Publisher, links};

/// The first difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The path.
    pub path: PathBuf,
    /// The change: `it is gone`, `its mode is 0644, and was 0600`.
    pub what: String,
}

impl Publisher {
    /// What of the published set differs from the state in which it was left; `None` if nothing does, or nothing was
    /// published.
    #[must_use]
    pub fn difference(&self) -> Option<Difference> {
        let current = self.current.as_ref()?;
        let directory = &self.settings.directory;
        let found = |path: PathBuf, what: &str| Some(Difference { path, what: what.to_owned() });
        match self.directory.is_in_place() {
            Ok(true) => {}
            Ok(false) => {
                return found(
                    directory.clone(),
                    "another directory is in its place, or it is judged otherwise",
                );
            }
            Err(error) => return found(directory.clone(), &error.to_string()),
        }
        let link = directory.join(links::CURRENT);
        match links::current(&self.directory) {
            Ok(Some(name)) if name == current.name() => {}
            Ok(Some(name)) => return found(link, &format!("it leads to {name}")),
            Ok(None) => return found(link, "it is gone"),
            Err(error) => return found(link, &error.to_string()),
        }
        if let Some(name) = links::incomplete(&self.directory, &self.names()).first() {
            return found(directory.join(name), "it is gone, or no link through ..data");
        }
        if let Some((name, what)) = current.difference(&self.directory) {
            return found(link.join(name), &what);
        }
        let path = self.disturbance()?;
        found(directory.join(path), "it was renamed, or exchanged, for a moment at least")
    }
}
