//! From paths to what their files hold.

use std::io;
use std::path::{Path, PathBuf};

use super::{File, Problem, Request};
use crate::files;
use crate::material::reading;

/// Most files of one directory that are looked at.
const MOST_FILES: usize = 256;

/// Every file, in the order in which they were named; those of a directory by name.
pub(super) fn files(request: &Request) -> Vec<File> {
    let mut files = Vec::new();
    for path in &request.paths {
        // Follows links: the published names are links.
        if path.is_dir() {
            files.extend(directory(path));
        } else {
            files.push(file(path.clone(), true));
        }
    }
    if let Some(bundle) = &request.bundle {
        files.retain(|file| file.path != *bundle);
        files.push(File { bundle: true, ..file(bundle.clone(), true) });
    }
    files
}

fn file(path: PathBuf, named: bool) -> File {
    let items = match files::contents(&path) {
        Ok(bytes) => {
            reading::read(&bytes).into_iter().map(|item| item.map_err(Problem::Content)).collect()
        }
        Err(error) => vec![Err(Problem::File(in_words(&error)))],
    };
    File { path, named, bundle: false, items }
}

/// The regular files of a directory itself, hidden ones left out: `..data` and what it leads to are the same files again.
fn directory(path: &Path) -> Vec<File> {
    let problem = |why: String| {
        let items = vec![Err(Problem::File(why))];
        vec![File { path: path.to_owned(), named: true, bundle: false, items }]
    };
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => return problem(in_words(&error)),
    };
    let mut found: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
        .map(|entry| entry.path())
        .filter(|path| !path.is_dir())
        .take(MOST_FILES + 1)
        .collect();
    found.sort_unstable();
    if found.is_empty() {
        return problem("the directory holds no files".to_owned());
    }
    if found.len() > MOST_FILES {
        return problem(format!("the directory holds more than {MOST_FILES} files; name the ones"));
    }
    found.into_iter().map(|path| file(path, false)).collect()
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "it cannot be read: permission denied".to_owned(),
        // Our own words.
        io::ErrorKind::Other => error.to_string(),
        _ => format!("it cannot be read: {error}"),
    }
}
