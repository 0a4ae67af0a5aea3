//! The sandbox that the configuration needs: what this process must read, write and connect to.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use rustix::fs::Mode;
use rustix::process::umask;
use tracing::{info, warn};

use super::Notify;
use super::reach::{Reach, around};
use crate::config::Config;
use crate::consumers::{ClientLogin, Host, ServedAddress};
use crate::resolve;
use crate::sandbox::{self, InForce, Rules};
use crate::source::{Endpoint, Settings, files};
use crate::sql;
use crate::tokens::SharedDirectory;
use crate::users;
use crate::verify;
use crate::watching::{self, Watching};

/// How often directories of sockets are checked if the kernel does not report changes.
const LOOK: Duration = Duration::from_secs(20);

/// The umask. Each file is created with its final mode; those of generations are at most readable for others.
const LEAVES_MODES: u32 = 0o022;

/// The files from which the metrics about this process come.
const ABOUT_ITSELF: [&str; 2] = ["/proc/self/stat", "/proc/self/status"];

/// A configuration, and the sandbox that was entered for it.
pub struct Confined {
    pub(super) config: Config,
    /// `None` if it is turned off.
    in_force: Option<InForce>,
    /// The directories whose sockets are the only ones to connect to.
    sockets: Vec<SocketDirectory>,
    /// The directories in which certificate files can be read, if these are the source and other directories are closed.
    reach: Option<Reach>,
    /// The directories of tokens that hold something else, too.
    shared: Vec<SharedDirectory>,
    /// [`ABOUT_ITSELF`], kept open as long as they are needed: when memory is short, the kernel forgets files in /proc that
    /// are not open, and creates them again as other files, which no rule covers.
    pub(super) held: Vec<File>,
}

/// Enters the sandbox that the configuration requires. Call it before any other thread is started.
///
/// Standard input becomes /dev/null in any case. Blocks while a name is looked up, because that is impossible later.
pub fn confine(mut config: Config, manager: Option<&Notify>) -> anyhow::Result<Confined> {
    turn_off(rustix::stdio::dup2_stdin);
    umask(Mode::from_raw_mode(LEAVES_MODES));
    // The sandbox would prevent this look-up later.
    let _ = users::nobody_here();
    if let Settings::Files(settings) = &mut config.source {
        // The sandbox does not permit `statfs` later.
        settings.is_silent = files::are_silent(&settings.paths);
    }
    if !config.sandbox.enabled {
        let (sockets, shared, held) = (Vec::new(), Vec::new(), Vec::new());
        return Ok(Confined { config, in_force: None, sockets, reach: None, shared, held });
    }
    for pooler in &mut config.rotation.poolers {
        look_up(&mut pooler.verify, "pgbouncer.verify")?;
    }
    if let Some(api) = &mut config.rotation.patroni {
        look_up(&mut api.verify, "patroni.address")?;
    }
    for client in &mut config.rotation.clients {
        client.hosts.iter_mut().for_each(Host::confine);
    }
    if let Some(secrets) = &mut config.rotation.secrets
        && secrets.kubernetes.server.is_named()
    {
        // Later name servers are asked within the sandbox. These addresses count if they do not answer.
        secrets.kubernetes.server.look_up();
    }
    for server in &mut config.rotation.servers {
        look_up(&mut server.verify, "postgres.verify")?;
        if server.session.password_file.is_some() {
            sql::prepare_for_passwords();
        }
        server.viewpoint.remember(&server.session);
    }
    let rules = Rules { connected: manager.map(AsRawFd::as_raw_fd), ..rules(&config) };
    let mut sockets = directories_of(&rules.sockets);
    let mut reach = config.source.files().map(|it| Reach::of(&it.paths, it.is_silent));
    let held = ABOUT_ITSELF.into_iter().filter_map(|path| File::open(path).ok()).collect();
    let published = config.place.directory().map(|it| it.directory.as_path());
    let tokens = config.tokens.iter();
    let mut shared: Vec<_> = tokens.flat_map(|it| it.shared_directories(published)).collect();
    let in_force = sandbox::enter(&rules)
        .context("cannot enter the sandbox; sandbox.enabled = false runs without it")?;
    if !in_force.barriers.sockets() {
        sockets.clear();
    }
    if !in_force.barriers.files() {
        reach = None;
        shared.clear();
    }
    Ok(Confined { config, in_force: Some(in_force), sockets, reach, shared, held })
}

/// Looks up the address to probe. `key` is where it is configured.
fn look_up(verify: &mut verify::Settings, key: &str) -> anyhow::Result<()> {
    let wanted = verify.target.to_string();
    verify.target = verify.target.clone().resolved().with_context(|| {
        format!(
            "cannot look up {wanted}, which the sandbox does not let pgsvid do later; set {key} to an address, or \
             sandbox.enabled to false"
        )
    })?;
    verify.looks_up = false;
    Ok(())
}

impl Confined {
    /// Whether another directory at the published path would be out of reach.
    pub(super) fn is_bound_to_directory(&self) -> bool {
        self.in_force.as_ref().is_some_and(|in_force| in_force.barriers.files())
    }

