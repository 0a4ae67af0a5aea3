//! The initial configuration of a cluster.

use std::fmt::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU16};

use super::Cluster;
use crate::{Account, Directory, template};

/// Fast and quiet; a crash of the machine may lose what a test wrote.
const CONFIGURATION: &str = "
listen_addresses = '127.0.0.1'
fsync = off
full_page_writes = off
synchronous_commit = off
autovacuum = off
shared_buffers = 16MB
max_connections = 40
logging_collector = off
log_destination = 'stderr'
log_line_prefix = '%m [%p] %q%u@%d %h '
log_connections = off
log_timezone = 'UTC'
";

/// A [`Cluster`] to be created. Later lines of configuration override earlier ones.
#[derive(Debug, Default)]
pub struct ClusterBuilder {
    configuration: String,
    hba: String,
    ident: String,
    arguments: Vec<String>,
    port: Option<u16>,
}

impl ClusterBuilder {
    /// Adds a line to `postgresql.conf`.
    #[must_use]
    pub fn conf(mut self, line: &str) -> Self {
        line_to(&mut self.configuration, line);
        self
    }

    /// Adds lines to `pg_hba.conf`, above `local all all peer`.
    #[must_use]
    pub fn hba(mut self, lines: &str) -> Self {
        line_to(&mut self.hba, lines);
        self
    }

    /// Adds lines to `pg_ident.conf`.
    #[must_use]
    pub fn ident(mut self, lines: &str) -> Self {
        line_to(&mut self.ident, lines);
        self
    }

    /// Turns TLS on with the files that pgsvid publishes in that directory. They must be there
    /// before the server starts.
    #[must_use]
    pub fn tls_files(self, directory: &Path) -> Self {
        let directory = directory.display();
        self.conf("ssl = on")
            .conf(&format!("ssl_cert_file = '{directory}/svid.pem'"))
            .conf(&format!("ssl_key_file = '{directory}/svid_key.pem'"))
            .conf(&format!("ssl_ca_file = '{directory}/svid_bundle.pem'"))
    }

    /// Adds an option to the server's command line, such as `-c` and `ssl=on`.
    #[must_use]
    pub fn arg(mut self, option: &str, value: &str) -> Self {
        self.arguments.extend([option.to_owned(), value.to_owned()]);
        self
    }

    /// Listens at this address alone, and at a port that another server has at its own address.
    #[must_use]
    pub fn at(mut self, address: &str, port: u16) -> Self {
        self.port = Some(port);
        self.conf(&format!("listen_addresses = '{address}'"))
    }

    /// Creates the cluster without starting it.
    pub fn create(self) -> Cluster {
        let directory = Directory::new();
        let cluster = Cluster {
            socket_directory: directory.subdirectory("s"),
            port: AtomicU16::new(self.port.unwrap_or_else(crate::ports::free)),
            port_is_known: AtomicBool::new(self.port.is_some()),
            arguments: self.arguments,
            process: Mutex::new(None),
            directory,
        };
        template::copy_to(&cluster.data_directory());
        let mut configuration = CONFIGURATION.to_owned();
        line_to(
            &mut configuration,
            &format!("unix_socket_directories = '{}'", cluster.socket_directory.display()),
        );
        configuration.push_str(&self.configuration);
        cluster.set_conf(&configuration);
        cluster.set_hba(&format!("{}local all all peer", self.hba));
        cluster.set_ident(&self.ident);
        cluster
    }

    /// Creates the cluster and starts it.
    #[track_caller]
    pub fn start(self) -> Cluster {
        let cluster = self.create();
        cluster.start();
        cluster
    }
}

/// The first line of `pg_hba.conf` and of `pg_ident.conf`, so that a test can always administer
/// the server, and psql need not run under the superuser's name.
pub(super) const ADMINISTRATION: &str = "local all postgres peer map=administration";

pub(super) fn administrator() -> String {
    format!("administration {} postgres", Account::server().name())
}

fn line_to(text: &mut String, line: &str) {
    writeln!(text, "{}", line.trim_end()).expect("writes into a string");
}
