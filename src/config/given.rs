//! A value and its origin, so that an error can name the place to fix.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::keys::Key;
use super::{Environment, Error};
use crate::text::argument;

/// The values from the command line. Each is text, and is parsed where its origin is known.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "each field is the flag of its name")]
pub struct Flags {
    pub config: Option<PathBuf>,
    pub helper_config: Option<PathBuf>,
    /// Whether the environment is that of an application with libpq: what `[client]` tries depends on it.
    pub is_libpqs: bool,
    pub endpoint: Option<String>,
    pub directory: Option<String>,
    pub group: Option<String>,
    pub spiffe_id: Option<String>,
    pub hint: Option<String>,
    pub dns_names: Option<String>,
    pub name: Option<String>,
    pub postgres: Option<String>,
    pub port: Option<String>,
    pub user: Option<String>,
    pub database: Option<String>,
    pub verify: Option<String>,
    pub log_format: Option<String>,
    pub log_level: Option<String>,
}

impl Flags {
    /// The flags of `pgsvid run` as they are typed, with a blank before each.
    #[must_use]
    pub fn command_line(&self) -> String {
        // Every field is named, so that the compiler reports a forgotten one.
        let Self {
            config,
            helper_config,
            is_libpqs: _,
            endpoint,
            spiffe_id,
            hint,
            dns_names,
            directory,
            group,
            name,
            postgres,
            port,
            user,
            database,
            verify,
            log_format,
            log_level,
        } = self;
        let shown = |path: &PathBuf| path.display().to_string();
        let (config, helper) = (config.as_ref().map(shown), helper_config.as_ref().map(shown));
        [
            ("--config", &config),
            ("--helper-config", &helper),
            ("--endpoint", endpoint),
            ("--spiffe-id", spiffe_id),
            ("--hint", hint),
            ("--dns-names", dns_names),
            ("--directory", directory),
            ("--group", group),
            ("--name", name),
            ("--postgres", postgres),
            ("--port", port),
            ("--user", user),
            ("--database", database),
            ("--verify", verify),
            ("--log-format", log_format),
            ("--log-level", log_level),
        ]
        .into_iter()
        .filter_map(|(flag, value)| Some(format!(" {flag} {}", argument(value.as_ref()?))))
        .collect()
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// A flag.
    Flag(&'static str),
    /// A variable of the environment.
    Variable(&'static str),
    /// A key of the file.
    File {
        /// The file.
        path: PathBuf,
        /// The key, with its table.
        key: &'static str,
    },
    /// No value was given.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Variable(name) => f.write_str(name),
            Self::File { path, key } => write!(f, "{}: {key}", path.display()),
            Self::Default => f.write_str("the default"),
        }
    }
}

/// A value and its origin.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) text: String,
    pub(super) origin: Origin,
}

impl Given {
    /// The default of a key whose default is one value.
    pub(super) fn default_of(key: &Key) -> Self {
        Self { text: key.default_text().to_owned(), origin: Origin::Default }
    }

    pub(super) fn parse<T>(&self) -> Result<T, Error>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        self.parse_with(|text| text.parse::<T>().map_err(|error| error.to_string()))
    }

    pub(super) fn parse_with<T>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, Error> {
        parse(&self.text).map_err(|why| Error::given(&self.origin, &self.text, why))
    }
}

/// Looks values up in the order of precedence.
pub(super) struct Resolver<'a> {
    pub(super) file: Option<&'a Path>,
    pub(super) environment: &'a Environment,
}

impl<'a> Resolver<'a> {
    pub(super) fn value(
        &'a self,
        key: &'static Key,
        flag: Option<&'a str>,
        file: Option<&'a str>,
    ) -> Lookup<'a> {
        Lookup { resolver: self, key, given: flag, in_file: file }
    }

    /// An error about a key of the file.
    pub(super) fn in_file(&self, key: &'static str, why: impl fmt::Display) -> Error {
        Error::value(&self.origin(key), why)
    }

    fn origin(&self, key: &'static str) -> Origin {
        match self.file {
            Some(path) => Origin::File { path: path.to_owned(), key },
            None => Origin::Default,
        }
    }

    fn variable(&self, name: &'static str) -> Result<Option<Given>, Error> {
        let Some(value) = self.environment.get(name) else {
            return Ok(None);
        };
        let origin = Origin::Variable(name);
        let Some(text) = value.to_str() else {
            return Err(Error::value(&origin, "it is not UTF-8; set it to a valid value"));
        };
        if text.is_empty() {
            return Err(Error::value(
                &origin,
                "it is set, but empty; unset it, or give it a value",
            ));
        }
        Ok(Some(Given { text: text.to_owned(), origin }))
    }
}

/// Looks up the value of one key.
pub(super) struct Lookup<'a> {
    resolver: &'a Resolver<'a>,
    key: &'static Key,
    given: Option<&'a str>,
    in_file: Option<&'a str>,
}

impl Lookup<'_> {
    /// The value from the first place that gives one.
    pub(super) fn resolve(&self) -> Result<Option<Given>, Error> {
        match (self.own()?, self.key.foreign) {
            (None, Some(name)) => self.resolver.variable(name),
            (given, _) => Ok(given),
        }
    }

    /// The value from the first place that gives one; other programs' variables are left out.
    pub(super) fn own(&self) -> Result<Option<Given>, Error> {
        let found = self.find()?;
        if let Some(given) = &found
            && given.text.is_empty()
        {
            return Err(Error::value(&given.origin, "it is empty"));
        }
        Ok(found)
    }

    /// The value from the first place that gives one, otherwise the default.
    pub(super) fn or_default(&self) -> Result<Given, Error> {
        Ok(self.resolve()?.unwrap_or_else(|| Given::default_of(self.key)))
    }

    fn find(&self) -> Result<Option<Given>, Error> {
        if let Some(text) = self.given {
            let origin = Origin::Flag(self.key.flag.unwrap_or_default());
            return Ok(Some(Given { text: text.to_owned(), origin }));
        }
        if let Some(name) = self.key.variable
            && let Some(given) = self.resolver.variable(name)?
        {
            return Ok(Some(given));
        }
        let in_file = self.in_file.map(|text| Given {
            text: text.to_owned(),
            origin: self.resolver.origin(self.key.name),
        });
        Ok(in_file)
    }
}
