//! Clients that are there while somebody rotates: sessions that do nothing, and a storm of new ones.

use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use test_support::{Cluster, Installation, LIMIT, Program, eventually};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio_postgres::NoTls;

/// Lines of `pg_hba.conf` for both roles: what is measured is not how somebody logs in.
pub(crate) const BENCH_ACCESS: &str = "local all bench trust\nhostssl all bench 127.0.0.1/32 trust\n\
                                       hostssl all client 127.0.0.1/32 trust clientcert=verify-ca";
/// Who puts the load on.
pub(crate) const ROLE: &str = "bench";
/// Who has to have a certificate.
pub(crate) const CLIENT: &str = "client";

/// Makes the roles of the clients.
pub(crate) fn make_roles(cluster: &Cluster) {
    for role in [ROLE, CLIENT] {
        cluster.sql("postgres", "postgres", &format!("CREATE ROLE {role} LOGIN"));
    }
    let grant = format!("GRANT EXECUTE ON FUNCTION pg_catalog.pg_reload_conf() TO {ROLE}");
    cluster.sql("postgres", "postgres", &grant);
}

/// One session over the Unix socket.
pub(crate) struct Session {
    runtime: Runtime,
    client: tokio_postgres::Client,
}

impl Session {
    pub(crate) fn open(cluster: &Cluster) -> Self {
        let runtime = runtime();
        let client = runtime.block_on(connect(&parameters(cluster)));
        Self { runtime, client }
    }

    pub(crate) fn query(&mut self, statement: &str) {
        self.runtime.block_on(self.client.simple_query(statement)).expect("answers");
    }
}

async fn connect(parameters: &str) -> tokio_postgres::Client {
    let connected = tokio_postgres::connect(parameters, NoTls).await;
    let (client, connection) = connected.expect("opens a session");
    tokio::spawn(connection);
    client
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("makes a runtime")
}

fn parameters(cluster: &Cluster) -> String {
    format!(
        "host={} port={} user={ROLE} dbname=postgres",
        cluster.socket_directory().display(),
        cluster.port()
    )
}

/// Sessions that are open and idle until this is dropped.
pub(crate) struct Idle {
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Idle {
    pub(crate) fn open(cluster: &Cluster, count: usize) -> Self {
        let parameters = parameters(cluster);
        let (end, ended) = oneshot::channel();
        let thread = thread::spawn(move || {
            runtime().block_on(async {
                let mut clients = Vec::new();
                for _ in 0..count {
                    clients.push(connect(&parameters).await);
                }
                let _ = ended.await;
            });
        });
        eventually(LIMIT, "all sessions are open", || sessions(cluster) == count);
        Self { end: Some(end), thread: Some(thread) }
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn sessions(cluster: &Cluster) -> usize {
    let query = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{ROLE}'");
    cluster.sql("postgres", "postgres", &query).parse().expect("a number")
}

/// pgbench, for clients that connect over TLS.
pub(crate) fn pgbench(cluster: &Cluster, arguments: &[&str]) -> Program {
    let connection = format!(
        "host=127.0.0.1 port={} user={ROLE} dbname=postgres sslmode=require",
        cluster.port()
    );
    let arguments = arguments.iter().copied().chain([connection.as_str()]);
    Program::spawn(pgbench_path(), arguments, &[])
}

fn pgbench_path() -> PathBuf {
    Installation::found().program("pgbench")
}

/// Eight clients, each of which opens a session over TLS, asks for one row, closes it, and begins again, until this is
/// dropped.
pub(crate) struct Storm(#[expect(dead_code, reason = "it lives as long as this")] Program);

impl Storm {
    pub(crate) fn start(cluster: &Cluster, script: &std::path::Path) -> Self {
        let script = script.display().to_string();
        let program =
            pgbench(cluster, &["-n", "-C", "-c", "8", "-j", "2", "-T", "86400", "-f", &script]);
        eventually(LIMIT, "clients connect", || sessions(cluster) > 0);
        Self(program)
    }
}
