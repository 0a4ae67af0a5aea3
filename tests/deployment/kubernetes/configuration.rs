//! pgsvid accepts each pgsvid.toml, and names and DNS names of the manifests agree.

use std::io::Write as _;
use std::process::Command;

use crate::kubernetes::PGSVID;
use crate::kubernetes::manifests::{Manifests, example, root};

#[track_caller]
pub(crate) fn assert_valid(toml: &str) -> String {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(toml.as_bytes()).unwrap();
    let mut command = Command::new(PGSVID);
    command.env_clear().args(["check", "--offline", "--config"]).arg(file.path());
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{toml}: {output:?}");
    said
}

#[test]
fn every_configuration_in_a_config_map_is_valid() {
    for name in ["dbserver", "dbclient", "javaclient", "pooled"] {
        let manifests = example(name);
        let configurations = manifests.configurations();
        assert_eq!(configurations.len(), 1, "{name}");
        for toml in configurations {
            let said = assert_valid(toml);
            assert!(said.contains("files in /svids"), "{said}");
            let takes_part = said.contains("PostgreSQL at /var/run/postgresql/.s.PGSQL.5432");
            assert_eq!(takes_part, !name.ends_with("client"), "{said}");
        }
    }
}

/// How a bank changes what the component brings: its own registry, and its own configuration.
#[test]
fn a_kustomization_can_replace_image_and_configuration() {
    let directory = tempfile::tempdir_in(root().join("target")).unwrap();
    let text = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [../../k8s/examples/dbserver]\n\
        images: [{name: ghcr.io/pgsvid/pgsvid, newName: registry.example/pgsvid}]\npatches:\n  - patch: |\n      apiVersion: v1\n\
        \x20     kind: ConfigMap\n      metadata: {name: pgsvid, namespace: applications}\n      data: {pgsvid.toml: own}\n";
    let mut file = std::fs::File::create(directory.path().join("kustomization.yaml")).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let manifests = Manifests::build(directory.path());
    let spec = &manifests.pod()["spec"];
    let image = format!("registry.example/pgsvid:{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(spec["initContainers"][0]["image"], image);
    assert_eq!(manifests.configurations(), ["own"]);
    // Its name follows its content, so that pods are replaced when it changes.
    let name = |manifests: &Manifests| {
        let volumes = manifests.pod()["spec"]["volumes"].as_array().unwrap().clone();
        let own = volumes.iter().find(|volume| volume["name"] == "pgsvid").unwrap();
        own["configMap"]["name"].as_str().unwrap().to_owned()
    };
    assert_ne!(name(&manifests), name(example("dbserver")));
    manifests.named("ConfigMap", &name(&manifests));
}

#[test]
fn the_names_that_clients_call_are_in_the_servers_certificate() {
    let server = example("dbserver");
    let (id, names) = server.identity(server.pod());
    assert_eq!(id, "spiffe://example.org/ns/applications/sa/dbserver");
    let service = server.only("Service")["metadata"]["name"].as_str().unwrap();
    let wanted = ["", ".applications", ".applications.svc", ".applications.svc.cluster.local"];
    assert_eq!(names, wanted.map(|rest| format!("{service}{rest}")));
    assert_eq!(server.only("StatefulSet")["spec"]["serviceName"], service);

    // A client's CN is its first DNS name, and that is its role.
    for (client, role) in [("dbclient", "dbclient"), ("javaclient", "demoapi")] {
        let client = example(client);
        let (id, names) = server.identity(client.pod());
        assert_eq!(id, format!("spiffe://example.org/ns/applications/sa/{role}"));
        assert_eq!(names, [role]);
        assert!(client.configurations()[0].contains(&format!("\nuser = \"{role}\"\n")));
        assert!(client.configurations()[0].contains(&format!("\nhost = \"{service}\"\n")));
    }
}

/// What docs/kubernetes.md tells to write, with the examples' workloads in the place of one's own.
#[test]
fn every_kustomization_of_the_page_can_be_built() {
    let page = std::fs::read_to_string(root().join("docs/kubernetes.md")).unwrap();
    let blocks = page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    // The others are objects of their own, or a part of one.
    let blocks = blocks.filter(|block| {
        !block.starts_with("apiVersion: v1\n") && !block.contains("spiffeIDTemplate")
    });
    let mut built = 0;
    for block in blocks {
        let directory = tempfile::tempdir_in(root().join("target")).unwrap();
        let write = |name: &str, text: &str| {
            let mut file = std::fs::File::create(directory.path().join(name)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        let released = format!("?ref=v{}", env!("CARGO_PKG_VERSION"));
        assert_eq!(block.matches("https://github.com/pgsvid/pgsvid//k8s/").count(), 1, "{block}");
        assert!(block.contains(&released), "{block}");
        let here = block.replace("https://github.com/pgsvid/pgsvid//k8s/", "../../k8s/");
        write("kustomization.yaml", &here.replace(&released, ""));
        for (name, path) in [
            ("postgres.yaml", "dbserver/database/dbserver.yaml"),
            ("application.yaml", "dbclient/dbclient.yaml"),
            ("pgsvid.toml", "dbclient/pgsvid.toml"),
        ] {
            let path = root().join("k8s/examples").join(path);
            write(name, &std::fs::read_to_string(path).unwrap());
        }
        let manifests = Manifests::build(directory.path());
        let containers = manifests.pod()["spec"]["initContainers"].as_array().unwrap();
        assert_eq!(containers.last().unwrap()["name"], "pgsvid");
        for toml in manifests.configurations() {
            assert_valid(toml);
        }
        built += 1;
    }
    assert_eq!(built, 2);
}