    /// Ends with an error once sockets are out of reach for good; `None` if the sandbox does not restrict sockets, or none
    /// are needed.
    pub(super) fn until_cut_off(
        &self,
        watching: &Watching,
    ) -> Option<impl Future<Output = anyhow::Result<()>> + use<>> {
        (!self.sockets.is_empty()).then(|| until_replaced(self.sockets.clone(), watching.clone()))
    }

    /// Ends with an error once certificate files lead to a directory that is out of reach; `None` if there are no such files.
    pub(super) fn until_files_cut_off(
        &self,
        watching: &Watching,
    ) -> Option<impl Future<Output = anyhow::Result<()>> + use<>> {
        self.reach.clone().map(|reach| reach.until_left(watching.clone()))
    }

    /// Logs what is in force: one line.
    pub(super) fn announce(&self) {
        let Some(in_force) = &self.in_force else {
            warn!(
                event = "sandbox-off",
                "no sandbox, as configured: pgsvid can do whatever its user can; core dumps are still off"
            );
            return;
        };
        let lacking = in_force.lacking();
        let kept = &in_force.capabilities;
        info!(
            event = "sandbox-entered",
            denied = in_force.denied().join(", "),
            lacking = (!lacking.is_empty()).then(|| lacking.join(", ")),
            capabilities = (!kept.is_empty()).then(|| kept.join(", ")),
            "sandbox entered"
        );
        for directory in &self.shared {
            let found = directory.finding();
            warn!(
                event = "sandbox-open",
                code = found.code.name(),
                cause = found.cause,
                fix = found.fix,
                "{}",
                found.text
            );
        }
        for path in &in_force.absent {
            warn!(event = "sandbox-path-missing",
                path = %path.display(),
                "this path does not exist yet: what is created there stays closed to pgsvid until it restarts"
            );
        }
    }
}

/// Replaces standard output by /dev/null: nothing is printed after this.
pub fn turn_off_output() {
    turn_off(rustix::stdio::dup2_stdout);
}

/// Without /dev/null, the descriptor stays unchanged.
fn turn_off(replace: fn(File) -> rustix::io::Result<()>) {
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        let _ = replace(null);
    }
}

/// What `run` and `fetch` need from here on. The configuration was read already.
fn rules(config: &Config) -> Rules {
    let publish = config.place.directory();
    let mut rules = Rules {
        write: publish.map(|it| it.directory.clone()).into_iter().collect(),
        read: ABOUT_ITSELF.map(PathBuf::from).into(),
        group: publish.and_then(|it| it.group),
        modes: config.place.files().map(|file| file.mode).collect(),
        ..Rules::default()
    };
    for file in config.tokens.iter().flat_map(crate::tokens::Settings::files) {
        rules.write.push(file.directory().to_owned());
        rules.modes.push(file.mode);
    }
    rules.write.sort_unstable();
    rules.write.dedup();
    rules.modes.sort_unstable();
    rules.modes.dedup();
    for file in &config.rotation.extra_authorities {
        read_again(&mut rules, file);
    }
    for file in config.place.password_files() {
        read_again(&mut rules, file);
    }
    for server in &config.rotation.servers {
        if let Some(file) = &server.session.password_file {
            read_again(&mut rules, file);
        }
        rules.sockets.extend(with_target(server.session.socket()));
        rules.connect.extend(server.verify.target.port(server.session.port));
    }
    for pooler in &config.rotation.poolers {
        rules.sockets.extend(with_target(pooler.console.socket()));
        rules.connect.extend(pooler.verify.target.port(pooler.console.port));
    }
    if let Some(api) = &config.rotation.patroni {
        rules.connect.extend(api.verify.target.port(0));
        if let Some(given) = &api.credentials {
            read_again(&mut rules, &given.password_file);
        }
    }
    for client in &config.rotation.clients {
        rules.connect.extend(client.hosts.iter().map(|host| host.port));
    }
    if let Some(secrets) = &config.rotation.secrets {
        let kubernetes = &secrets.kubernetes;
        rules.connect.push(kubernetes.server.port);
        let fields = secrets.targets.iter().flat_map(|it| it.fields.values());
        let passwords = fields.filter_map(|field| field.content.password_file());
        let files = [kubernetes.ca_file.as_path(), kubernetes.token_file.as_path()];
        for file in files.into_iter().chain(passwords) {
            read_again(&mut rules, file);
        }
    }
    for served in &config.rotation.served {
        rules.connect.push(served.port);
    }
    let secrets = config.rotation.secrets.as_ref();
    if config.rotation.served.iter().any(ServedAddress::looks_up)
        || config.rotation.clients.iter().any(ClientLogin::asks_name_servers)
        || secrets.is_some_and(|it| it.kubernetes.server.is_named())
    {
        rules.connect.push(resolve::PORT);
        for file in resolve::paths() {
            rules.read.extend(named(file));
        }
    }
    match &config.source {
        Settings::WorkloadApi(settings) => match &settings.endpoint {
            Endpoint::Tcp(address) => rules.connect.push(address.port()),
            Endpoint::Unix(path) => rules.sockets.extend(with_target(path.clone())),
        },
        Settings::Files(settings) => {
            for file in settings.paths.all() {
                read_again(&mut rules, file);
            }
        }
    }
    rules.read.sort_unstable();
    rules.read.dedup();
    rules
}

