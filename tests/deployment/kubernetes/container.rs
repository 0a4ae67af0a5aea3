//! A container as the kubelet creates it: with runc, from the manifest's own values.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use test_support::{Account, Program, eventually};

use test_support::LIMIT;

/// What an image brings: where its programs are, and what runs if the manifest has no command.
pub(crate) struct Image {
    /// Path in the container → path here; read-only.
    pub(crate) binds: Vec<(String, PathBuf)>,
    pub(crate) entrypoint: &'static str,
    pub(crate) path: String,
    /// Small files of its own, such as /etc/passwd.
    pub(crate) files: Vec<(&'static str, String)>,
}

/// Where a container lives: what the kubelet has prepared.
pub(crate) struct Place {
    /// For bundles and runc's state.
    pub(crate) directory: PathBuf,
    /// `/proc/…/ns/net` of the pod.
    pub(crate) network: PathBuf,
    /// Name of a volume → path here.
    pub(crate) volumes: Vec<(String, PathBuf)>,
    /// Variables that the manifest leaves to the cluster, and those of the test's.
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) pod: Value,
}

/// A container that runs; dropped, it is killed.
pub(crate) struct Container {
    name: String,
    state: PathBuf,
    program: Program,
}

impl Container {
    /// Starts what the manifest calls `name`.
    #[track_caller]
    pub(crate) fn start(place: &Place, list: &str, name: &str, image: &Image) -> Self {
        let all = place.pod["spec"][list].as_array().unwrap();
        let spec = all.iter().find(|container| container["name"] == name).unwrap();
        let id = format!("pgsvid-{}-{name}", std::process::id() ^ fastrand());
        let bundle = place.directory.join(&id);
        let root = bundle.join("rootfs");
        fs::create_dir_all(root.join("etc")).unwrap();
        for (path, text) in &image.files {
            write(&root.join(path.trim_start_matches('/')), text);
        }
        let config = configuration(place, spec, image);
        write(&bundle.join("config.json"), &config.to_string());
        let state = place.directory.join("runc");
        let arguments = ["--root".as_ref(), state.as_os_str(), "run".as_ref(), "--bundle".as_ref()];
        let arguments = arguments.into_iter().chain([bundle.as_os_str(), id.as_ref()]);
        let program = Program::spawn_as(Account::current(), runc(), arguments, &[]);
        Self { name: id, state, program }
    }

    /// Waits until it runs, and what is in it can be executed.
    #[track_caller]
    pub(crate) fn wait_running(&self) {
        eventually(LIMIT, format!("{} runs", self.name), || {
            let output = self.runc(&["state"], &[]);
            String::from_utf8_lossy(&output.stdout).contains("\"status\": \"running\"")
        });
    }

    /// Runs a command in it, as an exec probe does.
    pub(crate) fn exec(&self, command: &[String]) -> Output {
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        self.runc(&["exec"], &command)
    }

    /// Whether the manifest's probe passes.
    pub(crate) fn probe(&self, place: &Place, list: &str, kind: &str) -> bool {
        let all = place.pod["spec"][list].as_array().unwrap();
        let spec =
            all.iter().find(|container| self.name.ends_with(container["name"].as_str().unwrap()));
        let command =
            crate::kubernetes::manifests::strings(&spec.unwrap()[kind]["exec"]["command"]);
        assert!(!command.is_empty(), "{} has no {kind}", self.name);
        self.exec(&command).status.success()
    }

    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    fn runc(&self, command: &[&str], more: &[&str]) -> Output {
        let mut runc = Command::new(runc());
        runc.arg("--root").arg(&self.state).args(command).arg(&self.name).args(more);
        runc.output().unwrap()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // With its cgroup.
        let _ = self.runc(&["delete", "--force"], &[]);
    }
}

fn fastrand() -> u32 {
    use std::hash::{BuildHasher as _, RandomState};
    u32::try_from(RandomState::new().hash_one(0) >> 40).unwrap()
}

fn runc() -> PathBuf {
    let found = ["/usr/sbin/runc", "/usr/bin/runc"].iter().map(PathBuf::from);
    found.into_iter().find(|path| path.exists()).expect("runc is missing: scripts/test installs it")
}

