//! The programs of examples/drivers: how each is started, and what it needs of pgsvid.

use std::fs;
use std::path::Path;
use std::process::Command;

use test_support::{Directory, Program};

use super::installed;
use super::sides::{PASSWORD, ROLE, Readers, SERVICE_FILE_DER};

/// A driver, and a way of giving it the certificates.
#[derive(Debug, Clone)]
pub(super) struct Way {
    /// The directory in target/drivers.
    pub(super) driver: &'static str,
    /// How it is told where the files are, for the table.
    pub(super) how: &'static str,
    kind: Kind,
    address: Address,
    /// Whether people write this, and should not.
    wrong: bool,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Python,
    Node,
    Java,
    Binary,
}

/// What the program reads.
#[derive(Debug, Clone, Copy)]
enum Address {
    /// PGSERVICEFILE.
    Service,
    /// PGHOST and others, and FILES.
    Variables,
    /// ADDRESS, and FILES.
    Text,
    /// `JDBC_URL` with this query, in which words are replaced; and PGSERVICEFILE.
    Url(&'static str),
}

const PSYCOPG: Way = way("psycopg", "`service=`", Kind::Python, Address::Service);
const SQLALCHEMY: Way = way("sqlalchemy", "`service=`", Kind::Python, Address::Service);
const ASYNCPG: Way = way("asyncpg", "`service=` in the DSN", Kind::Python, Address::Service);
const NODE: Way = way("node-postgres", "a `Client` that reads", Kind::Node, Address::Variables);
const POSTGRES_JS: Way = way("postgres.js", "getters in `ssl`", Kind::Node, Address::Variables);
const PKCS12: Way = way("pgjdbc", "PKCS#12", Kind::Java, Address::Url(STORE));
const DER: Way = way("pgjdbc", "service file, DER", Kind::Java, Address::Url(SERVICE_DER));
const PEM: Way = way("pgjdbc", "service file, PEM", Kind::Java, Address::Url(SERVICE_PEM));
const PGX: Way = way("pgx", "`ParseConfig` in `BeforeConnect`", Kind::Binary, Address::Service);
const LIB_PQ: Way = way("lib-pq", "`service=`", Kind::Binary, Address::Service);
const SQLX: Way = way("sqlx", "`set_connect_options`", Kind::Binary, Address::Variables);
const TOKIO: Way =
    way("tokio-postgres", "a `MakeTlsConnect` that reads", Kind::Binary, Address::Text);

const STORE: &str = "//localhost:PORT/postgres?user=ROLE&sslmode=verify-full&sslkey=FILES/svid.p12&sslpassword=PASSWORD&sslrootcert=FILES/svid_bundle.pem";
const SERVICE_DER: &str = "//?service=products";
const SERVICE_PEM: &str = "//?service=products&pemKeyAlgorithm=EC";
const JAVA_KEY_STORE: &str = "//localhost:PORT/postgres?user=ROLE&sslmode=verify-full&sslfactory=org.postgresql.ssl.DefaultJavaSSLFactory";

const fn way(driver: &'static str, how: &'static str, kind: Kind, address: Address) -> Way {
    Way { driver, how, kind, address, wrong: false }
}

/// The ways of a driver, wrong ones last.
pub(super) fn ways_of(driver: &str) -> Vec<Way> {
    let wrong = |how, way: Way| Way { how, wrong: true, ..way };
    match driver {
        "psycopg" => vec![PSYCOPG],
        "sqlalchemy" => vec![SQLALCHEMY],
        "asyncpg" => {
            let variables = Way { address: Address::Variables, ..ASYNCPG };
            vec![ASYNCPG, wrong("one `SSLContext`", variables)]
        }
        "node-postgres" => vec![NODE, wrong("`ssl` read once", NODE)],
        "postgres.js" => vec![POSTGRES_JS, wrong("`ssl` read once", POSTGRES_JS)],
        "pgjdbc" => {
            let once = Way { address: Address::Url(JAVA_KEY_STORE), ..PKCS12 };
            vec![PKCS12, DER, PEM, wrong("`DefaultJavaSSLFactory`", once)]
        }
        "debian-pgjdbc" => vec![Way { driver: "debian-pgjdbc", ..PKCS12 }],
        "pgx" => vec![PGX, wrong("`service=` or PGSERVICE alone", PGX)],
        "lib-pq" => vec![LIB_PQ],
        "sqlx" => vec![SQLX],
        "tokio-postgres" => vec![TOKIO],
        _ => panic!("there is no driver {driver} in examples/drivers"),
    }
}

impl Way {
    pub(super) fn is_wrong(&self) -> bool {
        self.wrong
    }

