//! The sandbox as the configuration needs it: what this process will have to read, write and connect to.

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
use crate::config::Config;
use crate::sandbox::{self, InForce, Rules};
use crate::source::Endpoint;
use crate::sql;
use crate::users;
use crate::watching::{self, Watching};

/// How often directories of sockets are looked at where the kernel does not tell of changes.
const LOOK: Duration = Duration::from_secs(20);

/// The umask. Each file is made with the mode that it keeps, and those of generations are open to others at most to read.
const LEAVES_MODES: u32 = 0o022;

/// What the metrics tell of this process is in these.
const ABOUT_ITSELF: [&str; 2] = ["/proc/self/stat", "/proc/self/status"];

/// A configuration, and the sandbox that was entered for it.
pub struct Confined {
    pub(super) config: Config,
    /// `None` if it is turned off.
    in_force: Option<InForce>,
    /// Those whose sockets alone can be connected to.
    sockets: Vec<SocketDirectory>,
    /// [`ABOUT_ITSELF`], open for as long as they are read: once the kernel is short of memory, it forgets what is not open,
    /// and makes it anew as another file, which no rule is for.
    pub(super) held: Vec<File>,
}

/// Enters the sandbox that the configuration asks for. To be called before any other thread is started.
///
/// Standard input becomes /dev/null in any case. Blocks while a name is looked up, since
/// that cannot be done afterwards.
pub fn confine(mut config: Config, manager: Option<&Notify>) -> anyhow::Result<Confined> {
    turn_off(rustix::stdio::dup2_stdin);
    umask(Mode::from_raw_mode(LEAVES_MODES));
    // It cannot be found out afterwards.
    let _ = users::nobody_here();
    if !config.sandbox.enabled {
        return Ok(Confined { config, in_force: None, sockets: Vec::new(), held: Vec::new() });
    }
    for server in &mut config.rotation.servers {
        let verify = &mut server.verify;
        let wanted = verify.target.to_string();
        verify.target = verify.target.clone().resolved().with_context(|| {
            format!(
                "cannot look up {wanted}, which the sandbox does not let pgsvid do later; set postgres.verify to an \
                 address, or sandbox.enabled to false"
            )
        })?;
        verify.looks_up = false;
        if server.session.password_file.is_some() {
            sql::prepare_for_passwords();
        }
        server.viewpoint.remember(&server.session);
    }
    let rules = Rules { connected: manager.map(AsRawFd::as_raw_fd), ..rules(&config) };
    let mut sockets = directories_of(&rules.sockets);
    let held = ABOUT_ITSELF.into_iter().filter_map(|path| File::open(path).ok()).collect();
    let in_force = sandbox::enter(&rules)
        .context("cannot enter the sandbox; sandbox.enabled = false does without")?;
    if !in_force.barriers.sockets() {
        sockets.clear();
    }
    Ok(Confined { config, in_force: Some(in_force), sockets, held })
}

impl Confined {
    /// Whether another directory at the published path would be out of reach.
    pub(super) fn is_bound_to_directory(&self) -> bool {
        self.in_force.as_ref().is_some_and(|in_force| in_force.barriers.files())
    }

    /// Ends with an error once sockets are out of reach for good; `None` where the kernel leaves them open.
    pub(super) fn until_cut_off(
        &self,
        watching: &Watching,
    ) -> Option<impl Future<Output = anyhow::Result<()>> + use<>> {
        (!self.sockets.is_empty()).then(|| until_replaced(self.sockets.clone(), watching.clone()))
    }

    /// Says what is in force: one line.
    pub(super) fn announce(&self) {
        let Some(in_force) = &self.in_force else {
            warn!(
                event = "sandbox-off",
                "no sandbox, as configured: pgsvid can do whatever its user can; core dumps are off all the same"
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
        for path in &in_force.absent {
            warn!(event = "sandbox-path-missing",
                path = %path.display(),
                "nothing is there yet: what comes to lie there stays closed to pgsvid until it is started again"
            );
        }
    }
}

/// Replaces standard output by /dev/null: nothing is printed from here on.
pub fn turn_off_output() {
    turn_off(rustix::stdio::dup2_stdout);
}

/// Where there is no /dev/null, the descriptor stays what it is.
fn turn_off(replace: fn(File) -> rustix::io::Result<()>) {
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        let _ = replace(null);
    }
}

/// What `run` and `fetch` need from here on. The configuration was read already.
fn rules(config: &Config) -> Rules {
    let publish = &config.publish;
    let mut rules = Rules {
        write: vec![publish.directory.clone()],
        read: ABOUT_ITSELF.map(PathBuf::from).into(),
        group: publish.group,
        modes: vec![publish.certificate_mode, publish.private_key_mode],
        ..Rules::default()
    };
    for file in &config.rotation.extra_authorities {
        rules.read.extend(around(file));
        rules.files.push(file.clone());
    }
    for server in &config.rotation.servers {
        if let Some(file) = &server.session.password_file {
            rules.read.extend(around(file));
            rules.files.push(file.clone());
        }
        rules.sockets.extend(with_target(server.session.socket()));
        rules.connect.extend(server.verify.target.port(server.session.port));
    }
    match &config.source.endpoint {
        Endpoint::Tcp(address) => rules.connect.push(address.port()),
        Endpoint::Unix(path) => rules.sockets.extend(with_target(path.clone())),
    }
    rules.read.sort_unstable();
    rules.read.dedup();
    rules
}

/// The directory of a file that somebody will replace by a rename, and of what it is a link to.
fn around(file: &Path) -> Vec<PathBuf> {
    with_target(file.to_owned()).iter().map(|path| watching::parent(path)).collect()
}

/// A path, and that of what it is a link to.
fn with_target(path: PathBuf) -> Vec<PathBuf> {
    let target = path.canonicalize().ok();
    [path].into_iter().chain(target).collect()
}

/// A directory in which sockets lie, and which one it was, if there was one.
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

/// Ends when a directory of sockets is another one than it was: the sandbox, whose rules are tied to directories, closes it.
async fn until_replaced(
    directories: Vec<SocketDirectory>,
    watching: Watching,
) -> anyhow::Result<()> {
    let mut changes = watching.directories(directories.iter().map(|(path, _)| path.clone()));
    loop {
        for (path, was) in &directories {
            if identity(path).is_some_and(|is| Some(is) != *was) {
                anyhow::bail!(
                    "{} was made anew, and the sandbox lets this process connect to sockets of the former directory only; \
                     it ends, for the next one to use the new directory",
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
    async fn a_directory_of_sockets_that_is_made_anew_is_noticed_and_another_socket_in_it_is_not() {
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
        // The number of the former one is not free yet.
        std::fs::rename(&directory, place.path().join("former")).unwrap();
        assert!(tokio::time::timeout(2 * LOOK, &mut waiting).await.is_err());
        std::fs::create_dir(&directory).unwrap();
        let error = tokio::time::timeout(2 * LOOK, &mut waiting).await.unwrap().unwrap_err();
        assert!(error.to_string().contains(&directory.display().to_string()), "{error}");
    }

    #[test]
    fn one_that_is_not_there_yet_is_another_one_once_it_is() {
        let directories = directories_of(&[PathBuf::from("/nowhere/at/all/agent.sock")]);
        assert_eq!(directories, [(PathBuf::from("/nowhere/at/all"), None)]);
    }
}
