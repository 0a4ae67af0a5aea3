//! Three nodes, their store and their clients, each with an SVID of its own that a pgsvid renews.

use std::thread::sleep;
use std::time::Duration;

use dev_agent::{DevAgent, Entry, Svid};
use test_support::{Directory, Etcd, Patroni, Program, Served, Signal, eventually};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
/// Longer than a change of the leader takes: its lock is kept for twenty seconds.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);
const NAMES: [&str; 3] = ["one", "two", "three"];
const ID: &str = "spiffe://example.org/patroni/";

pub(crate) struct Node {
    pub(crate) patroni: Patroni,
    pub(crate) files: Directory,
    /// Whether it should be up.
    pub(crate) is_up: bool,
    pub(crate) pgsvid: Program,
}

/// Fields end in this order.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    pub(crate) etcd: Etcd,
    /// Of the client, with a service file for each node.
    pub(crate) clients: Vec<Directory>,
    pub(crate) agent: DevAgent,
    _pgsvids: Vec<Program>,
    _other: Directory,
    // etcd reads its files by these names as long as it runs.
    _of_etcd: Directory,
}

pub(crate) fn entries() -> Vec<Entry> {
    let mut entries: Vec<_> = NAMES
        .iter()
        .map(|name| Entry::new(format!("{ID}{name}")).dns(*name).dns("localhost"))
        .collect();
    entries.push(Entry::new(format!("{ID}etcd")).dns("localhost"));
    entries.push(Entry::new(format!("{ID}client")).dns("dbclient"));
    entries
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let other = Directory::new();
        let mut agent = DevAgent::builder(other.join("agent.sock")).automatic(false);
        for entry in entries() {
            agent = agent.entry(entry);
        }
        let agent = agent.start().unwrap();
        let endpoint = agent.endpoint();
        let mut pgsvids = Vec::new();
        let of_etcd = Directory::new();
        pgsvids.push(run(&other, "etcd", &of_etcd, &endpoint, ""));
        wait_published(&of_etcd);
        let etcd = Etcd::with_tls(of_etcd.path());
        let nodes = NAMES.iter().map(|name| Node::start(name, &etcd, &other, &endpoint));
        let nodes: Vec<_> = nodes.collect();
        let clients = nodes.iter().map(|node| {
            let directory = Directory::new();
            let more = format!(
                "[files.service]\nname = 'db'\noptions = {{ host = 'localhost', port = {}, user = 'dbclient', dbname = 'postgres', connect_timeout = 10 }}\n",
                node.patroni.port()
            );
            let pgsvid = run(&other, "client", &directory, &endpoint, &more);
            wait_published(&directory);
            (directory, pgsvid)
        });
        let (clients, of_clients): (Vec<_>, Vec<_>) = clients.unzip();
        pgsvids.extend(of_clients);
        let cluster = Self {
            nodes,
            etcd,
            clients,
            agent,
            _pgsvids: pgsvids,
            _other: other,
            _of_etcd: of_etcd,
        };
        cluster.bring_up();
        cluster
    }

    /// Starts the first node, and then the others, which copy it.
    fn bring_up(&self) {
        let [first, rest @ ..] = &self.nodes[..] else { panic!("there are no nodes") };
        first.patroni.start();
        first.patroni.wait_primary();
        let sql = "CREATE ROLE pgsvid LOGIN; GRANT EXECUTE ON FUNCTION pg_reload_conf() TO pgsvid; CREATE ROLE dbclient LOGIN";
        first.patroni.try_sql(sql).unwrap();
        for node in rest {
            node.patroni.start();
        }
        self.assert_all_follow();
        self.assert_all_serve_the_newest();
    }

    /// The node whose PostgreSQL is writable.
    #[track_caller]
    pub(crate) fn primary(&self) -> usize {
        eventually(LIMIT, "there is a primary", || {
            (0..self.nodes.len()).find(|at| self.nodes[*at].is_up && self.nodes[*at].is_writable())
        })
    }

    /// Each node that is up serves the newest set, by PostgreSQL and by Patroni.
    #[track_caller]
    pub(crate) fn assert_all_serve_the_newest(&self) {
        for (at, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.is_up) {
            let name = node.patroni.name();
            let newest = || self.svid(at).leaf().to_vec();
            eventually(LIMIT, format_args!("PostgreSQL {name} serves the newest"), || {
                pause(Served::at(node.patroni.port()).is_ok_and(|it| it.leaf == newest()))
            });
            eventually(
                LIMIT,
                format_args!("the REST API {name} serves the newest:\n{}", node.said()),
                || pause(node.patroni.served().is_ok_and(|it| it == newest())),
            );
        }
    }

    /// The newest SVID of a node.
    pub(crate) fn svid(&self, at: usize) -> Svid {
        let wanted = format!("{ID}{}", NAMES[at]);
        let entry = entries().iter().position(|entry| entry.spiffe_id() == wanted).unwrap();
        self.agent.svids()[entry].clone()
    }

    /// One node is the primary, and the others stream from it.
    #[track_caller]
    pub(crate) fn assert_all_follow(&self) {
        let wanted = (self.nodes.len() - 1).to_string();
        eventually(LIMIT, "the others stream from the primary", || {
            let primary = self.primary();
            let sql = "SELECT count(*) FROM pg_stat_replication r JOIN pg_stat_ssl s USING (pid) \
                 WHERE r.state = 'streaming' AND s.ssl AND s.client_dn IS NOT NULL";
            pause(self.nodes[primary].patroni.try_sql(sql).is_ok_and(|it| it == wanted))
        });
    }
}