/// Permits reading a file again and again, also after another one was put in its place.
fn read_again(rules: &mut Rules, file: &Path) {
    rules.read.extend(around(file));
    rules.files.push(file.to_owned());
}

/// What the sandbox must permit for a file of /etc that is read again and again: the file, or the directory of its link's target, such as
/// /run/systemd/resolve. A directory that many programs use (/etc, /run, /tmp, a home) may hold secrets of others. It stays closed, so
/// another file that is put in the place of this one there is out of reach.
fn named(file: &Path) -> Option<PathBuf> {
    let target = file.canonicalize().ok()?;
    let directory = target.parent()?;
    let is_shared = directory.components().count() <= 2
        || ["/etc", "/home", "/root", "/var/tmp", "/dev/shm"]
            .iter()
            .any(|it| directory.starts_with(it));
    Some(if is_shared { target } else { directory.to_owned() })
}

/// A path, and that of its link target.
fn with_target(path: PathBuf) -> Vec<PathBuf> {
    let target = path.canonicalize().ok();
    [path].into_iter().chain(target).collect()
}

/// A directory with sockets, and its identity at the start, if it existed.
type SocketDirectory = (PathBuf, Option<(u64, u64)>);

fn directories_of(sockets: &[PathBuf]) -> Vec<SocketDirectory> {
    let mut directories: Vec<_> = sockets.iter().map(|socket| watching::parent(socket)).collect();
    directories.sort_unstable();
    directories.dedup();
    let with_identity = |path: PathBuf| {
        let identity = identity(&path);
        (path, identity)
    };
    directories.into_iter().map(with_identity).collect()
}

fn identity(directory: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(directory).ok().map(|found| (found.dev(), found.ino()))
}

/// Ends when a directory of sockets has been replaced: the sandbox, whose rules apply to directories, closes the new one.
async fn until_replaced(
    directories: Vec<SocketDirectory>,
    watching: Watching,
) -> anyhow::Result<()> {
    let mut changes = watching.directories(directories.iter().map(|(path, _)| path.clone()));
    loop {
        for (path, was) in &directories {
            if identity(path).is_some_and(|is| Some(is) != *was) {
                anyhow::bail!(
                    "{} was replaced. The sandbox allows only the directory that existed at the start, so pgsvid restarts its daemon",
                    path.display()
                );
            }
        }
        tokio::select! {
            () = changes.changed() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_recreated_directory_of_sockets_is_noticed_and_another_socket_in_it_is_not() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("agent");
        std::fs::create_dir(&directory).unwrap();
        let socket = directory.join("agent.sock");
        let directories = directories_of(&[socket.clone(), directory.join("other.sock")]);
        assert_eq!(directories.len(), 1);
        let waiting = until_replaced(directories, Watching::blind());
        tokio::pin!(waiting);
        std::fs::File::create(&socket).unwrap();
        assert!(tokio::time::timeout(2 * LOOK, &mut waiting).await.is_err());
        // The inode number of the old one is not free yet.
        std::fs::rename(&directory, place.path().join("former")).unwrap();
        assert!(tokio::time::timeout(2 * LOOK, &mut waiting).await.is_err());
        std::fs::create_dir(&directory).unwrap();
        let error = tokio::time::timeout(2 * LOOK, &mut waiting).await.unwrap().unwrap_err();
        assert!(error.to_string().contains(&directory.display().to_string()), "{error}");
    }

    #[test]
    fn a_directory_that_does_not_exist_yet_is_another_one_once_it_exists() {
        let directories = directories_of(&[PathBuf::from("/nowhere/at/all/agent.sock")]);
        assert_eq!(directories, [(PathBuf::from("/nowhere/at/all"), None)]);
    }

    #[test]
    fn a_file_in_a_directory_that_many_programs_use_opens_itself_alone() {
        let own = tempfile::tempdir_in("/tmp").unwrap();
        let inside = own.path().join("resolv.conf");
        std::fs::File::create(&inside).unwrap();
        assert_eq!(named(&inside), Some(own.path().canonicalize().unwrap()));
        let beside = tempfile::NamedTempFile::new_in("/tmp").unwrap();
        assert_eq!(named(beside.path()), Some(beside.path().canonicalize().unwrap()));
        let link = own.path().join("link");
        std::os::unix::fs::symlink(beside.path(), &link).unwrap();
        assert_eq!(named(&link), Some(beside.path().canonicalize().unwrap()));
        assert_eq!(named(Path::new("/etc/passwd")), Some(PathBuf::from("/etc/passwd")));
        assert_eq!(named(Path::new("/nowhere/resolv.conf")), None);
    }
}
