//! docker/compose.yaml, without the images that it names: valid, hardened, and with command lines that pgsvid accepts.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::packaging::{built, root, standard_output};

/// As the engine would get it: extensions resolved, and defaults filled in.
fn compose() -> Value {
    let output = Command::new("docker-compose")
        .arg("--file")
        .arg(root().join("docker/compose.yaml"))
        .arg("config")
        .output()
        .expect("runs docker-compose (apt-get install docker-compose)");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, standard_output(&output).as_bytes()).unwrap();
    // docker-compose brings Debian's Python and its YAML.
    let script = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)";
    let output = Command::new("/usr/bin/python3")
        .args(["-c", script])
        .stdin(File::open(file.path()).unwrap())
        .output()
        .unwrap();
    serde_json::from_str(&standard_output(&output)).unwrap()
}

fn strings(value: &Value) -> Vec<String> {
    let all = value.as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_pgsvid_of_it_is_hardened_and_understands_its_command_line() {
    let compose = compose();
    let services = compose["services"].as_object().unwrap();
    let mut checked = 0;
    for (name, service) in services.iter().filter(|(_, service)| service["image"] == "pgsvid:local")
    {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(strings(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(strings(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        let user = &services["client"]["user"];
        assert_eq!(&service["user"], user, "{name}: a key is for its owner alone");

        let mut arguments = strings(&service["command"]);
        assert!(["run", "fetch"].contains(&arguments.remove(0).as_str()), "{name}");
        let here = |argument: String| argument.replace("/etc/pgsvid/", &path("docker/compose/"));
        let environment = service["environment"].as_object().unwrap();
        let output = Command::new(built("pgsvid"))
            .args(["check", "--offline"])
            .args(arguments.into_iter().map(here))
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value.as_str().unwrap())))
            .output()
            .unwrap();
        standard_output(&output);
        checked += 1;
    }
    assert_eq!(checked, 3, "{services:?}");
}

#[test]
fn its_postgresql_waits_for_the_first_set_and_reads_what_is_published() {
    let compose = compose();
    let server = &compose["services"]["dbserver"];
    let condition = &server["depends_on"]["first-set"]["condition"];
    assert_eq!(condition, "service_completed_successfully");
    let volumes = strings(&server["volumes"]);
    assert!(volumes.contains(&"server-svids:/svids:ro".to_owned()), "{volumes:?}");
    for file in ["pg_hba.conf", "pg_ident.conf", "role.sql", "client.toml"] {
        assert!(PathBuf::from(path("docker/compose/")).join(file).exists(), "{file}");
    }
    for volume in compose["volumes"].as_object().unwrap().values() {
        assert_eq!(volume["driver_opts"]["type"], "tmpfs", "keys stay in memory: {volume}");
    }
}

fn path(name: &str) -> String {
    format!("{}/", root().join(name).display())
}
