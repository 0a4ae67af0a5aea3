//! A pgsvid that the chart has installed: it writes Secrets, and looks at the instances of an operator's cluster.

use std::fmt::{self, Display, Formatter};

use serde_json::Value;

use crate::eventually;
use crate::helm::Release;
use crate::kubectl::kubectl;
use crate::namespace::Namespace;

/// The release of an example, whose name is that of its Deployment.
pub(crate) struct Publisher<'a> {
    namespace: &'a Namespace,
    name: &'static str,
    _release: Release,
}

/// Memory of a container, in bytes.
pub(crate) struct Memory {
    /// What the kernel would count against the limit after dropping what it can drop.
    pub(crate) working_set: u64,
    resident: u64,
    pub(crate) limit: u64,
}

impl Display for Memory {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let [working_set, resident, limit] =
            [self.working_set, self.resident, self.limit].map(|bytes| bytes >> 10);
        write!(formatter, "{working_set} KiB in use, {resident} KiB resident, of {limit} KiB")
    }
}

/// One instance, as the writer of the Secrets has seen it.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) verdict: String,
    pub(crate) serial: Option<String>,
    /// From the hand-over to the first look that has shown the set.
    pub(crate) delay_ms: Option<f64>,
}

impl<'a> Publisher<'a> {
    /// Installs the chart with the values of an example and these options, once it is rolled out: each pod is ready when the Secrets are written.
    #[track_caller]
    pub(crate) fn install(
        namespace: &'a Namespace,
        name: &'static str,
        example: &str,
        options: &[&str],
    ) -> Self {
        let release = Release::named(namespace.name(), name);
        release.install_example(example, options);
        let publisher = Self { namespace, name, _release: release };
        namespace.rolled_out(&format!("deployment/{name}"));
        publisher
    }

    /// The pods of the Deployment.
    #[track_caller]
    pub(crate) fn pods(&self) -> Vec<Value> {
        let selector = format!("app.kubernetes.io/instance={}", self.name);
        let mut pods = self.namespace.get(&["pods", "--selector", &selector]);
        serde_json::from_value(pods["items"].take()).unwrap()
    }

    /// The status of the pod that has the Lease.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        let lease = self.namespace.get(&["lease", self.name]);
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap();
        let (pod, _) = holder.split_once('_').unwrap();
        let text =
            self.namespace.kubectl(&["exec", pod, "--", "/pgsvid", "status", "--format", "json"]);
        serde_json::from_str(&text).unwrap()
    }

    /// What pgsvid's container uses in each pod, as the kubelet measures it.
    #[track_caller]
    pub(crate) fn memory(&self) -> Vec<(String, Memory)> {
        let text = kubectl(&["get", "--raw", "/api/v1/nodes/node1/proxy/stats/summary"]);
        let summary: Value = serde_json::from_str(&text).unwrap();
        let of = |pod: &Value| {
            let name = pod["metadata"]["name"].as_str().unwrap();
            let limit = pod["spec"]["containers"][0]["resources"]["limits"]["memory"].as_str();
            let limit = limit.unwrap().strip_suffix("Mi").unwrap().parse::<u64>().unwrap() << 20;
            let mut all = summary["pods"].as_array().unwrap().iter();
            let found = all.find(|it| it["podRef"]["name"] == name).unwrap();
            let memory = &found["containers"][0]["memory"];
            let [working_set, resident] =
                ["workingSetBytes", "rssBytes"].map(|it| memory[it].as_u64().unwrap());
            (name.to_owned(), Memory { working_set, resident, limit })
        };
        self.pods().iter().map(of).collect()
    }

    /// What the instances serve, once every one of them is proven to serve a leaf that is not `before`; its serial number too.
    #[track_caller]
    pub(crate) fn next_in_force(&self, count: usize, before: &str) -> (String, Vec<Instance>) {
        eventually(format_args!("{count} instances serve the next leaf"), || {
            let status = self.status();
            let published = status["targets"][0]["published"]["serial"].as_str()?;
            let instances = instances(&status);
            let in_force =
                |it: &Instance| it.verdict == "current" && it.serial.as_deref() == Some(published);
            let done =
                published != before && instances.len() == count && instances.iter().all(in_force);
            done.then(|| (published.to_owned(), instances))
        })
    }
}

fn instances(status: &Value) -> Vec<Instance> {
    let consumers = status["consumers"].as_array().into_iter().flatten();
    let mut served = consumers.filter(|it| it["kind"] == "served");
    let list = served.next().and_then(|it| it["instances"]["instances"].as_array());
    list.into_iter()
        .flatten()
        .map(|it| Instance {
            verdict: it["verdict"].as_str().unwrap().to_owned(),
            serial: it["serial"].as_str().map(str::to_owned),
            delay_ms: it["delay_ms"].as_f64(),
        })
        .collect()
}
