//! A PgBouncer in front of a cluster.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::{
    Account, Cluster, Directory, LIMIT, Process, Program, Psql, Signal, eventually, ports,
};

/// A PgBouncer. It ends when the value is dropped.
pub struct PgBouncer {
    directory: Directory,
    socket_directory: PathBuf,
    port: u16,
    database: String,
    program: Mutex<Option<Program>>,
}

impl PgBouncer {
    /// A PgBouncer that passes all databases on to the cluster over TCP. It is not started yet.
    pub fn before(cluster: &Cluster) -> Self {
        Self::at(ports::free(), cluster)
    }

    /// Another PgBouncer on the same port: both need the setting `so_reuseport`.
    #[must_use]
    pub fn beside(&self, cluster: &Cluster) -> Self {
        Self::at(self.port, cluster)
    }

    fn at(port: u16, cluster: &Cluster) -> Self {
        let directory = Directory::new();
        Self {
            socket_directory: directory.subdirectory("s"),
            directory,
            port,
            database: format!("* = host=localhost port={}", cluster.port()),
            program: Mutex::new(None),
        }
    }

    /// Writes the ini: its section `[pgbouncer]` gets these lines, too. Roles log in by their certificate if TLS is on.
    pub fn configure(&self, lines: &str) {
        let (users, socket) = (self.users(), self.socket_directory.display());
        let ini = format!(
            "[databases]\n{}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir = {socket}\n\
             auth_file = {}\nlog_stats = 0\nmax_client_conn = 200\n{lines}\n",
            self.database,
            self.port,
            users.display()
        );
        self.write_ini(&ini);
    }

    /// Writes the whole ini.
    pub fn write_ini(&self, ini: &str) {
        self.directory.write("pgbouncer.ini", ini, 0o644);
    }

    /// The file with the names of its users.
    pub fn users(&self) -> PathBuf {
        self.directory.write("users", "\"localhost\" \"\"\n", 0o644)
    }

    /// The lines for certificates of the files in `directory`, towards clients and towards PostgreSQL.
    #[must_use]
    pub fn with_files(directory: &Path) -> String {
        let directory = directory.display();
        ["client", "server"]
            .map(|side| {
                format!(
                    "{side}_tls_cert_file = {directory}/svid.pem\n\
                     {side}_tls_key_file = {directory}/svid_key.pem\n\
                     {side}_tls_ca_file = {directory}/svid_bundle.pem\n"
                )
            })
            .concat()
    }

    /// The program: `PGSVID_PGBOUNCER`, or Debian's, installed or unpacked by `scripts/test`.
    #[must_use]
    pub fn path() -> PathBuf {
        if let Some(path) = env::var_os("PGSVID_PGBOUNCER") {
            return path.into();
        }
        let target = env::current_exe().expect("knows its path");
        let unpacked =
            target.ancestors().filter(|it| it.ends_with("debug") || it.ends_with("release"));
        let unpacked = unpacked.filter_map(Path::parent).map(|target| target.join("tools"));
        let path = env::var_os("PATH").unwrap_or_default();
        let installed = env::split_paths(&path).chain(["/usr/sbin".into()]);
        installed
            .chain(unpacked)
            .map(|directory| directory.join("pgbouncer"))
            .find(|path| path.is_file())
            .expect("there is no pgbouncer: run scripts/test, or apt-get install pgbouncer")
    }

    /// Starts it and waits until its socket is there.
    #[track_caller]
    pub fn start(&self) {
        self.start_as(Account::server());
    }

    /// Starts it as another account.
    #[track_caller]
    pub fn start_as(&self, account: &Account) {
        let ini = self.directory.join("pgbouncer.ini");
        let program = Program::spawn_as(account, Self::path(), [ini], &[]);
        *self.program.lock().unwrap() = Some(program);
        let socket = self.socket_directory.join(format!(".s.PGSQL.{}", self.port));
        eventually(LIMIT, "PgBouncer listens", || socket.exists());
    }

    /// Ends it at once.
    pub fn stop(&self) {
        if let Some(program) = self.program.lock().unwrap().take() {
            program.signal(Signal::TERM);
            let _ = program.wait_exit(LIMIT);
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.process().signal(signal);
    }

    /// The running process.
    #[track_caller]
    pub fn process(&self) -> Process {
        let program = self.program.lock().unwrap();
        program.as_ref().expect("it runs").process()
    }

    /// Everything that it has logged.
    pub fn log(&self) -> String {
        let program = self.program.lock().unwrap();
        program.as_ref().map(Program::standard_error).unwrap_or_default()
    }

    /// The directory of its socket.
    pub fn socket_directory(&self) -> &Path {
        &self.socket_directory
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The table for it in pgsvid's configuration.
    pub fn table(&self, name: &str) -> String {
        format!(
            "[[pgbouncer]]\nname = '{name}'\nhost = '{}'\nport = {}\n",
            self.socket_directory.display(),
            self.port
        )
    }

    /// psql through it, as this role, with the certificate in `directory` and all checks on.
    pub fn client(&self, directory: &Path, role: &str) -> Psql {
        let directory = directory.display();
        Psql::new().env("PGCONNECT_TIMEOUT", "10").arg("-w").arg(format!(
            "host=localhost hostaddr=127.0.0.1 port={} user={role} dbname=postgres sslmode=verify-full \
             sslcert={directory}/svid.pem sslkey={directory}/svid_key.pem \
             sslrootcert={directory}/svid_bundle.pem",
            self.port
        ))
    }

    /// The answer of its console.
    #[track_caller]
    pub fn console(&self, command: &str) -> String {
        self.try_console(command).unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// The answer of its console, or its error.
    pub fn try_console(&self, command: &str) -> Result<String, String> {
        let psql = Psql::new()
            .env("PGHOST", &self.socket_directory)
            .env("PGPORT", self.port.to_string())
            .user("pgbouncer")
            .database("pgbouncer");
        let output = psql.script(command).run();
        if output.status.success() { Ok(output.stdout) } else { Err(output.stderr) }
    }
}
