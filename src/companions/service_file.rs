//! libpq's connection service file, which names one generation by absolute path.
//!
//! libpq opens certificate and key one after the other, so published names can mix during a swap. It reads the service file
//! once per connection, so a file that names its own generation cannot mix (measured on libpq 15 to 18).

use std::collections::BTreeMap;
use std::path::Path;

/// Longest line that libpq 14 to 18 reads, without its line end, in bytes.
pub const LONGEST_LINE: usize = 1021;

/// Longest name of a generation, in bytes: `..v`, a stamp, a dash and eight digits.
const LONGEST_GENERATION: usize = 48;

/// Keywords whose values are secrets.
const SECRETS: [&str; 5] =
    ["password", "sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret"];
/// Keywords that name the files; pgsvid sets them.
const OURS: [&str; 3] = ["sslcert", "sslkey", "sslrootcert"];

/// The section to render.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// File name, in the published directory.
    pub file: String,
    /// Section name, the value of `PGSERVICE`.
    pub name: String,
    /// File name of the private key, in the format that the section's readers need.
    pub private_key: String,
    /// libpq keywords and values. `sslmode` is always among them.
    pub options: BTreeMap<String, String>,
}

/// Names of the three files in a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The leaf and its intermediates.
    pub certificate: String,
    /// The private key.
    pub private_key: String,
    /// The authorities.
    pub bundle: String,
}

/// Why libpq could not read the section.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Invalid {
    /// Breaks the syntax `[name]`.
    #[error("the service name {0:?} is empty, or holds a line break or ]")]
    Name(String),
    /// libpq allows no blank, quote or comment in a keyword.
    #[error("{0:?} is not a libpq keyword")]
    Keyword(String),
    /// Values run to the end of the line.
    #[error(
        "the value of {0} holds a line break or begins or ends with a blank, which libpq cannot read"
    )]
    Value(String),
    /// pgsvid sets the names of files, for each generation.
    #[error("{0} is set by pgsvid for each generation; leave it out")]
    Reserved(String),
    /// A service cannot name a service.
    #[error("service and servicefile are not allowed in a service file")]
    Nested,
    /// libpq takes what stands before a colon in `sslkey` as the name of an OpenSSL engine, and loads the library of that name
    /// (PostgreSQL: `fe-secure-openssl.c`, `initialize_SSL`).
    #[error(
        "the path of the private key, {0}, has a colon: libpq would take what stands before it as the name of an OpenSSL engine, and load \
         the library of that name; choose a directory and a file name without a colon"
    )]
    Engine(String),
    /// Too long for libpq.
    #[error(
        "the line of {keyword} would have {length} bytes, more than the {LONGEST_LINE} that libpq reads"
    )]
    TooLong {
        /// The keyword.
        keyword: String,
        /// The line's length in bytes.
        length: usize,
    },
}

