//! `pgsvid setup` against real servers: what it prints, applies and reverts, and who can log in afterwards.

mod applying;
mod attacks;
mod by_hand;
mod endless;
pub(crate) mod fake;
mod flags;
mod foreign_role;
mod irreplaceable;
mod killed;
mod objections;
mod printing;
mod refusals;
mod reverting;
mod roles;

use std::path::Path;

use test_support::{Account, Cluster, LIMIT, Program, PsqlOutput, Setup};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");

/// How a command has ended.
struct Ended {
    status: i32,
    output: String,
    error: String,
}

impl Ended {
    #[track_caller]
    fn well(self) -> String {
        assert_eq!(self.status, 0, "{}{}", self.output, self.error);
        self.output
    }

    #[track_caller]
    fn badly(self, words: &str) -> String {
        let said = format!("{}{}", self.output, self.error);
        assert!(self.status == 1 && said.contains(words), "{words:?} in {}: {said}", self.status);
        said
    }
}

/// A server without anything of ours: its cluster has to be prepared by what is tested.
fn bare() -> Setup {
    with_cluster(|cluster| cluster)
}

fn with_cluster(
    change: impl FnOnce(test_support::ClusterBuilder) -> test_support::ClusterBuilder,
) -> Setup {
    Setup::builder(PGSVID).cluster(|_| change(Cluster::builder())).create_bare()
}

/// Writes the configuration: `files` and `postgres` are more keys of these tables, `more` is whatever follows.
fn configure(setup: &Setup, files: &str, more: &str) {
    setup.configure(&format!(
        "[files]\n{files}\n[postgres]\nos_user = \"{}\"\n{more}",
        Account::server().name()
    ));
}

/// `pgsvid setup …` as PostgreSQL's own user.
fn run(setup: &Setup, what: &[&str]) -> Ended {
    run_as(Account::server(), setup, what)
}

fn run_as(account: &Account, setup: &Setup, what: &[&str]) -> Ended {
    let program = Program::spawn_as(account, PGSVID, arguments(setup, what), &[]);
    let status = program.wait_exit(LIMIT).code().unwrap();
    Ended { status, output: program.standard_output(), error: program.standard_error() }
}

/// The arguments of `pgsvid setup …` for that server.
fn arguments(setup: &Setup, what: &[&str]) -> Vec<String> {
    let path = |path: &Path| path.display().to_string();
    let arguments = [
        path(&setup.other.join("pgsvid.toml")),
        path(setup.files.path()),
        path(setup.cluster.socket_directory()),
        setup.cluster.port().to_string(),
    ];
    let flags = ["--config", "--directory", "--postgres", "--port"];
    // A flag may be given once: the test's own goes before the usual one.
    let flags = flags
        .into_iter()
        .zip(&arguments)
        .filter(|(flag, _)| !what.contains(flag))
        .flat_map(|(flag, value)| [flag, value.as_str()]);
    ["setup"].into_iter().chain(what.iter().copied()).chain(flags).map(str::to_owned).collect()
}

/// Publishes the agent's set, as an init container does.
fn publish(setup: &Setup) {
    publish_to(setup, setup.files.path());
}

fn publish_to(setup: &Setup, directory: &Path) {
    let (endpoint, directory) = (setup.agent.endpoint(), directory.display().to_string());
    let arguments =
        ["fetch", "--timeout", "20s", "--endpoint", &endpoint, "--directory", &directory];
    let program = Program::spawn(PGSVID, arguments, &[]);
    assert!(program.wait_exit(LIMIT).success(), "{}", program.standard_error());
}

/// Lets the server speak TLS with files of its own.
fn serve_own_files(setup: &Setup) {
    let svid = setup.agent.svid();
    setup.cluster.write_file("mine.crt", &svid.chain_pem());
    setup.cluster.write_file("mine.key", &svid.key_pem());
    setup.cluster.set_conf("ssl = on\nssl_cert_file = 'mine.crt'\nssl_key_file = 'mine.key'");
}

fn admin(cluster: &Cluster, statements: &str) -> String {
    cluster.sql("postgres", "postgres", statements)
}

/// Everything of a server that a set-up may change.
fn state(setup: &Setup) -> Vec<String> {
    let data = setup.cluster.data_directory();
    let file = |name: &str| std::fs::read_to_string(data.join(name)).unwrap();
    let mut altered: Vec<String> = file("postgresql.auto.conf")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    altered.sort_unstable();
    let mut names: Vec<String> = std::fs::read_dir(&data)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("pgsvid"))
        .collect();
    names.sort_unstable();
    vec![
        file("pg_hba.conf"),
        file("pg_ident.conf"),
        altered.join("\n"),
        names.join(" "),
        admin(&setup.cluster, "SELECT rolname, rolcanlogin FROM pg_roles ORDER BY 1"),
        admin(&setup.cluster, "SELECT proacl FROM pg_proc WHERE proname = 'pg_reload_conf'"),
    ]
}

/// Logs in over TCP as that role with the certificate in `directory`, and asks who it is.
fn login(cluster: &Cluster, directory: &Path, role: &str) -> PsqlOutput {
    cluster.client(directory, role, "").script("SELECT current_user").run()
}
