//! The example with a PgBouncer in the database's pod, run like the others.

use dev_agent::{DevAgent, Entry};
use test_support::{Directory, LIMIT, eventually, with_containers};

use crate::kubernetes::container::Container;
use crate::kubernetes::manifests::example;
use crate::kubernetes::pod::{Pod, pgbouncer, pgsvid, postgres};
use crate::kubernetes::pods::{said, words};

#[test]
fn a_pgbouncer_in_the_pod_serves_each_certificate_and_clients_come_through_it() {
    with_containers(|| {
        let (server, client) = (example("pooled"), example("dbclient"));
        let (server_id, server_names) = server.identity(server.pod());
        let (client_id, client_names) = server.identity(client.pod());
        let entry = |id: &str, names: &[String]| names.iter().fold(Entry::new(id), Entry::dns);
        let socket = Directory::new();
        let agent = DevAgent::builder(socket.join("spire-agent.sock")).automatic(false);
        let agent = agent.entry(entry(&server_id, &server_names));
        let agent = agent.entry(entry(&client_id, &client_names)).start().unwrap();
        let database = Pod::prepare(server, socket.path(), &server_id, "10.77.0.1");
        let application = Pod::prepare(client, socket.path(), &client_id, "10.77.0.2");
        database.connect(&application);

        // As the kubelet does: the sidecar first, the others once its start-up probe has passed.
        let place = &database.place;
        let sidecar = Container::start(place, "initContainers", "pgsvid", &pgsvid());
        sidecar.wait_running();
        let passes = |kind: &str| sidecar.probe(place, "initContainers", kind);
        eventually(LIMIT, "the start-up probe passes", || passes("startupProbe"));
        let postgres_container = Container::start(place, "containers", "postgres", &postgres(""));
        eventually(LIMIT * 2, "PostgreSQL is up", || {
            postgres_container.probe(place, "containers", "readinessProbe")
        });
        assert!(!passes("readinessProbe"), "PgBouncer does not run yet");
        let pooler = Container::start(place, "containers", "pgbouncer", &pgbouncer());
        eventually(LIMIT, "both are proven to serve the certificate", || passes("readinessProbe"));

        let own = Container::start(&application.place, "initContainers", "pgsvid", &pgsvid());
        own.wait_running();
        eventually(LIMIT, "the client has its certificate", || {
            own.probe(&application.place, "initContainers", "startupProbe")
        });
        let service = server.only("Service")["metadata"]["name"].as_str().unwrap();
        let image = postgres(&format!("{} {service}", database.address));
        let app = Container::start(&application.place, "containers", "app", &image);
        app.wait_running();
        let log_in = || {
            let mut command = words("psql --no-psqlrc --no-password --tuples-only --no-align");
            command.push("--command=SELECT current_user, count(*) FROM products".to_owned());
            command.push("port=6432".to_owned());
            let output = app.exec(&command);
            assert_eq!(said(&output), "dbclient|2\n");
        };
        log_in();

        let before = sidecar.program().mark();
        agent.rotate().unwrap();
        for consumer in ["postgres", "pgbouncer"] {
            sidecar.program().wait_for_event_after(before, LIMIT, |event| {
                event["verdict"] == "current" && event["consumer"] == consumer
            });
        }
        eventually(LIMIT, "the client has its next certificate", || {
            own.program().standard_error().matches("\"event\":\"published\"").count() >= 2
        });
        log_in();

        // A role that PgBouncer does not know.
        let mut command = words("psql --no-psqlrc --no-password --command=SELECT");
        command.push("port=6432 user=postgres".to_owned());
        let output = app.exec(&command);
        assert!(said(&output).contains("authentication failed"), "{}", said(&output));

        // Without PgBouncer, PostgreSQL still gets each set. The pod's readiness is then a matter of PgBouncer's own probe.
        drop(pooler);
        let before = sidecar.program().mark();
        agent.rotate().unwrap();
        sidecar.program().wait_for_event_after(before, LIMIT, |event| {
            event["verdict"] == "current" && event["consumer"] == "postgres"
        });
        eventually(LIMIT, "the status says that PgBouncer is away", || {
            said(&sidecar.exec(&words("/pgsvid status"))).starts_with("degraded ")
        });
        assert!(passes("readinessProbe"));
    });
}
