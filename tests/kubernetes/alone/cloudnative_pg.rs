//! O14: an operator, which is real, takes certificates from Secrets. `openssl` makes them here.

use std::process::Command;

use serde_json::json;
use test_support::{Directory, Installation};

use crate::eventually;
use crate::kubectl::attempt;
use crate::manifests::only;
use crate::namespace::Namespace;

/// An authority, and leaves with the names that the example's identity has.
struct Authority {
    files: Directory,
    namespace: String,
}

impl Authority {
    fn new(namespace: &str) -> Self {
        let authority = Self { files: Directory::new(), namespace: namespace.to_owned() };
        authority.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -days 1 -subj /CN=ca");
        authority
    }

    #[track_caller]
    fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(self.files.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments}: {output:?}");
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.files.join(name)).unwrap()
    }

    /// Replaces all three Secrets by server-side apply, as a publisher does.
    #[track_caller]
    fn publish(&self) {
        let names = "subjectAltName=DNS:streaming_replica,DNS:orders-rw,DNS:orders-r,DNS:orders-ro\n\
                     extendedKeyUsage=serverAuth,clientAuth\n";
        self.files.write("names", names, 0o644);
        self.openssl("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout tls.key -out tls.csr -subj /CN=streaming_replica");
        self.openssl("x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 1 -extfile names -out tls.crt");
        let pair = json!({"tls.crt": self.read("tls.crt"), "tls.key": self.read("tls.key")});
        for (name, data) in [
            ("orders-ca", json!({"ca.crt": self.read("ca.crt")})),
            ("orders-replication", pair.clone()),
            ("orders-server", pair),
        ] {
            let secret = json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": self.namespace, "labels": {"cnpg.io/reload": ""}},
                "stringData": data,
            });
            let arguments =
                ["apply", "--server-side", "--field-manager", "pgsvid", "--filename", "-"];
            attempt(&arguments, &secret.to_string()).unwrap();
        }
    }

    /// Whether the server at this address serves the leaf that was published last.
    fn is_served_at(&self, address: &str) -> bool {
        let connect = format!("{address}:5432");
        let output = Command::new("openssl")
            .args(["s_client", "-starttls", "postgres", "-connect", &connect])
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let leaf = self.read("tls.crt");
        String::from_utf8_lossy(&output.stdout).contains(leaf.trim())
    }
}

#[test]
fn o14_every_instance_of_cloudnativepg_serves_what_its_secret_has() {
    let namespace = Namespace::with_example("operator", "cloudnative-pg", |objects| {
        // What scripts/lib/cluster-operators.sh has made. The operator takes the version from the tag.
        let image = format!("pgsvid.invalid/postgresql:{}", Installation::found().version());
        only(objects, "Cluster")["spec"]["imageName"] = json!(image);
    });
    let authority = Authority::new(namespace.name());
    authority.publish();
    eventually("three instances are ready", || {
        namespace.get(&["cluster", "orders"])["status"]["readyInstances"] == 3
    });
    let addresses = || -> Vec<String> {
        let pods = namespace.get(&["pods", "--selector", "cnpg.io/podRole=instance"]);
        let pods = pods["items"].as_array().unwrap().iter();
        pods.map(|pod| pod["status"]["podIP"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(addresses().len(), 3);
    for _ in 0..3 {
        let served = || addresses().iter().all(|address| authority.is_served_at(address));
        eventually("each serves the leaf", served);
        authority.publish();
    }
    let standbys = namespace.kubectl(&[
        "exec",
        "orders-1",
        "--container",
        "postgres",
        "--",
        "psql",
        "--no-psqlrc",
        "--tuples-only",
        "--no-align",
        "--command",
        "SELECT count(*) FROM pg_stat_replication JOIN pg_stat_ssl USING (pid) WHERE ssl",
    ]);
    assert_eq!(standbys.trim(), "2");
}
