//! O09: a Job with the client component.

use serde_json::Value;
use test_support::eventually;

use super::namespace::Namespace;
use super::with_spire;
use crate::LIMIT;
use crate::kubectl::apply;
use crate::manifests::{example, kustomization, only};

const JOB: &str = r#"
apiVersion: batch/v1
kind: Job
metadata: {name: count}
spec:
  backoffLimit: 0
  template:
    metadata:
      labels: {app.kubernetes.io/component: database-client, spiffe.io/spire-managed-identity: "true"}
    spec:
      restartPolicy: Never
      serviceAccountName: dbclient
      automountServiceAccountToken: false
      securityContext: {runAsUser: 10001, runAsGroup: 10001, runAsNonRoot: true, fsGroup: 10001, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: app
          image: docker.io/library/postgres:18
          command: [psql, --no-psqlrc, --no-password, --tuples-only, --no-align, --command, SELECT count(*) FROM products]
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
"#;

#[test]
fn o09_a_job_with_the_client_component_ends_when_its_application_ends() {
    let _spire = with_spire();
    let namespace = Namespace::with_database("job", |_| ());
    let mut client = example("dbclient", namespace.name());
    let account: Vec<Value> =
        client.iter().filter(|object| object["kind"] == "ServiceAccount").cloned().collect();
    apply(&account).unwrap();
    let configuration = only(&mut client, "ConfigMap")["data"]["pgsvid.toml"].take();
    let objects = kustomization(
        namespace.name(),
        "resources: [job.yaml]\ncomponents: [COMPONENTS/client]\n\
         configMapGenerator:\n  - name: pgsvid-client\n    files: [pgsvid.toml]\n    literals: [PGSERVICE=products]\n",
        &[("job.yaml", JOB), ("pgsvid.toml", configuration.as_str().unwrap())],
    );
    apply(&objects).unwrap();
    let job = eventually(LIMIT, "the Job has ended", || {
        let job = namespace.get(&["job", "count"]);
        job["status"]["completionTime"].is_string().then_some(job)
    });
    assert_eq!(job["status"]["succeeded"], 1, "{job}");
    let said = namespace.kubectl(&["logs", "job/count", "--container", "app"]);
    assert_eq!(said.trim(), "2");
}
