//! A container engine for one test, without networks except "none" and "host", and with nothing left behind.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use test_support::{Account, Directory, LIMIT, Program, eventually};

use crate::packaging::{root, standard_output};

/// Debian's package docker.io: an engine and the client that belongs to it.
const DAEMON: &str = "/usr/sbin/dockerd";
const CLIENT: &str = "/usr/bin/docker";

pub(crate) struct Engine {
    daemon: Program,
    directory: Directory,
}

impl Engine {
    /// Starts it and packs the image `pgsvid:test`.
    #[track_caller]
    pub(crate) fn with_image() -> Self {
        for path in [DAEMON, CLIENT] {
            assert!(Path::new(path).exists(), "there is no {path}: apt-get install docker.io");
        }
        let directory = Directory::new();
        let socket = format!("unix://{}", directory.join("s").display());
        let at = |name: &str| directory.join(name).display().to_string();
        let daemon = Program::spawn_as(
            Account::current(),
            DAEMON,
            [
                "--host",
                &socket,
                "--data-root",
                &at("data"),
                "--exec-root",
                &at("exec"),
                "--pidfile",
                &at("pid"),
                "--iptables=false",
                "--ip6tables=false",
                "--bridge=none",
            ],
            &[],
        );
        let engine = Self { daemon, directory };
        eventually(LIMIT, "the engine answers", || engine.docker(["version"]).status.success());
        engine.pack();
        engine
    }

    /// Packs the image.
    #[track_caller]
    pub(crate) fn pack(&self) {
        let output = Command::new(root().join("scripts/image"))
            .arg("pgsvid:test")
            .env("DOCKER", CLIENT)
            .env("DOCKER_HOST", self.host())
            .output()
            .unwrap();
        standard_output(&output);
    }

    /// Runs the client to its end.
    pub(crate) fn docker<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Output {
        Command::new(CLIENT)
            .args(arguments)
            .env("DOCKER_HOST", self.host())
            .output()
            .expect("runs docker")
    }

    /// Runs a container of the image, and watches what it writes. It has no capability, cannot write to its root, and has
    /// no way to more.
    #[track_caller]
    pub(crate) fn run(&self, name: &str, options: &[String], arguments: &[String]) -> Program {
        let hardening = [
            "run",
            "--rm",
            "--name",
            name,
            "--read-only",
            "--cap-drop",
            "ALL",
            "--security-opt",
            "no-new-privileges",
        ];
        let all = hardening.map(str::to_owned).into_iter();
        let all = all.chain(options.iter().cloned()).chain(["pgsvid:test".to_owned()]);
        Program::spawn_as(
            Account::current(),
            PathBuf::from(CLIENT),
            all.chain(arguments.iter().cloned()),
            &[("DOCKER_HOST", &self.host())],
        )
    }

    fn host(&self) -> String {
        format!("unix://{}", self.directory.join("s").display())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let containers = self.docker(["ps", "--quiet"]);
        for container in String::from_utf8_lossy(&containers.stdout).lines() {
            self.docker(["rm", "--force", container]);
        }
        if std::thread::panicking() {
            return;
        }
        self.daemon.terminate(LIMIT);
        // Containers that use the host's network leave it mounted, and the directory could not be removed.
        let left = self.directory.join("exec/netns/default");
        if left.exists() {
            standard_output(&Command::new("umount").arg(left).output().unwrap());
        }
    }
}