impl Node {
    fn start(name: &str, etcd: &Etcd, other: &Directory, endpoint: &str) -> Self {
        let (patroni, files) = (Patroni::new(name, etcd), Directory::new());
        let more = format!(
            "patroni = 'pgsvid.yml'\n[postgres]\nhost = '{}'\nport = {}\n[patroni]\naddress = '127.0.0.1:{}'\n",
            patroni.socket_directory().display(),
            patroni.port(),
            patroni.rest_port()
        );
        let pgsvid = run(other, name, &files, endpoint, &more);
        wait_published(&files);
        patroni.configure("", "", "");
        patroni
            .write("20-setup.yml", &printed(&other.join(&format!("{name}.toml")), name, &patroni));
        patroni.link(&files.join("pgsvid.yml"));
        Self { patroni, files, is_up: true, pgsvid }
    }

    /// Whether its PostgreSQL is writable.
    pub(crate) fn is_writable(&self) -> bool {
        self.patroni.try_sql("SELECT pg_is_in_recovery()").is_ok_and(|it| it == "f")
    }

    /// Ends Patroni and PostgreSQL at once, as a power failure does.
    pub(crate) fn crash(&mut self) {
        self.is_up = false;
        self.patroni.kill();
        let pid = std::fs::read_to_string(self.patroni.data_directory().join("postmaster.pid"));
        let pid = pid.unwrap_or_default();
        if let Some(pid) = pid.lines().next().and_then(|pid| pid.trim().parse().ok()) {
            test_support::Process(pid).signal(Signal::KILL);
        }
    }

    /// How often its Patroni was asked to reload.
    pub(crate) fn requests(&self) -> usize {
        self.pgsvid.lines().iter().filter(|line| line.contains("\"patroni-reloads\"")).count()
    }

    /// The last lines of its pgsvid.
    pub(crate) fn said(&self) -> String {
        let lines = self.pgsvid.lines();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }
}

/// What `setup patroni-yaml` prints, with the lines of this test below its own.
fn printed(configuration: &std::path::Path, node: &str, patroni: &Patroni) -> String {
    let path = configuration.display().to_string();
    let program = Program::spawn(PGSVID, ["setup", "patroni-yaml", "--config", &path], &[]);
    program.wait_exit(LIMIT);
    let yaml = program.standard_output();
    assert!(!yaml.is_empty(), "{}", program.standard_error());
    let hba = "  - 'hostssl all dbclient all cert'\n  pg_ident:\n";
    // Its own lines are there; a comment says that those of the other nodes are needed, too.
    let lines_of = |name: &str| {
        let roles = ["postgres", "replicator", "rewind_user"];
        roles.map(|role| format!("  - 'pgsvid_nodes \"{name}\" {role}'\n"))
    };
    for line in lines_of(node) {
        assert!(yaml.contains(&line), "{line}: {yaml}");
    }
    assert!(yaml.contains("for EACH node"), "{yaml}");
    let others = NAMES.into_iter().filter(|name| *name != node);
    let names: Vec<String> = others.flat_map(lines_of).collect();
    let yaml = yaml.replacen("  pg_ident:\n", &(hba.to_owned() + &names.concat()), 1);
    let sockets = patroni.socket_directory().display();
    let parameters = format!("  parameters:\n    unix_socket_directories: '{sockets}'\n");
    yaml.replacen("  parameters:\n", &parameters, 1)
}

/// Starts a pgsvid for one of the identities.
fn run(
    other: &Directory,
    identity: &str,
    files: &Directory,
    endpoint: &str,
    more: &str,
) -> Program {
    let name = if other.join(&format!("{identity}.toml")).exists() {
        format!("{identity}{}", files.path().file_name().unwrap().display())
    } else {
        identity.to_owned()
    };
    // The names are those of the nodes.
    let is_node = NAMES.contains(&identity);
    let names = if is_node { format!("dns_names = ['{identity}']\n") } else { String::new() };
    let configuration = other.write(
        &format!("{name}.toml"),
        format!(
            "[workload_api]\nendpoint = '{endpoint}'\n[svid]\nspiffe_id = '{ID}{identity}'\n{names}[log]\nformat = 'json'\n[files]\n\
             directory = '{files}'\npublish_every = '0s'\n{more}"
        ),
        0o644,
    );
    let path = configuration.display().to_string();
    Program::spawn(PGSVID, ["run", "--config", &path], &[])
}

fn wait_published(files: &Directory) {
    eventually(LIMIT, "all files are published", || {
        ["svid.pem", "svid_key.pem", "svid_bundle.pem"].iter().all(|name| files.join(name).exists())
    });
}

/// The result, after a moment: each of these checks starts programs.
pub(crate) fn pause(result: bool) -> bool {
    if !result {
        sleep(Duration::from_millis(200));
    }
    result
}
