//! The examples' pods, run: start-up order, probes, PostgreSQL, and a client by certificate through a rotation.
//!
//! runc creates the containers from the rendered manifests: arguments, variables, users, mounts, limits and probes come from
//! there. Differences from a cluster: the agent is the dev agent, which attests nobody; this machine's PostgreSQL replaces
//! the image, with an entry point that follows the image's documentation; no seccomp profile and no `NetworkPolicy` is
//! enforced.

use std::process::Output;

use dev_agent::{DevAgent, Entry};
use test_support::{Directory, LIMIT, eventually, with_containers};

use crate::kubernetes::PGSVID;
use crate::kubernetes::container::Container;
use crate::kubernetes::manifests::example;
use crate::kubernetes::pod::{Pod, pgsvid, postgres};

pub(crate) fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

pub(crate) fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn the_pods_of_the_examples_start_serve_and_rotate() {
    with_containers(|| {
        let (server, client) = (example("dbserver"), example("dbclient"));
        let (server_id, server_names) = server.identity(server.pod());
        let (client_id, client_names) = server.identity(client.pod());
        let entry = |id: &str, names: &[String]| names.iter().fold(Entry::new(id), Entry::dns);
        // The name of the socket is the driver's and the agent's choice.
        let socket = Directory::new();
        let agent = DevAgent::builder(socket.join("spire-agent.sock")).automatic(false);
        let agent = agent.start().unwrap();
        let database = Pod::prepare(server, socket.path(), &server_id, "10.77.0.1");
        let application = Pod::prepare(client, socket.path(), &client_id, "10.77.0.2");
        database.connect(&application);
        let place = &database.place;

        // Without a registration entry pgsvid waits, and so does PostgreSQL: the kubelet starts it after this probe.
        let sidecar = Container::start(place, "initContainers", "pgsvid", &pgsvid());
        sidecar.wait_running();
        let passes = |kind: &str| sidecar.probe(place, "initContainers", kind);
        eventually(LIMIT, "pgsvid lives", || passes("livenessProbe"));
        sidecar.program().wait_for_text(LIMIT, "not registered yet");
        assert!(!passes("startupProbe") && !passes("readinessProbe"));
        agent.add_entry(entry(&server_id, &server_names)).unwrap();
        eventually(LIMIT, "the start-up probe passes", || passes("startupProbe"));
        assert!(!passes("readinessProbe"), "nothing is proven yet");

        // PostgreSQL finds what it needs to start with TLS, the first time and for good.
        let postgres_container = Container::start(place, "containers", "postgres", &postgres(""));
        let is_up = || postgres_container.probe(place, "containers", "readinessProbe");
        eventually(LIMIT * 2, "PostgreSQL is up", || {
            assert!(postgres_container.program().is_running(), "PostgreSQL ended");
            is_up()
        });
        eventually(LIMIT, "PostgreSQL is proven to serve it", || passes("readinessProbe"));
        let asked = sidecar.exec(&words("/pgsvid status"));
        assert!(said(&asked).starts_with("current      spiffe://"), "{}", said(&asked));
        assert_rules_are_taken(&postgres_container);

        // The client: init container, then sidecar, then application.
        agent.add_entry(entry(&client_id, &client_names)).unwrap();
        let place = &application.place;
        let fetch = Container::start(place, "initContainers", "pgsvid-fetch", &pgsvid());
        assert!(fetch.program().wait_exit(LIMIT).success());
        assert!(fetch.program().standard_output().starts_with(&client_id));
        let service = server.only("Service")["metadata"]["name"].as_str().unwrap();
        let hosts = format!("{} {service}", database.address);
        let mut image = pgsvid();
        image.files.push(("/etc/hosts", format!("127.0.0.1 localhost\n{hosts}\n")));
        let own = Container::start(place, "initContainers", "pgsvid", &image);
        own.wait_running();
        eventually(LIMIT, "the client's start-up probe passes", || {
            own.probe(place, "initContainers", "startupProbe")
        });
        assert!(own.probe(place, "initContainers", "livenessProbe"));
        // It has logged in as the application does.
        own.program().wait_for_event(LIMIT, |event| event["event"] == "client-admitted");
        let app = Container::start(place, "containers", "app", &postgres(&hosts));
        let let_in = |line: &str| line.starts_with("dbclient|TLSv1.3|") && line.ends_with("|2");
        let first = app.program().wait_for(LIMIT, let_in);

        // Both certificates are renewed, and the next connection is made with the new ones.
        let (mark, before) = (app.program().mark(), sidecar.program().mark());
        agent.rotate().unwrap();
        sidecar
            .program()
            .wait_for_event_after(before, LIMIT, |event| event["verdict"] == "current");
        let second = app.program().wait_after(mark, LIMIT, |line| let_in(line) && line != first);
        assert_ne!(first.split('|').nth(2), second.split('|').nth(2), "another serial number");

        refusals(&app);
        // Metrics are at the pod's address, for clients that the NetworkPolicy allows.
        let address = format!("{}:9809", database.address);
        let asked = application.inside(PGSVID, &["status", "--socket", &address]);
        assert!(asked.starts_with("current "), "{asked}");
        assert!(passes("livenessProbe") && passes("readinessProbe") && is_up());

        // A pod that ends: PostgreSQL first, by its image's signal, then the sidecar.
        postgres_container.program().signal(test_support::Signal::INT);
        assert!(postgres_container.program().wait_exit(LIMIT).success());
        assert!(sidecar.program().terminate(LIMIT).success());
    });
}

/// As the superuser, in PostgreSQL's container.
fn assert_rules_are_taken(container: &Container) {
    let query = "SELECT (SELECT count(*) FROM pg_hba_file_rules WHERE error IS NULL), \
                 (SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL), \
                 (SELECT count(*) FROM pg_file_settings WHERE error IS NOT NULL), \
                 (SELECT count(*) FROM pg_authid WHERE rolpassword IS NOT NULL)";
    let mut command = words("psql --no-psqlrc --tuples-only --no-align --command");
    command.push(query.to_owned());
    let output = container.exec(&command);
    assert_eq!(said(&output), "5|0|0|0\n");
    // It can read the key, and cannot write to where it comes from.
    let output = container.exec(&words("touch /svids/svid.pem"));
    assert!(said(&output).contains("Read-only file system"), "{}", said(&output));
}

/// Clients that are refused, by role.
fn refusals(app: &Container) {
    for (connection, wanted) in [
        // Another role than the certificate's.
        ("user=demoapi", "certificate authentication failed for user \"demoapi\""),
        // No certificate. (It is there to be found, so libpq has to be told.)
        ("sslcert=/none sslkey=/none", "connection requires a valid client certificate"),
        // No TLS.
        ("sslmode=disable", "pg_hba.conf rejects connection"),
        ("user=postgres dbname=postgres", "pg_hba.conf rejects connection"),
        // A name that is not in the server's certificate.
        ("host=elsewhere hostaddr=10.77.0.1", "does not match host name \"elsewhere\""),
    ] {
        let mut command = words("psql --no-psqlrc --no-password --command=SELECT");
        command.push(connection.to_owned());
        let output = app.exec(&command);
        assert!(!output.status.success(), "{connection}");
        assert!(said(&output).contains(wanted), "{connection}: {}", said(&output));
    }
}
