//! A pod without Kubernetes: what the kubelet and the drivers prepare before the first container starts.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use test_support::{Account, Directory, Installation, PgBouncer, Program, Tmpfs};

use crate::kubernetes::PGSVID;
use crate::kubernetes::container::{Image, Place, bytes};
use crate::kubernetes::manifests::Manifests;

/// A network of its own, and the volumes.
pub(crate) struct Pod {
    pub(crate) place: Place,
    pub(crate) address: &'static str,
    // Holds the network.
    pause: Program,
    _volatile: Vec<Tmpfs>,
    _directory: Directory,
}

impl Pod {
    /// Prepares the pod of the only workload. `agent` is the directory of the agent's socket, and `identity` the one that it gives
    /// the pod for.
    pub(crate) fn prepare(
        manifests: &Manifests,
        agent: &Path,
        identity: &str,
        address: &'static str,
    ) -> Self {
        let directory = Directory::new();
        let pod = manifests.pod().clone();
        let group = u32::try_from(pod["spec"]["securityContext"]["fsGroup"].as_u64().unwrap());
        let group = group.unwrap();
        let mut volatile = Vec::new();
        let mut volumes = Vec::new();
        for volume in pod["spec"]["volumes"].as_array().unwrap() {
            let name = volume["name"].as_str().unwrap();
            let path = directory.join(name);
            fs::create_dir(&path).unwrap();
            if let Some(map) = volume["configMap"].as_object() {
                let map_name = map["name"].as_str().unwrap();
                let data = &manifests.named("ConfigMap", map_name)["data"];
                let items = map.get("items").and_then(Value::as_array);
                for (key, text) in data.as_object().unwrap() {
                    let wanted = |item: &Value| item["key"] == *key && item["path"] == *key;
                    if items.is_none_or(|items| items.iter().any(wanted)) {
                        let mut file = fs::File::create(path.join(key)).unwrap();
                        file.write_all(text.as_str().unwrap().as_bytes()).unwrap();
                    }
                }
                fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
                volumes.push((name.to_owned(), path));
            } else if volume["csi"]["driver"] == "csi.spiffe.io" {
                volumes.push((name.to_owned(), agent.to_owned()));
            } else {
                // Root's, and writable for everybody: that is how the kubelet makes an emptyDir, fsGroup and all.
                let size = volume["emptyDir"]["sizeLimit"].as_str().map_or(64 << 20, bytes);
                let options = format!("size={size},mode=2777,gid={group}");
                volatile.push(Tmpfs::over(&path, &options));
                volumes.push((name.to_owned(), path));
            }
        }
        for claim in
            manifests.workload()["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten()
        {
            let name = claim["metadata"]["name"].as_str().unwrap();
            let path = directory.join(name);
            fs::create_dir(&path).unwrap();
            chown(&path, Some(0), Some(group)).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o2775)).unwrap();
            volumes.push((name.to_owned(), path));
        }

        let pause = Program::spawn_as(
            Account::current(),
            "/usr/bin/unshare",
            ["--net", "/usr/bin/sleep", "infinity"],
            &[],
        );
        let network = PathBuf::from(format!("/proc/{}/ns/net", pause.pid()));
        let mut variables = vec![
            ("PGSVID_SPIFFE_ID".to_owned(), identity.to_owned()),
            ("POSTGRES_PASSWORD".to_owned(), "0d4e9d62-4c52-4f63-b8e9-0f3f3f0a7f36".to_owned()),
        ];
        for map in manifests.of_kind("ConfigMap") {
            if let Some(service) = map["data"]["PGSERVICE"].as_str() {
                variables.push(("PGSERVICE".to_owned(), service.to_owned()));
            }
        }
        let place =
            Place { directory: directory.path().to_owned(), network, volumes, variables, pod };
        Self { place, address, pause, _volatile: volatile, _directory: directory }
    }

    /// Joins two pods' networks.
    pub(crate) fn connect(&self, other: &Self) {
        // The namespaces are there once the processes have got that far.
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        for pod in [self, other] {
            test_support::eventually(test_support::LIMIT, "the pod has a network", || {
                fs::read_link(&pod.place.network).is_ok_and(|network| network != own)
            });
        }
        run("ip", &["link", "add", "pod-a", "type", "veth", "peer", "name", "pod-b"]);
        for (pod, link) in [(self, "pod-a"), (other, "pod-b")] {
            run("ip", &["link", "set", link, "netns", &pod.pause.pid().to_string()]);
            pod.inside("ip", &["link", "set", "lo", "up"]);
            pod.inside("ip", &["address", "add", &format!("{}/24", pod.address), "dev", link]);
            pod.inside("ip", &["link", "set", link, "up"]);
        }
    }

    /// Runs a program in the pod's network alone.
    #[track_caller]
    pub(crate) fn inside(&self, program: &str, arguments: &[&str]) -> String {
        let network = format!("--net={}", self.place.network.display());
        let mut all = vec![network.as_str(), "--", program];
        all.extend(arguments);
        run("nsenter", &all)
    }
}

#[track_caller]
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// pgsvid's own: nothing but the program, and for a build that is not static the libraries of this machine.
pub(crate) fn pgsvid() -> Image {
    let mut binds = libraries();
    binds.push(("/pgsvid".to_owned(), PathBuf::from(PGSVID)));
    Image { binds, entrypoint: "/pgsvid", path: "/".to_owned(), files: Vec::new() }
}

/// PostgreSQL's: this machine's PostgreSQL, and the entry point below.
pub(crate) fn postgres(hosts: &str) -> Image {
    let bin = Installation::found().program("psql").parent().unwrap().to_owned();
    let mut binds = libraries();
    if !bin.starts_with("/usr") {
        let above = bin.parent().unwrap().to_owned();
        binds.push((above.display().to_string(), above));
    }
    let users = "root:x:0:0::/root:/bin/sh\npostgres:x:999:999::/var/lib/postgresql:/bin/sh\n";
    Image {
        binds,
        entrypoint: "/etc/docker-entrypoint.sh",
        path: format!("{}:/usr/local/bin:/usr/bin:/usr/sbin", bin.display()),
        files: vec![
            ("/etc/passwd", users.to_owned()),
            ("/etc/hosts", format!("127.0.0.1 localhost\n{hosts}\n")),
            ("/etc/nsswitch.conf", "hosts: files\n".to_owned()),
            ("/etc/docker-entrypoint.sh", ENTRYPOINT.to_owned()),
        ],
    }
}

/// PgBouncer's: this machine's, which is of Debian's version.
pub(crate) fn pgbouncer() -> Image {
    let program = PgBouncer::path();
    let directory = program.parent().unwrap().to_owned();
    let mut binds = libraries();
    if !directory.starts_with("/usr") {
        binds.push((directory.display().to_string(), directory.clone()));
    }
    // The command comes from the manifest.
    Image { binds, entrypoint: "", path: directory.display().to_string(), files: Vec::new() }
}

fn libraries() -> Vec<(String, PathBuf)> {
    let paths = ["/usr", "/bin", "/lib", "/lib64"];
    paths.iter().map(|path| ((*path).to_owned(), PathBuf::from(path))).collect()
}

/// What the image's documentation says of its own: an empty data directory is initialised, and each file of
/// /docker-entrypoint-initdb.d is executed by a server that nobody else can reach; then PostgreSQL takes the process over.
const ENTRYPOINT: &str = include_str!("docker-entrypoint.sh");
