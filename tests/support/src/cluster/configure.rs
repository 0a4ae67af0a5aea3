//! Configuration files and the role of pgsvid.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use super::Cluster;
use super::builder::{ADMINISTRATION, administrator};
use crate::{Account, Installation, spawn};

const ROLE: &str = "CREATE ROLE pgsvid LOGIN CONNECTION LIMIT 3";
const GRANT: &str = "GRANT EXECUTE ON FUNCTION pg_catalog.pg_reload_conf() TO pgsvid";

impl Cluster {
    /// Appends lines to `postgresql.conf`. The server reads them at the next reload or start.
    pub fn set_conf(&self, lines: &str) {
        let text = self.read("postgresql.conf");
        self.write("postgresql.conf", &format!("{}\n{}\n", text.trim_end(), lines.trim_end()));
    }

    /// Replaces `pg_hba.conf`, except for its first line, which lets the superuser in. The server
    /// reads it at the next reload or start.
    pub fn set_hba(&self, text: &str) {
        self.write("pg_hba.conf", &format!("{ADMINISTRATION}\n{}\n", text.trim_end()));
    }

    /// Replaces `pg_ident.conf`, except for its first line, which lets the superuser in. The server
    /// reads it at the next reload or start.
    pub fn set_ident(&self, text: &str) {
        self.write("pg_ident.conf", &format!("{}\n{}\n", administrator(), text.trim_end()));
    }

    /// Writes any other file of the data directory, as the server would.
    pub fn write_file(&self, name: &str, text: &str) {
        self.write(name, text);
    }

    /// Creates the role `pgsvid`, lets it reload from the database `postgres`, and lets the server's
    /// account log in as it over the socket. The cluster may be running or stopped.
    #[track_caller]
    pub fn prepare_role(&self) {
        self.insert_below_first("pg_hba.conf", "local postgres pgsvid peer map=pgsvid");
        self.insert_below_first(
            "pg_ident.conf",
            &format!("pgsvid {} pgsvid", Account::server().name()),
        );
        if self.is_running() {
            self.sql("postgres", "postgres", &format!("{ROLE}; {GRANT}"));
            self.sighup();
        } else {
            self.single_user(&[ROLE, GRANT]);
        }
    }

    /// Executes statements while no server runs. Needs no TLS files, unlike a start.
    fn single_user(&self, statements: &[&str]) {
        let mut child =
            spawn::command(&Installation::found().program("postgres"), Account::server())
                .args(["--single", "-D"])
                .arg(self.data_directory())
                .args(["-c", "log_min_messages=error", "postgres"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .expect("runs postgres");
        let mut input = child.stdin.take().expect("was piped");
        for statement in statements {
            writeln!(input, "{statement}").expect("writes to postgres");
        }
        drop(input);
        let output = child.wait_with_output().expect("waits for postgres");
        let said = String::from_utf8_lossy(&output.stderr);
        // It continues after an error, and still exits with 0.
        assert!(output.status.success() && !said.contains("ERROR:"), "postgres --single: {said}");
    }

    fn insert_below_first(&self, file: &str, line: &str) {
        let text = self.read(file);
        let (first, rest) = text.split_once('\n').expect("the line that this crate wrote");
        self.write(file, &format!("{first}\n{line}\n{rest}"));
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.data_directory().join(file)).expect("reads a configuration file")
    }

    fn write(&self, file: &str, text: &str) {
        self.directory.write(&format!("data/{file}"), text, 0o600);
    }
}
