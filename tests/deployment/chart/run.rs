//! The pods of the example charts, run as those of k8s/ are: PostgreSQL with the sidecar, and a client through a rotation.

use dev_agent::{DevAgent, Entry};
use test_support::{Directory, LIMIT, eventually, with_containers};

use crate::chart::helm::Example;
use crate::kubernetes::container::Container;
use crate::kubernetes::pod::{Pod, pgsvid, postgres};

#[test]
fn the_pods_of_the_example_charts_serve_and_rotate() {
    with_containers(|| {
        let server = Example::new("database").objects(&[]);
        let client = Example::new("application").objects(&[]);
        let (server_id, server_names) = server.identity(server.pod());
        let (client_id, client_names) = client.identity(client.pod());
        let entry = |id: &str, names: &[String]| names.iter().fold(Entry::new(id), Entry::dns);
        let socket = Directory::new();
        let agent = DevAgent::builder(socket.join("spire-agent.sock")).automatic(false);
        let agent = agent.entry(entry(&server_id, &server_names));
        let agent = agent.entry(entry(&client_id, &client_names)).start().unwrap();
        let database = Pod::prepare(&server, socket.path(), &server_id, "10.77.0.1");
        let application = Pod::prepare(&client, socket.path(), &client_id, "10.77.0.2");
        database.connect(&application);

        // Each container starts after the start-up probe of the one before it.
        let place = &database.place;
        let sidecar = Container::start(place, "initContainers", "pgsvid", &pgsvid());
        sidecar.wait_running();
        let passes = |kind: &str| sidecar.probe(place, "initContainers", kind);
        eventually(LIMIT, "the start-up probe passes", || passes("startupProbe"));
        let server_container = Container::start(place, "containers", "postgres", &postgres(""));
        eventually(LIMIT * 2, "PostgreSQL is up", || {
            server_container.probe(place, "containers", "readinessProbe")
        });
        eventually(LIMIT, "PostgreSQL is proven to serve it", || passes("readinessProbe"));
        assert!(passes("livenessProbe"));

        let place = &application.place;
        let fetch = Container::start(place, "initContainers", "pgsvid-fetch", &pgsvid());
        assert!(fetch.program().wait_exit(LIMIT).success());
        let service = server.only("Service")["metadata"]["name"].as_str().unwrap();
        let hosts = format!("{} {service}", database.address);
        let mut image = pgsvid();
        image.files.push(("/etc/hosts", format!("127.0.0.1 localhost\n{hosts}\n")));
        let own = Container::start(place, "initContainers", "pgsvid", &image);
        own.wait_running();
        eventually(LIMIT, "the client's start-up probe passes", || {
            own.probe(place, "initContainers", "startupProbe")
        });
        let app = Container::start(place, "containers", "app", &postgres(&hosts));
        let let_in = |line: &str| line.starts_with("dbclient|TLSv1.3|");
        let first = app.program().wait_for(LIMIT, let_in);

        let mark = app.program().mark();
        agent.rotate().unwrap();
        let second = app.program().wait_after(mark, LIMIT, |line| let_in(line) && line != first);
        assert_ne!(first, second, "another serial number");
        eventually(LIMIT, "the next certificate is served", || passes("readinessProbe"));
    });
}
