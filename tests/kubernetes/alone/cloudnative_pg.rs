//! O14: an operator, which is real, takes certificates from Secrets that pgsvid writes, installed by its chart.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use test_support::{Installation, SpireServer};

use crate::cluster::directory;
use crate::eventually;
use crate::manifests::only;
use crate::namespace::{Namespace, Pod};
use crate::publisher::{Instance, Publisher};

const INSTANCES: usize = 3;

/// The cluster of k8s/examples/cloudnative-pg.
struct Orders(Namespace);

impl Orders {
    fn instances(&self) -> Vec<Pod> {
        let pods = self.0.get(&["pods", "--selector", "cnpg.io/podRole=instance"]);
        pods["items"].as_array().unwrap().iter().cloned().map(Pod).collect()
    }

    /// Of each instance its pod, since when it is ready, and how often PostgreSQL's container was started.
    fn uptime(&self) -> BTreeSet<(String, String, u64)> {
        let of = |pod: &Pod| {
            assert!(pod.is_ready(), "{}", pod.0["status"]);
            (pod.uid().to_owned(), pod.since(), pod.restarts("postgres"))
        };
        self.instances().iter().map(of).collect()
    }

    /// What the primary's superuser reads.
    #[track_caller]
    fn sql(&self, query: &str) -> String {
        let psql = ["psql", "--no-psqlrc", "--tuples-only", "--no-align", "--command", query];
        let exec = ["exec", "orders-1", "--container", "postgres", "--"];
        self.0.kubectl(&[&exec[..], &psql].concat()).trim().to_owned()
    }

    /// The processes that send to standbys with TLS.
    fn senders(&self) -> Vec<String> {
        let query = "SELECT pid FROM pg_stat_replication JOIN pg_stat_ssl USING (pid) \
                     WHERE ssl AND state = 'streaming' ORDER BY pid";
        self.sql(query).lines().map(str::to_owned).collect()
    }

    /// How many authorities the Secret has.
    fn authorities(&self) -> usize {
        let secret = self.0.get(&["secret", "orders-ca"]);
        let text = STANDARD.decode(secret["data"]["ca.crt"].as_str().unwrap()).unwrap();
        String::from_utf8(text).unwrap().matches("BEGIN CERTIFICATE").count()
    }
}

/// `CloudNativePG` is given all four Secrets. Neither a rotation nor a change of SPIRE's authority restarts an instance or ends a
/// replication connection.
#[test]
fn o14_a_publisher_of_the_chart_feeds_each_instance_of_cloudnativepg() {
    let orders = Orders(Namespace::with_example("operator", "cloudnative-pg", |objects| {
        // What scripts/lib/cluster-operators.sh has made. The operator takes the version from the tag.
        let image = format!("pgsvid.invalid/postgresql:{}", Installation::found().version());
        only(objects, "Cluster")["spec"]["imageName"] = json!(image);
    }));
    let short = ["--set", "clusterSPIFFEID.ttl=30s"];
    let publisher = Publisher::install(&orders.0, "orders-pgsvid", "cloudnative-pg", &short);
    eventually("three instances are ready", || {
        let cluster = orders.0.get(&["cluster", "orders"]);
        cluster["status"]["readyInstances"] == INSTANCES
    });
    eventually("both standbys replicate", || orders.senders().len() == INSTANCES - 1);
    let (uptime, senders) = (orders.uptime(), orders.senders());

    let (mut serial, _) = publisher.next_in_force(INSTANCES, "");
    let mut delays = Vec::new();
    for _ in 0..3 {
        let (next, instances) = publisher.next_in_force(INSTANCES, &serial);
        delays.extend(instances.iter().filter_map(|it: &Instance| it.delay_ms));
        serial = next;
    }
    println!("from a rotation to `current`, each instance: {delays:.0?} ms");

    let spire = SpireServer::at(&directory().join("spire/server.sock"));
    let old = spire.authority("active");
    spire.authority_command("prepare", None);
    eventually("the Secret has both authorities", || orders.authorities() == 2);
    spire.authority_command("activate", Some(&spire.authority("prepared")));
    spire.authority_command("taint", Some(&old));
    // The first renewal may have been under way.
    for _ in 0..2 {
        (serial, _) = publisher.next_in_force(INSTANCES, &serial);
    }
    spire.authority_command("revoke", Some(&old));
    eventually("the Secret has the new authority alone", || orders.authorities() == 1);
    let (_, instances) = publisher.next_in_force(INSTANCES, &serial);
    println!("after the change of authority: {instances:?}");

    assert_eq!(orders.uptime(), uptime);
    assert_eq!(orders.senders(), senders);
    // New connections are made with what the new authority has signed.
    orders.sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_replication");
    eventually("both standbys replicate again", || {
        let now = orders.senders();
        now.len() == INSTANCES - 1 && now.iter().all(|pid| !senders.contains(pid))
    });
    assert_eq!(orders.uptime(), uptime);
    for (pod, memory) in publisher.memory() {
        println!("{pod}: {memory}");
        assert!(memory.working_set < memory.limit / 2, "{pod}: {memory}");
    }
    for pod in publisher.pods() {
        assert_eq!(Pod(pod).restarts("pgsvid"), 0);
    }
}
