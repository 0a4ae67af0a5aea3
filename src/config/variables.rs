//! The environment variables with which a driver finds the published files (measured and read: docs/clients.md).

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::Config;
use crate::companions::service_file;
use crate::publish::Content;

/// Who reads the variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// libpq and lib/pq: a service file and a section of it.
    Libpq,
    /// pgjdbc: a service file. The URL names the section.
    Jdbc,
    /// Npgsql: the stable names. pgx, sqlx and asyncpg read the same variables.
    Npgsql,
    /// An application that needs none.
    Other,
}

/// A variable, and its value; `None` if the application is not to inherit it.
type Variable = (String, Option<OsString>);

/// Why there are no variables for a driver.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoVariables {
    /// No service file is configured.
    #[error(
        "there is no service file to name: add a [files.service] table to the configuration, or use --env npgsql for the stable names, or --env none"
    )]
    NoService,
    /// None has the wanted name.
    #[error("no [files.service] has the name {name:?}; there is {known}")]
    NoSuchService {
        /// The wanted name.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// None has a key that the driver reads.
    #[error(
        "{driver} cannot read the key of the service file {file}: add a [files.service] with {remedy}"
    )]
    OtherKey {
        /// The driver.
        driver: &'static str,
        /// The first service file that was considered.
        file: String,
        /// What such a table has.
        remedy: &'static str,
    },
    /// libpq and its like would load a library.
    #[error(transparent)]
    Key(#[from] service_file::Invalid),
    /// The flag has no effect.
    #[error("--service only has an effect with --env libpq and --env jdbc; leave it out")]
    NotUsed,
}

impl Config {
    /// The variables for a driver. `service` names the section, of several; without it the first one whose key the driver reads
    /// is used.
    pub fn variables(
        &self,
        driver: Driver,
        service: Option<&str>,
    ) -> Result<Vec<Variable>, NoVariables> {
        let named = |name: &str, value: OsString| (name.to_owned(), Some(value));
        match driver {
            Driver::Other | Driver::Npgsql if service.is_some() => Err(NoVariables::NotUsed),
            Driver::Other => Ok(Vec::new()),
            Driver::Npgsql => {
                let all = ["PGSSLCERT", "PGSSLKEY", "PGSSLROOTCERT"].into_iter();
                let paths = self.place.paths();
                service_file::refuse_engine(&paths[1])?;
                let mut variables: Vec<_> =
                    all.zip(paths).map(|(name, path)| named(name, path.into())).collect();
                // pgx would prefer the files of that section.
                variables.push(("PGSERVICE".to_owned(), None));
                Ok(variables)
            }
            Driver::Libpq | Driver::Jdbc => {
                let service = self.service_for(driver, service)?;
                let file = self.place.base().join(&service.file);
                let mut variables = vec![named("PGSERVICEFILE", file.into())];
                if driver == Driver::Libpq {
                    variables.push(named("PGSERVICE", service.name.clone().into()));
                }
                Ok(variables)
            }
        }
    }

    /// The service file for the driver, of those with the name.
    pub fn service_for(
        &self,
        driver: Driver,
        name: Option<&str>,
    ) -> Result<&service_file::Settings, NoVariables> {
        if self.services.is_empty() {
            return Err(NoVariables::NoService);
        }
        let has_name = |service: &&service_file::Settings| name.is_none_or(|it| it == service.name);
        let named: Vec<_> = self.services.iter().filter(has_name).collect();
        let Some(first) = named.first() else {
            let mut known: Vec<&str> = self.services.iter().map(|it| it.name.as_str()).collect();
            known.dedup();
            let name = name.unwrap_or_default().to_owned();
            return Err(NoVariables::NoSuchService { name, known: known.join(", ") });
        };
        let ranked = named.iter().filter_map(|it| Some((self.rank(driver, it)?, *it)));
        // Of equal ones the first.
        ranked.min_by_key(|(rank, _)| *rank).map(|(_, service)| service).ok_or_else(|| {
            let (driver, remedy) = match driver {
                Driver::Jdbc => (
                    "pgjdbc",
                    "private_key = \"svid_key.pk8\", and a [[files.extra]] of that name with content = \"der-key\"",
                ),
                _ => ("libpq", "a key in PEM, as without private_key"),
            };
            NoVariables::OtherKey { driver, file: first.file.clone(), remedy }
        })
    }

