//! How to start a server that does not start because the files of its TLS are missing or do not fit together.

use std::path::{Path, PathBuf};

use crate::sql;
use pgsvid_base::files;
use pgsvid_base::text::argument;

/// Where Debian's packages keep the configuration of clusters: a directory for each version, and one for each cluster in it.
const CLUSTERS: &str = "/etc/postgresql";
/// Largest `postgresql.conf` that is read, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// The command that starts a stopped server once without TLS, because its files may be missing.
#[must_use]
pub fn start_without_tls(server: &sql::Settings) -> String {
    match cluster(Path::new(CLUSTERS), server.port) {
        Some((version, name)) => format!(
            "sudo pg_ctlcluster {} {} start -o '-c ssl=off'",
            argument(version),
            argument(name)
        ),
        None => "pg_ctl -D \"$PGDATA\" -o '-c ssl=off' start".to_owned(),
    }
}

/// Version and name of the only cluster with this port.
fn cluster(clusters: &Path, port: u16) -> Option<(String, String)> {
    let entries = |directory: &Path| -> Vec<PathBuf> {
        let found = std::fs::read_dir(directory).into_iter().flatten();
        found.filter_map(|entry| Some(entry.ok()?.path())).collect()
    };
    let mut all = entries(clusters).into_iter().flat_map(|version| entries(&version));
    let mut of_port = all.by_ref().filter(|cluster| {
        let text = files::text(&cluster.join("postgresql.conf"), LARGEST).unwrap_or_default();
        text.lines().filter_map(port_of).next_back() == Some(port)
    });
    let found = of_port.next()?;
    if of_port.next().is_some() {
        return None;
    }
    let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
    Some((name(found.parent()?)?, name(&found)?))
}

fn port_of(line: &str) -> Option<u16> {
    let value = line.trim().strip_prefix("port")?.trim_start();
    let value = value.strip_prefix('=').unwrap_or(value);
    value.split('#').next()?.trim().trim_matches('\'').parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn n15_the_cluster_is_found_by_its_port_and_never_guessed() {
        let place = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("15/main", "#port = 1\nport = 5432\t# (change requires restart)\n"),
            ("15/other", "port = 5433\n"),
            ("16/main", "port=5433\n"),
        ] {
            let directory = place.path().join(name);
            std::fs::create_dir_all(&directory).unwrap();
            let mut file = std::fs::File::create(directory.join("postgresql.conf")).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }
        let found = cluster(place.path(), 5432);
        assert_eq!(found, Some(("15".to_owned(), "main".to_owned())));
        assert_eq!((cluster(place.path(), 5433), cluster(place.path(), 1)), (None, None));
    }
}
