//! The container image, on a real engine: it keeps a real PostgreSQL outside of it fresh.

use std::process::Command;

use serde_json::Value;
use test_support::{Account, Directory, LIMIT, Mark, Program, Setup, eventually};

use crate::packaging::engine::Engine;
use crate::packaging::{built, standard_output};

/// The program, and the bill of materials, which has a quarter of a megabyte.
const MOST_BYTES: u64 = 9_200_000;

#[test]
fn it_is_the_program_and_its_bill_of_materials_for_nobody_with_its_labels() {
    let engine = Engine::with_image();
    let text = standard_output(&engine.docker(["image", "inspect", "pgsvid:test"]));
    let image: Value = serde_json::from_str(&text).unwrap();
    let (image, config) = (&image[0], &image[0]["Config"]);
    assert!(image["Size"].as_u64().unwrap() < MOST_BYTES, "{}", image["Size"]);
    assert_eq!(image["RootFS"]["Layers"].as_array().unwrap().len(), 1);
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Entrypoint"][0], "/pgsvid");
    let label = |name: &str| config["Labels"][format!("org.opencontainers.image.{name}")].as_str();
    assert_eq!(label("version"), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!(label("licenses"), Some("Apache-2.0"));
    assert_ne!(label("revision"), Some("unknown"));

    assert_eq!(label("source"), Some("https://github.com/pgsvid/pgsvid"));
    assert!(label("created").is_some_and(|time| !time.starts_with("1970")), "{config}");

    // The bill of materials is in it, and another build of the same files gives the same layer.
    standard_output(&engine.docker(["create", "--name", "copied", "pgsvid:test"]));
    let copied = Directory::new();
    let file = copied.join("pgsvid.cdx.json");
    let file = file.to_str().unwrap();
    standard_output(&engine.docker(["cp", "copied:/pgsvid.cdx.json", file]));
    let bill = std::fs::read(built("pgsvid.cdx.json")).unwrap();
    assert!(std::fs::read(file).unwrap() == bill, "it is another one");
    standard_output(&engine.docker(["rm", "copied"]));
    let layers = image["RootFS"]["Layers"].clone();
    standard_output(&engine.docker(["rmi", "pgsvid:test"]));
    standard_output(&engine.docker(["builder", "prune", "--all", "--force"]));
    for name in ["pgsvid", "pgsvid.cdx.json"] {
        let now = Command::new("touch").arg(built(name)).status().unwrap();
        assert!(now.success());
    }
    engine.pack();
    let text = standard_output(&engine.docker(["image", "inspect", "pgsvid:test"]));
    let again: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(again[0]["RootFS"]["Layers"], layers);

    let version = engine.run("version", &["--network=none".to_owned()], &["version".to_owned()]);
    assert!(version.wait_exit(LIMIT).success());
    assert!(version.standard_output().contains(label("revision").unwrap()));
}

#[test]
fn without_a_network_it_rotates_over_sockets_alone() {
    let engine = Engine::with_image();
    let setup = Setup::new(built("pgsvid"));
    let pgsvid = run(&engine, &setup, "none", "none");
    setup.wait_published();
    setup.cluster.start();
    assert_eq!(rotated(&pgsvid, 1)["verdict"], "unverifiable");
    for generation in 2..5 {
        setup.agent.rotate().unwrap();
        rotated(&pgsvid, generation);
        served(&setup);
    }
    stop(&engine, &pgsvid);
}

#[test]
fn on_the_hosts_network_it_proves_what_is_served() {
    let engine = Engine::with_image();
    let setup = Setup::new(built("pgsvid"));
    let pgsvid = run(&engine, &setup, "host", "auto");
    setup.wait_published();
    setup.cluster.start();
    for generation in 1..5 {
        let event = rotated(&pgsvid, generation);
        assert_eq!(event["verdict"], "current", "{event}");
        served(&setup);
        setup.agent.rotate().unwrap();
    }
    stop(&engine, &pgsvid);

    // There is no nsswitch.conf, and no plug-in: names are found all the same.
    let options = ["--network=host".to_owned(), "--add-host=db.test:127.0.0.1".to_owned()];
    let arguments = ["probe".to_owned(), format!("db.test:{}", setup.cluster.port())];
    let probe = engine.run("probe", &options, &arguments);
    probe.wait_exit(LIMIT);
    assert!(probe.standard_output().contains(Setup::SPIFFE_ID), "{:?}", probe.lines());
}

/// As PostgreSQL's user, with its socket, the agent's, and a volume that both mount, each somewhere else.
fn run(engine: &Engine, setup: &Setup, network: &str, verify: &str) -> Program {
    let account = Account::server();
    let files = setup.files.path().display();
    setup.configure(&format!("[files]\nseen_as = '{files}'"));
    let mount = |from: &std::path::Path, to: &str| format!("--volume={}:{to}", from.display());
    let options = [
        format!("--network={network}"),
        format!("--user={}:{}", account.uid(), account.gid()),
        mount(setup.files.path(), "/svids"),
        mount(setup.other.path(), "/agent:ro"),
        mount(setup.cluster.socket_directory(), "/var/run/postgresql:ro"),
    ];
    let port = setup.cluster.port().to_string();
    let arguments = [
        "run",
        "--config",
        "/agent/pgsvid.toml",
        "--endpoint",
        "unix:///agent/agent.sock",
        "--directory",
        "/svids",
        "--postgres",
        "/var/run/postgresql",
        "--port",
        &port,
        "--verify",
        verify,
        "--log-format",
        "json",
    ];
    engine.run("pgsvid", &options, &arguments.map(str::to_owned))
}

fn rotated(pgsvid: &Program, generation: u64) -> Value {
    pgsvid
        .wait_for_event_after(Mark::default(), LIMIT, |event| {
            event["event"] == "rotated" && event["generation"] == generation
        })
        .0
}

/// By the test's own handshake.
#[track_caller]
fn served(setup: &Setup) {
    let svid = setup.agent.svid();
    eventually(LIMIT, "the newest certificate is served", || {
        setup.cluster.try_served().is_ok_and(|served| served.leaf == svid.leaf())
    });
}

#[track_caller]
fn stop(engine: &Engine, pgsvid: &Program) {
    standard_output(&engine.docker(["stop", "pgsvid"]));
    assert!(pgsvid.wait_exit(LIMIT).success());
}