    /// How well the driver reads the key of this section; 0 is best, and `None` means not at all.
    fn rank(&self, driver: Driver, service: &service_file::Settings) -> Option<u8> {
        let key = self.place.files().find(|file| file.name == service.private_key)?;
        let extension = Path::new(&key.name).extension().and_then(OsStr::to_str);
        match (driver, &key.content) {
            (Driver::Libpq, Content::Key | Content::Combined) | (Driver::Jdbc, Content::KeyDer) => {
                Some(0)
            }
            // lib/pq does not read a key in DER, and pgjdbc needs the password of a store in its URL.
            (Driver::Libpq, Content::KeyDer) | (Driver::Jdbc, Content::KeyStore { .. }) => Some(1),
            // From 42.7.9 on; a key of an elliptic curve needs an option in the URL, too.
            (Driver::Jdbc, Content::Key) if extension == Some("pem") => Some(2),
            // These names mean PKCS#12, and others are for versions from 42.7.13 on.
            (Driver::Jdbc, Content::Key) if matches!(extension, Some("p12" | "pfx")) => None,
            (Driver::Jdbc, Content::Key) => Some(3),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::config;
    use super::*;

    fn of(driver: Driver, service: Option<&str>, toml: &str) -> Result<Vec<String>, NoVariables> {
        let variables = config(toml).unwrap().variables(driver, service)?;
        let line = |(name, value): Variable| match value {
            Some(value) => format!("{name}={}", value.display()),
            None => format!("without {name}"),
        };
        Ok(variables.into_iter().map(line).collect())
    }

    const BOTH: &str = "[[files.extra]]\nname = 'key.pk8'\ncontent = 'der-key'\n\
         [[files.service]]\nname = 'db'\n\
         [[files.service]]\nname = 'db'\nfile = 'java.conf'\nprivate_key = 'key.pk8'\n\
         [[files.service]]\nname = 'other'\nfile = 'other.conf'\n";

    #[test]
    fn each_driver_gets_the_service_file_whose_key_it_reads() {
        let file = |name: &str| format!("PGSERVICEFILE=/svids/{name}");
        let libpq = [file("pg_service.conf"), "PGSERVICE=db".to_owned()];
        assert_eq!(of(Driver::Libpq, None, BOTH).unwrap(), libpq);
        assert_eq!(of(Driver::Libpq, Some("db"), BOTH).unwrap(), libpq);
        assert_eq!(of(Driver::Jdbc, None, BOTH).unwrap(), [file("java.conf")]);
        let other = [file("other.conf"), "PGSERVICE=other".to_owned()];
        assert_eq!(of(Driver::Libpq, Some("other"), BOTH).unwrap(), other);
        // With its name in the URL pgjdbc uses it, too: the key is in a file whose name ends in .pem.
        assert_eq!(of(Driver::Jdbc, Some("other"), BOTH).unwrap(), [file("other.conf")]);
    }

    #[test]
    fn npgsql_gets_the_stable_names_and_others_get_nothing() {
        let names = [
            "PGSSLCERT=/svids/svid.pem",
            "PGSSLKEY=/svids/svid_key.pem",
            "PGSSLROOTCERT=/svids/svid_bundle.pem",
            "without PGSERVICE",
        ];
        assert_eq!(of(Driver::Npgsql, None, "").unwrap(), names);
        assert!(of(Driver::Other, None, "").unwrap().is_empty());
        for driver in [Driver::Npgsql, Driver::Other] {
            assert_eq!(of(driver, Some("db"), BOTH), Err(NoVariables::NotUsed));
        }
    }

    #[test]
    fn a_service_file_that_is_missing_or_of_no_use_is_refused() {
        assert_eq!(of(Driver::Libpq, None, ""), Err(NoVariables::NoService));
        let known = "db, other".to_owned();
        assert_eq!(
            of(Driver::Jdbc, Some("none"), BOTH),
            Err(NoVariables::NoSuchService { name: "none".to_owned(), known })
        );
        let toml = "[files]\nprivate_key = 'a.p12'\n[files.service]\nname = 'db'\n";
        assert!(matches!(of(Driver::Jdbc, None, toml), Err(NoVariables::OtherKey { .. })));
    }
}
