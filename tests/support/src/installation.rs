//! Where PostgreSQL's programs are.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// An installed PostgreSQL.
#[derive(Debug)]
pub struct Installation {
    directory: PathBuf,
    version: u32,
}

impl Installation {
    /// The one to test with: `PGSVID_PG_BIN`, otherwise the newest below /usr/lib/postgresql, otherwise the one that
    /// `pg_config` names.
    pub fn found() -> &'static Self {
        static FOUND: OnceLock<Installation> = OnceLock::new();
        FOUND.get_or_init(|| {
            let directory = env::var_os("PGSVID_PG_BIN")
                .map(PathBuf::from)
                .or_else(newest_of_debian)
                .or_else(from_pg_config)
                .expect(
                    "no PostgreSQL server is installed: scripts/test installs one, \
                     or set PGSVID_PG_BIN to the directory of initdb and postgres",
                );
            for program in ["initdb", "postgres", "psql"] {
                assert!(
                    directory.join(program).exists(),
                    "{} has no {program}: scripts/test installs what the tests need",
                    directory.display()
                );
            }
            let version = version(&directory.join("postgres"));
            Self { directory, version }
        })
    }

    /// The path of one of its programs: the program itself, not Debian's wrapper.
    pub fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The major version, such as 15.
    pub fn version(&self) -> u32 {
        self.version
    }
}

fn newest_of_debian() -> Option<PathBuf> {
    fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version: u32 = path.file_name()?.to_str()?.parse().ok()?;
            let directory = path.join("bin");
            // A client package alone also creates the directory.
            directory.join("initdb").exists().then_some((version, directory))
        })
        .max()
        .map(|(_, directory)| directory)
}

fn from_pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let directory = PathBuf::from(str::from_utf8(&output.stdout).ok()?.trim());
    directory.join("initdb").exists().then_some(directory)
}

fn version(postgres: &Path) -> u32 {
    let output = Command::new(postgres).arg("--version").output().expect("runs postgres");
    let text = String::from_utf8_lossy(&output.stdout);
    major(&text).unwrap_or_else(|| panic!("cannot read the version in {text:?}"))
}

/// `postgres (PostgreSQL) 15.18 (Debian …)` and `postgres (PostgreSQL) 19beta1`.
fn major(text: &str) -> Option<u32> {
    let version = text.split(' ').nth(2)?;
    let end = version.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(version.len());
    version[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn major_versions() {
        assert_eq!(major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 19beta1\n"), Some(19));
        assert_eq!(major("postgres"), None);
    }
}
