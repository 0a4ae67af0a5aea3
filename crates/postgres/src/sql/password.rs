//! A password in a file.

use std::io;
use std::path::Path;

use zeroize::Zeroizing;

use pgsvid_base::files;

/// Longest password file that is read, in bytes.
const LONGEST_PASSWORD: u64 = 4096;

/// The file's text, without line ends.
pub(crate) async fn read_password(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let named = path.to_owned();
    // Read in a thread of its own, because the file may be on a slow file system.
    let read = tokio::task::spawn_blocking(move || files::read(&named, LONGEST_PASSWORD));
    let mut password = read.await.map_err(io::Error::other)??;
    while matches!(password.last(), Some(b'\n' | b'\r')) {
        password.pop();
    }
    Ok(password)
}
