//! A Patroni, and the PostgreSQL that it runs.

mod etcd;

use std::env;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

pub use etcd::Etcd;

use crate::{
    Account, Cluster, Directory, Installation, LIMIT, Program, Psql, Served, Signal, eventually,
    ports,
};

/// A node: a Patroni with its PostgreSQL. Both end when the value is dropped.
pub struct Patroni {
    name: String,
    /// Its directory of configuration, its home, and its data directory if it makes one.
    directory: Directory,
    data: PathBuf,
    sockets: PathBuf,
    port: u16,
    rest_port: u16,
    etcd: String,
    program: Mutex<Option<Program>>,
    /// What those that were killed have logged.
    former: Mutex<String>,
}

impl Patroni {
    /// A Patroni that takes the data directory of a stopped cluster over, under the cluster's socket and port.
    pub fn over(cluster: &Cluster, etcd: &Etcd) -> Self {
        let (data, sockets) = (cluster.data_directory(), cluster.socket_directory().to_owned());
        Self::of("one", Directory::new(), data, sockets, cluster.port(), etcd)
    }

    /// A node of this name, which makes its own data directory.
    pub fn new(name: &str, etcd: &Etcd) -> Self {
        let directory = Directory::new();
        let (data, sockets) = (directory.join("data"), directory.subdirectory("s"));
        Self::of(name, directory, data, sockets, ports::free(), etcd)
    }

    fn of(
        name: &str,
        directory: Directory,
        data: PathBuf,
        sockets: PathBuf,
        port: u16,
        etcd: &Etcd,
    ) -> Self {
        directory.subdirectory("conf");
        let rest_port = ports::free();
        let (name, etcd) = (name.to_owned(), etcd.section());
        let (program, former) = (Mutex::new(None), Mutex::default());
        Self { name, directory, data, sockets, port, rest_port, etcd, program, former }
    }

    /// Writes its configuration: `loop_wait` is one second, and PostgreSQL lets the superuser `postgres` in over its socket.
    /// `restapi`, `postgresql` and `rest` are lines of these sections, and further sections.
    pub fn configure(&self, restapi: &str, postgresql: &str, rest: &str) {
        let bin = Installation::found().program("postgres");
        let (bin, data) = (bin.parent().expect("a directory").display(), self.data.display());
        let home = self.directory.path().display();
        let (port, rest_port, name, etcd) = (self.port, self.rest_port, &self.name, &self.etcd);
        let indented = |text: &str| text.replace('\n', "\n  ");
        let (restapi, postgresql) = (indented(restapi), indented(postgresql));
        let yaml = format!(
            "scope: test\nname: {name}\n{etcd}restapi:\n  listen: 127.0.0.1:{rest_port}\n  connect_address: localhost:{rest_port}\n  \
             {restapi}\nbootstrap:\n  dcs:\n    ttl: 22\n    loop_wait: 1\n    retry_timeout: 10\n    postgresql:\n      \
             use_pg_rewind: true\n      parameters: {{fsync: 'off', shared_buffers: '16MB', max_connections: 40}}\n  \
             initdb: [auth-local: peer, auth-host: reject]\npostgresql:\n  listen: 127.0.0.1:{port}\n  \
             connect_address: localhost:{port}\n  data_dir: {data}\n  bin_dir: {bin}\n  pgpass: {home}/pgpass\n  \
             {postgresql}\n{rest}"
        );
        self.directory.write("conf/10-node.yml", yaml, 0o644);
    }

    /// The lines of `postgresql` for a single node: peer authentication, nobody else.
    pub fn alone(&self) -> String {
        format!(
            "use_unix_socket: true\nuse_unix_socket_repl: true\nauthentication:\n  superuser: {{username: postgres}}\n  replication: {{username: postgres}}\nparameters:\n  \
             unix_socket_directories: '{}'",
            self.sockets.display()
        )
    }

    /// The lines of `restapi` for the published files by their stable names.
    #[must_use]
    pub fn with_files(directory: &Path) -> String {
        let files = directory.display();
        format!(
            "certfile: {files}/svid.pem\nkeyfile: {files}/svid_key.pem\ncafile: {files}/svid_bundle.pem\n"
        )
    }