fn write(path: &Path, text: &str) {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;

    let mut file = fs::File::create(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    // Whatever the umask says: some are read by others, and one is a program.
    file.set_permissions(fs::Permissions::from_mode(0o755)).unwrap();
}

/// The manifest's container as the Open Container Initiative's runtime specification has it.
fn configuration(place: &Place, spec: &Value, image: &Image) -> Value {
    let pod = &place.pod["spec"]["securityContext"];
    let own = &spec["securityContext"];
    let setting = |name: &str| if own[name].is_null() { &pod[name] } else { &own[name] };
    // Nothing else is translated.
    assert_eq!(setting("capabilities")["drop"], json!(["ALL"]));
    assert_eq!(setting("runAsNonRoot"), true);

    let list = |name: &str| crate::kubernetes::manifests::strings(&spec[name]);
    let mut arguments = list("command");
    if arguments.is_empty() {
        arguments.push(image.entrypoint.to_owned());
    }
    arguments.extend(list("args"));

    let mut variables = vec![format!("PATH={}", image.path)];
    for variable in spec["env"].as_array().into_iter().flatten() {
        let name = variable["name"].as_str().unwrap();
        let given = place.variables.iter().find(|(given, _)| given == name);
        let value = variable["value"].as_str().or(given.map(|(_, value)| value.as_str()));
        variables
            .push(format!("{name}={}", value.unwrap_or_else(|| panic!("{name} has no value"))));
    }
    // What attestation does in a cluster, where each pod is given its own identity alone.
    let identity = place.variables.iter().find(|(name, _)| name == "PGSVID_SPIFFE_ID").unwrap();
    variables.push(format!("PGSVID_SPIFFE_ID={}", identity.1));

    let bind = |destination: &str, source: &Path, read_only: bool| {
        let mode = if read_only { "ro" } else { "rw" };
        json!({ "destination": destination, "type": "bind", "source": source, "options": ["rbind", mode] })
    };
    let mut mounts = vec![
        json!({ "destination": "/proc", "type": "proc", "source": "proc" }),
        json!({ "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] }),
        json!({ "destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "nodev", "mode=1777"] }),
    ];
    mounts.extend(image.binds.iter().map(|(path, source)| bind(path, source, true)));
    for mount in spec["volumeMounts"].as_array().unwrap() {
        let name = mount["name"].as_str().unwrap();
        let volume = place.volumes.iter().find(|(volume, _)| volume == name);
        let (_, source) = volume.unwrap_or_else(|| panic!("there is no volume {name}"));
        mounts.push(bind(mount["mountPath"].as_str().unwrap(), source, mount["readOnly"] == true));
    }

    json!({
        "ociVersion": "1.0.2",
        "process": {
            "args": arguments,
            "env": variables,
            "cwd": "/",
            "user": {
                "uid": setting("runAsUser"),
                "gid": setting("runAsGroup"),
                "additionalGids": [pod["fsGroup"]],
            },
            "capabilities": {},
            "noNewPrivileges": *setting("allowPrivilegeEscalation") == false,
        },
        "root": { "path": "rootfs", "readonly": setting("readOnlyRootFilesystem") },
        "mounts": mounts,
        "linux": {
            "namespaces": [
                { "type": "network", "path": place.network },
                { "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" },
            ],
            "resources": resources(&spec["resources"]["limits"]),
        },
    })
}

fn resources(limits: &Value) -> Value {
    let mut resources = json!({});
    if let Some(memory) = limits["memory"].as_str() {
        resources["memory"]["limit"] = json!(bytes(memory));
    }
    if let Some(cpu) = limits["cpu"].as_str() {
        let thousandths: u64 = cpu.strip_suffix('m').unwrap().parse().unwrap();
        resources["cpu"] = json!({ "period": 100_000, "quota": thousandths * 100 });
    }
    resources
}

/// `64Mi` in bytes.
pub(crate) fn bytes(quantity: &str) -> u64 {
    let number = quantity.strip_suffix("Mi").expect("quantities in Mi");
    number.parse::<u64>().unwrap() * 1024 * 1024
}