    /// Such as `psycopg (service=)`.
    pub(super) fn title(&self) -> String {
        format!("{} ({})", self.driver, self.how)
    }

    /// The versions that were installed.
    pub(super) fn version(&self) -> String {
        let file = installed().join(self.driver).join("version");
        fs::read_to_string(file).unwrap_or_default().trim().to_owned()
    }

    /// Whether it reads a key store.
    pub(super) fn reads_store(&self) -> bool {
        matches!(self.address, Address::Url(STORE | JAVA_KEY_STORE))
    }

    /// A copy of what was installed, which the server's account can read wherever the checkout is.
    pub(super) fn staged(&self) -> Staged {
        let from = installed().join(self.driver);
        assert!(
            from.join("wanted").exists(),
            "{} is not installed: scripts/test-drivers",
            self.driver
        );
        let directory = Directory::new();
        let to = directory.join("program");
        let copied = Command::new("cp").arg("-r").args([&from, &to]).status().unwrap();
        assert!(copied.success(), "{} cannot be copied", from.display());
        let wrong = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/measured/drivers/wrong");
        let wrong = wrong.join(self.driver);
        let is_source = matches!(self.kind, Kind::Python | Kind::Node);
        if self.wrong && is_source {
            for file in fs::read_dir(wrong).unwrap() {
                let file = file.unwrap();
                fs::copy(file.path(), to.join(file.file_name())).unwrap();
            }
        }
        Staged { way: self.clone(), directory }
    }
}

/// A driver's program, ready to be started.
pub(super) struct Staged {
    way: Way,
    directory: Directory,
}

impl Staged {
    /// Starts the program with the files in a directory.
    pub(super) fn start(&self, readers: &Readers) -> Program {
        let program = self.directory.join("program");
        let path = program.display().to_string();
        let (files, port) = (readers.files.display().to_string(), readers.port.to_string());
        let mut variables = match self.way.address {
            Address::Service => vec![("PGSERVICEFILE", format!("{files}/pg_service.conf"))],
            Address::Variables => vec![
                ("FILES", files),
                ("PGHOST", "localhost".to_owned()),
                ("PGPORT", port),
                ("PGUSER", ROLE.to_owned()),
                ("PGDATABASE", "postgres".to_owned()),
            ],
            Address::Text => vec![
                ("FILES", files),
                ("ADDRESS", format!("host=localhost port={port} user={ROLE} dbname=postgres")),
            ],
            Address::Url(query) => {
                let query = query.replace("PORT", &port).replace("ROLE", ROLE);
                let query = query.replace("FILES", &files).replace("PASSWORD", PASSWORD);
                let service_file = if matches!(self.way.address, Address::Url(SERVICE_DER)) {
                    SERVICE_FILE_DER
                } else {
                    "pg_service.conf"
                };
                vec![
                    ("PGSERVICEFILE", format!("{files}/{service_file}")),
                    ("JDBC_URL", format!("jdbc:postgresql:{query}")),
                ]
            }
        };
        let (executable, arguments) = match self.way.kind {
            Kind::Python => {
                variables.push(("PYTHONDONTWRITEBYTECODE", "1".to_owned()));
                ("/usr/bin/python3".to_owned(), vec![format!("{path}/main.py")])
            }
            Kind::Node => ("/usr/bin/node".to_owned(), vec![format!("{path}/main.js")]),
            Kind::Java => ("/usr/bin/java".to_owned(), self.java(&path, readers)),
            Kind::Binary => {
                let name = if self.way.wrong { "driver-wrong" } else { "driver" };
                (format!("{path}/{name}"), Vec::new())
            }
        };
        let variables: Vec<_> =
            variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Program::spawn(executable, arguments, &variables)
    }

    fn java(&self, path: &str, readers: &Readers) -> Vec<String> {
        let mut arguments: Vec<_> =
            ["-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m"]
                .map(str::to_owned)
                .into();
        if self.way.wrong {
            let files = readers.files.display();
            arguments.extend([
                format!("-Djavax.net.ssl.keyStore={files}/svid.p12"),
                format!("-Djavax.net.ssl.keyStorePassword={PASSWORD}"),
                format!("-Djavax.net.ssl.trustStore={files}/trust.p12"),
                format!("-Djavax.net.ssl.trustStorePassword={PASSWORD}"),
            ]);
        }
        arguments.extend(["-cp".to_owned(), format!("{path}:{path}/*"), "Main".to_owned()]);
        arguments
    }
}