    /// Writes a file into its directory of configuration, which is read after its own.
    pub fn write(&self, name: &str, yaml: &str) {
        self.directory.write(&format!("conf/{name}"), yaml, 0o644);
    }

    /// Links a published part of the configuration into that directory.
    pub fn link(&self, part: &Path) {
        symlink(part, self.directory.join("conf/50-pgsvid.yml")).expect("makes a link");
    }

    /// Starts it.
    #[track_caller]
    pub fn start(&self) {
        let path = env::var_os("PGSVID_PATRONI").map(PathBuf::from);
        let path = path.unwrap_or_else(|| etcd::program("patroni"));
        let conf = self.directory.join("conf");
        let program = Program::spawn_as(Account::server(), path, [conf], &[]);
        *self.program.lock().unwrap() = Some(program);
    }

    /// Waits until its PostgreSQL is the writable primary.
    #[track_caller]
    pub fn wait_primary(&self) {
        let primary = || self.try_sql("SELECT pg_is_in_recovery()").is_ok_and(|it| it == "f");
        eventually(
            LIMIT * 3,
            format_args!("{} is the primary:\n{}", self.name, self.log()),
            primary,
        );
    }

    /// Ends it at once, and leaves its PostgreSQL alone.
    pub fn kill(&self) {
        if let Some(program) = self.program.lock().unwrap().take() {
            program.signal(Signal::KILL);
            let _ = program.wait_exit(LIMIT);
            *self.former.lock().unwrap() += &logged(&program);
        }
    }

    /// Sends a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        self.program.lock().unwrap().as_ref().expect("it runs").signal(signal);
    }

    /// Everything that it has logged since its start, with PostgreSQL's log.
    pub fn log(&self) -> String {
        let program = self.program.lock().unwrap();
        program.as_ref().map(logged).unwrap_or_default()
    }

    /// The same, of each Patroni that ran here.
    pub fn whole_log(&self) -> String {
        self.former.lock().unwrap().clone() + &self.log()
    }

    /// The port of its REST API.
    pub fn rest_port(&self) -> u16 {
        self.rest_port
    }

    /// The port of its PostgreSQL.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory of PostgreSQL's socket.
    pub fn socket_directory(&self) -> &Path {
        &self.sockets
    }

    /// PostgreSQL's data directory.
    pub fn data_directory(&self) -> &Path {
        &self.data
    }

    /// What PostgreSQL answers to the superuser over its socket.
    pub fn try_sql(&self, text: &str) -> Result<String, String> {
        let psql = Psql::new().env("PGHOST", &self.sockets).env("PGPORT", self.port.to_string());
        let psql = psql.env("PGCONNECT_TIMEOUT", "10").user("postgres").database("postgres");
        let output = psql.script(text).run();
        if output.status.success() { Ok(output.stdout) } else { Err(output.stderr) }
    }

    /// What `patronictl` answers.
    pub fn ctl(&self, arguments: &[&str]) -> Result<String, String> {
        let path = env::var_os("PGSVID_PATRONI").map(PathBuf::from);
        let path = path
            .map_or_else(|| etcd::program("patronictl"), |path| path.with_file_name("patronictl"));
        let conf = self.directory.join("conf").display().to_string();
        let all = ["-c", &conf].into_iter().chain(arguments.iter().copied());
        let program = Program::spawn_as(Account::server(), path, all, &[]);
        let status = program.wait_exit(LIMIT * 2);
        let said = program.standard_output() + &program.standard_error();
        if status.success() { Ok(said) } else { Err(said) }
    }

    /// The leaf that its REST API serves, in DER, or why it serves none.
    pub fn served(&self) -> Result<Vec<u8>, String> {
        Served::directly(self.rest_port).map(|served| served.leaf)
    }
}

fn logged(program: &Program) -> String {
    program.standard_error() + &program.standard_output()
}

impl Drop for Patroni {
    fn drop(&mut self) {
        self.kill();
        let pg_ctl = Installation::found().program("pg_ctl");
        let data = self.data.display().to_string();
        let arguments = ["stop", "-D", &data, "-m", "immediate"];
        let stopped = Program::spawn_as(Account::server(), pg_ctl, arguments, &[]);
        let _ = stopped.wait_exit(LIMIT);
    }
}
