//! Reads the files for a list of paths.

use std::io;
use std::path::{Path, PathBuf};

use super::{File, Problem, Request};
use crate::files;
use crate::material::pkcs12::Password;
use crate::material::reading;

/// Most files that a directory may hold, without hidden ones: of a larger directory no file is read.
const MOST_FILES: usize = 256;
/// Most bytes of all files together: their contents are kept until all is judged.
const MOST_BYTES: u64 = 32 * 1024 * 1024;

/// All files in the given order; those of a directory by name.
pub(super) fn files(request: &Request) -> Vec<File> {
    let mut files = Vec::new();
    let mut room = MOST_BYTES;
    let password = request.password.as_ref();
    // The bundle is read first, so that it has room in any case: the other files are judged by it.
    let bundle = request.bundle.clone().map(|path| file(path, true, password, &mut room));
    for path in &request.paths {
        // Follows links, because the published names are links.
        if path.is_dir() {
            files.extend(directory(path, password, &mut room));
        } else {
            files.push(file(path.clone(), true, password, &mut room));
        }
    }
    if let Some(bundle) = bundle {
        files.retain(|file| file.path != bundle.path);
        files.push(File { bundle: true, ..bundle });
    }
    files
}

/// Reads a file if there is room for it, and uses that room.
fn file(path: PathBuf, named: bool, password: Option<&Password>, room: &mut u64) -> File {
    let regular = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file);
    let size = regular.map_or(0, |found| found.len());
    // A file that is too large by itself gets its own message.
    let read = if (*room + 1..=MOST_BYTES).contains(&size) {
        Err(io::Error::other(format!(
            "it is not read, because all files together would be larger than {} MiB; name fewer files",
            MOST_BYTES >> 20
        )))
    } else {
        files::contents(&path)
    };
    let items = match read {
        Ok(bytes) => {
            *room = room.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            reading::read_stores(&bytes, password)
                .into_iter()
                .map(|item| item.map_err(Problem::Content))
                .collect()
        }
        Err(error) => vec![Err(Problem::File(in_words(&error)))],
    };
    File { path, named, bundle: false, items }
}

/// The regular files directly in a directory, without hidden ones: `..data` leads to the same files again.
fn directory(path: &Path, password: Option<&Password>, room: &mut u64) -> Vec<File> {
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
        return problem(format!(
            "the directory holds more than {MOST_FILES} files; name the ones to inspect"
        ));
    }
    found.into_iter().map(|path| file(path, false, password, room)).collect()
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "it cannot be read: permission denied".to_owned(),
        // The error's own message.
        io::ErrorKind::Other => error.to_string(),
        _ => format!("it cannot be read: {error}"),
    }
}
