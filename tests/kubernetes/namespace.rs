//! The examples of k8s/ in a namespace of a test's own.

use std::fmt::{self, Write as _};

use serde_json::{Value, json};

use crate::kubectl::{apply, attempt, get, kubectl};
use crate::manifests::{container, example, only};
use crate::{LIMIT, eventually};

/// Deleted with everything in it at the end of the test.
pub(crate) struct Namespace(String);

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.describe());
        }
        let _ = attempt(&["delete", "namespace", &self.0, "--wait=false"], "");
    }
}

impl Namespace {
    /// The database of k8s/examples/dbserver, as changed, once it is in its Service.
    #[track_caller]
    pub(crate) fn with_database(name: &str, change: impl FnOnce(&mut [Value])) -> Self {
        let namespace = Self::with_started_database(name, change);
        namespace.rolled_out("statefulset/dbserver");
        namespace
    }

    /// The same, and nobody has waited for it.
    #[track_caller]
    pub(crate) fn with_started_database(name: &str, change: impl FnOnce(&mut [Value])) -> Self {
        Self::with_example(name, "dbserver", change)
    }

    /// An example, as changed.
    #[track_caller]
    pub(crate) fn with_example(
        name: &str,
        directory: &str,
        change: impl FnOnce(&mut [Value]),
    ) -> Self {
        // An earlier one of this name may still be there.
        let namespace = Self(format!("{name}-{}", std::process::id()));
        let mut objects = example(directory, &namespace.0);
        change(&mut objects);
        apply(&objects).unwrap();
        namespace
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// kubectl for this namespace.
    #[track_caller]
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        kubectl(&[&["--namespace", &self.0], arguments].concat())
    }

    /// The same, if it may fail.
    pub(crate) fn attempt(&self, arguments: &[&str]) -> Result<String, String> {
        attempt(&[&["--namespace", &self.0], arguments].concat(), "")
    }

    #[track_caller]
    pub(crate) fn get(&self, what: &[&str]) -> Value {
        get(&[&["--namespace", &self.0], what].concat())
    }

    #[track_caller]
    pub(crate) fn rolled_out(&self, workload: &str) {
        let limit = format!("--timeout={}s", LIMIT.as_secs());
        self.kubectl(&["rollout", "status", workload, &limit]);
    }

    /// The database's pod.
    #[track_caller]
    pub(crate) fn database(&self) -> Pod {
        Pod(self.get(&["pod", "dbserver-0"]))
    }

    /// What pgsvid in the database's pod has logged since its container started.
    #[track_caller]
    pub(crate) fn events(&self, event: &str) -> Vec<Value> {
        let log = self.kubectl(&["logs", "dbserver-0", "--container", "pgsvid"]);
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["event"] == event).collect()
    }

    /// Deploys k8s/examples/dbclient with a loop that connects five times a second, once it has connected.
    #[track_caller]
    pub(crate) fn connecting_client(&self, environment: &[(&str, &str)]) -> Client<'_> {
        let mut objects = example("dbclient", &self.0);
        let deployment = only(&mut objects, "Deployment");
        let app = container(&mut deployment["spec"]["template"], "app");
        app["args"] = json!([LOOP]);
        let all = environment.iter().map(|(name, value)| json!({"name": name, "value": value}));
        app["env"].as_array_mut().unwrap().extend(all);
        apply(&objects).unwrap();
        self.rolled_out("deployment/dbclient");
        let client = Client(self);
        // The node has to learn where the Service is.
        eventually("a connection", || client.lines().iter().any(|line| line == "ok"));
        client
    }

    /// For a test that fails.
    fn describe(&self) -> String {
        let mut said = String::new();
        for arguments in [
            &["get", "pods", "--output", "wide"][..],
            &["get", "events"],
            &["logs", "dbserver-0", "--container", "pgsvid", "--tail", "30"],
            &["logs", "dbserver-0", "--container", "postgres", "--tail", "30"],
        ] {
            let found = self.attempt(arguments).unwrap_or_else(|error| error);
            writeln!(said, "{arguments:?}:\n{found}").unwrap();
        }
        said
    }
}

/// One line for each connection.
const LOOP: &str = r"
    trap 'exit 0' TERM
    export PGCONNECT_TIMEOUT=10
    while :; do
        if error=$(psql --no-psqlrc --no-password --command 'SELECT 1' 2>&1 >/dev/null); then
            echo ok
        else
            echo failed: $error
        fi
        sleep 0.2 & wait $!
    done
";

/// The pod of [`Namespace::connecting_client`].
pub(crate) struct Client<'a>(&'a Namespace);

/// Connections since a mark.
pub(crate) struct Connections {
    pub(crate) succeeded: usize,
    pub(crate) failures: Vec<String>,
}

impl fmt::Display for Connections {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { succeeded, failures } = self;
        write!(formatter, "{} connections, {} failed", succeeded + failures.len(), failures.len())?;
        failures.first().map_or(Ok(()), |first| write!(formatter, ", the first: {first}"))
    }
}

impl Client<'_> {
    fn lines(&self) -> Vec<String> {
        let log = self.0.kubectl(&["logs", "deployment/dbclient", "--container", "app"]);
        log.lines().map(str::to_owned).collect()
    }

    /// Where the log ends now.
    #[track_caller]
    pub(crate) fn mark(&self) -> usize {
        self.lines().len()
    }

    /// The connections since the mark.
    #[track_caller]
    pub(crate) fn since(&self, mark: usize) -> Connections {
        let lines = self.lines().split_off(mark);
        let succeeded = lines.iter().filter(|line| *line == "ok").count();
        let failures = lines.into_iter().filter(|line| line.starts_with("failed")).collect();
        Connections { succeeded, failures }
    }
}

/// A pod, as the API server had it.
pub(crate) struct Pod(pub(crate) Value);

impl Pod {
    pub(crate) fn uid(&self) -> &str {
        self.0["metadata"]["uid"].as_str().unwrap()
    }

    pub(crate) fn address(&self) -> &str {
        self.0["status"]["podIP"].as_str().unwrap()
    }

    fn condition(&self) -> &Value {
        let conditions = self.0["status"]["conditions"].as_array().unwrap();
        conditions.iter().find(|one| one["type"] == "Ready").unwrap_or(&Value::Null)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.condition()["status"] == "True"
    }

    /// When it became ready, or unready, the last time.
    pub(crate) fn since(&self) -> String {
        self.condition()["lastTransitionTime"].as_str().unwrap().to_owned()
    }

    /// The status of one of its containers.
    #[track_caller]
    pub(crate) fn container(&self, name: &str) -> &Value {
        let lists = ["initContainerStatuses", "containerStatuses"];
        let all = lists.iter().filter_map(|list| self.0["status"][*list].as_array()).flatten();
        let mut all = all.filter(|one| one["name"] == name);
        all.next().unwrap_or_else(|| panic!("there is no container {name}: {}", self.0["status"]))
    }

    #[track_caller]
    pub(crate) fn restarts(&self, name: &str) -> u64 {
        self.container(name)["restartCount"].as_u64().unwrap()
    }
}