impl Settings {
    /// Checks the section against libpq's limits for generations below `directory` (the readers' path), and sets
    /// `sslmode=verify-full` unless a mode is given: without a mode, a missing file makes libpq connect unencrypted without
    /// saying so.
    pub fn new(
        file: String,
        name: String,
        mut options: BTreeMap<String, String>,
        names: &Names,
        directory: &Path,
    ) -> Result<Self, Invalid> {
        if name.is_empty() || name.contains([']', '\n', '\r', '\0']) {
            return Err(Invalid::Name(name));
        }
        for (keyword, value) in &options {
            if OURS.contains(&keyword.as_str()) {
                return Err(Invalid::Reserved(keyword.clone()));
            }
            if keyword == "service" || keyword == "servicefile" {
                return Err(Invalid::Nested);
            }
            if keyword.is_empty() || !keyword.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
                return Err(Invalid::Keyword(keyword.clone()));
            }
            if value.contains(['\n', '\r', '\0']) || value.trim() != value {
                return Err(Invalid::Value(keyword.clone()));
            }
        }
        refuse_engine(&directory.join(&names.private_key))?;
        options.entry("sslmode".to_owned()).or_insert_with(|| "verify-full".to_owned());
        let settings = Self { file, name, private_key: names.private_key.clone(), options };
        let longest = directory.join("v".repeat(LONGEST_GENERATION));
        for line in settings.render(names, &longest).split(|byte| *byte == b'\n') {
            if line.len() > LONGEST_LINE {
                let text = String::from_utf8_lossy(line);
                let keyword = text.split('=').next().unwrap_or_default().to_owned();
                return Err(Invalid::TooLong { keyword, length: line.len() });
            }
        }
        Ok(settings)
    }

    /// Whether an option is a secret, so that only those who may read the key may read the file.
    #[must_use]
    pub fn has_secret(&self) -> bool {
        SECRETS.iter().any(|secret| self.options.contains_key(*secret))
    }

    /// The file for the generation at `generation`, an absolute path for its readers.
    #[must_use]
    pub fn render(&self, names: &Names, generation: &Path) -> Vec<u8> {
        let file = |name: &str| generation.join(name).display().to_string();
        let mut text = format!(
            "# Written by pgsvid for each generation. Edit [files.service] in its configuration instead.\n[{}]\n",
            self.name
        );
        let files = [
            ("sslcert", file(&names.certificate)),
            ("sslkey", file(&self.private_key)),
            ("sslrootcert", file(&names.bundle)),
        ];
        let given = self.options.iter().map(|(keyword, value)| (keyword.as_str(), value.clone()));
        for (keyword, value) in given.chain(files) {
            // No blanks around `=`: libpq would include them in keyword and value.
            text.push_str(keyword);
            text.push('=');
            text.push_str(&value);
            text.push('\n');
        }
        text.into_bytes()
    }
}

/// Refuses the path of a private key that libpq would take for the name of an engine.
///
/// # Errors
/// [`Invalid::Engine`] for a path with a colon.
pub fn refuse_engine(key: &Path) -> Result<(), Invalid> {
    let path = key.display().to_string();
    if path.contains(':') { Err(Invalid::Engine(path)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names {
            certificate: "svid.pem".to_owned(),
            private_key: "svid_key.pem".to_owned(),
            bundle: "svid_bundle.pem".to_owned(),
        }
    }

    fn service(options: &[(&str, &str)]) -> Result<Settings, Invalid> {
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Settings::new(
            "pg_service.conf".into(),
            "products".into(),
            options,
            &names(),
            Path::new("/svids"),
        )
    }

    #[test]
    fn names_one_generation_and_always_says_sslmode() {
        let text = service(&[("host", "db"), ("user", "app")])
            .unwrap()
            .render(&names(), Path::new("/svids/..v1-a"));
        let text = String::from_utf8(text).unwrap();
        let section: Vec<_> = text.lines().skip(1).collect();
        assert_eq!(
            section,
            [
                "[products]",
                "host=db",
                "sslmode=verify-full",
                "user=app",
                "sslcert=/svids/..v1-a/svid.pem",
                "sslkey=/svids/..v1-a/svid_key.pem",
                "sslrootcert=/svids/..v1-a/svid_bundle.pem",
            ]
        );
    }

    #[test]
    fn b141_a_key_whose_path_libpq_takes_for_an_engine_is_refused() {
        let in_directory = |directory: &str| {
            let (file, name) = ("pg_service.conf".to_owned(), "products".to_owned());
            Settings::new(file, name, BTreeMap::new(), &names(), Path::new(directory))
        };
        assert!(in_directory("/tmp/pg").is_ok());
        let refused = in_directory("/tmp/pg:client").unwrap_err();
        assert_eq!(refused, Invalid::Engine("/tmp/pg:client/svid_key.pem".to_owned()));
    }

    #[test]
    fn a_configured_sslmode_stays() {
        let settings = service(&[("sslmode", "verify-ca")]).unwrap();
        assert_eq!(settings.options["sslmode"], "verify-ca");
    }

    #[test]
    fn what_libpq_cannot_read_is_refused() {
        for (keyword, value) in [
            ("host", "a\nb"),
            ("host", " a"),
            ("sslkey", "/etc/key"),
            ("service", "other"),
            ("ho st", "a"),
            ("", "a"),
            ("host", &"x".repeat(1017)),
        ] {
            assert!(service(&[(keyword, value)]).is_err(), "{keyword}={value} was taken");
        }
        assert!(service(&[("host", &"x".repeat(1016))]).is_ok());
    }
}
