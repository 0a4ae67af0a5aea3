//! The least rights for a configuration, as objects of RBAC. Pure.
//!
//! A Secret is read, applied and watched by its name. A request that applies an object names it even when it creates the object, so
//! `create` is limited to the name, too. A Lease is created by a request that does not name it, so only that right is for the whole
//! namespace.

use std::collections::{BTreeMap, BTreeSet};

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

/// Most characters of an object's name in Kubernetes.
const LONGEST: usize = 253;
const API: &str = "rbac.authorization.k8s.io/v1";

/// The verbs on a Secret that exists.
pub const ON_SECRETS: [&str; 3] = ["get", "patch", "watch"];
/// The verbs on a Lease that exists.
pub const ON_LEASES: [&str; 2] = ["get", "update"];

/// What is to be granted in one namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Grant {
    /// The Secrets that are written.
    secrets: BTreeSet<String>,
    /// Those of them that may be created.
    created: BTreeSet<String>,
    leases: BTreeSet<String>,
}

/// What is to be granted, by namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants(BTreeMap<String, Grant>);

/// The user who gets rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A `ServiceAccount`.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Another user.
    User(String),
}

impl Subject {
    /// The user with this name, as the API server knows it.
    #[must_use]
    pub fn of(username: &str) -> Self {
        let account = username.strip_prefix("system:serviceaccount:");
        match account.and_then(|it| it.split_once(':')) {
            Some((namespace, name)) => {
                Self::ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() }
            }
            None => Self::User(username.to_owned()),
        }
    }

    /// A `ServiceAccount`; `None` if Kubernetes would not allow one of these names (RFC 1123: a label, and a subdomain).
    #[must_use]
    pub fn service_account(namespace: String, name: String) -> Option<Self> {
        let is_label = |text: &str| {
            let inner = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-';
            (1..=63).contains(&text.len())
                && text.chars().all(inner)
                && !text.starts_with('-')
                && !text.ends_with('-')
        };
        let is_allowed =
            is_label(&namespace) && name.len() <= LONGEST && name.split('.').all(is_label);
        is_allowed.then_some(Self::ServiceAccount { namespace, name })
    }

    /// The name of each Role and `RoleBinding` of this user. Each user has another one, so applying the rights of one installation
    /// leaves those of another as they are.
    fn role(&self) -> String {
        let (name, is_exact) = match self {
            // A namespace has no dot, so the two parts cannot be confused.
            Self::ServiceAccount { namespace, name } => {
                (format!("pgsvid.{namespace}.{name}"), true)
            }
            // Names of users may have any character, and names of objects few.
            Self::User(name) => {
                let usual = |it: char| {
                    if it.is_ascii_alphanumeric() { it.to_ascii_lowercase() } else { '-' }
                };
                (format!("pgsvid-user-{}", name.chars().map(usual).collect::<String>()), false)
            }
        };
        if is_exact && name.len() <= LONGEST {
            return name;
        }
        let sum = digest(&SHA256, self.identity().as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&sum.as_ref()[..8]);
        let sum = format!("{:016x}", u64::from_be_bytes(first));
        let start: String = name.chars().take(LONGEST - 1 - sum.len()).collect();
        format!("{start}-{sum}")
    }

    /// The user's name, as the API server knows it.
    fn identity(&self) -> String {
        match self {
            Self::ServiceAccount { namespace, name } => {
                format!("system:serviceaccount:{namespace}:{name}")
            }
            Self::User(name) => name.clone(),
        }
    }

    fn object(&self) -> Value {
        match self {
            Self::ServiceAccount { namespace, name } => {
                json!({ "kind": "ServiceAccount", "namespace": namespace, "name": name })
            }
            Self::User(name) => {
                json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name })
            }
        }
    }
}

impl Grants {
    /// Adds a Secret that is written, and that may be `created`.
    pub fn secret(&mut self, namespace: &str, name: &str, created: bool) {
        let grant = self.0.entry(namespace.to_owned()).or_default();
        grant.secrets.insert(name.to_owned());
        if created {
            grant.created.insert(name.to_owned());
        }
    }

    /// Adds a Lease that is taken.
    pub fn lease(&mut self, namespace: &str, name: &str) {
        self.0.entry(namespace.to_owned()).or_default().leases.insert(name.to_owned());
    }

    /// Role and `RoleBinding` of each namespace.
    #[must_use]
    pub fn objects(&self, subject: &Subject) -> Vec<Value> {
        self.0.iter().flat_map(|(namespace, grant)| grant.objects(namespace, subject)).collect()
    }

    /// All that one namespace needs, in one line of YAML (flow style), for `kubectl apply -f -`.
    #[must_use]
    pub fn line(&self, namespace: &str, subject: &Subject) -> Option<String> {
        let items = self.0.get(namespace)?.objects(namespace, subject);
        Some(json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string())
    }
}

impl Grant {
    fn objects(&self, namespace: &str, subject: &Subject) -> [Value; 2] {
        let name = subject.role();
        let metadata = json!({ "name": name, "namespace": namespace });
        [
            json!({ "apiVersion": API, "kind": "Role", "metadata": metadata, "rules": self.rules() }),
            json!({
                "apiVersion": API,
                "kind": "RoleBinding",
                "metadata": metadata,
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name },
                "subjects": [subject.object()],
            }),
        ]
    }

    fn rules(&self) -> Vec<Value> {
        let Self { secrets, created, leases } = self;
        let rule = |group: &str, resource: &str, verbs: &[&str], names: &BTreeSet<String>| json!({ "apiGroups": [group], "resources": [resource], "verbs": verbs, "resourceNames": names });
        let mut rules = Vec::new();
        if !secrets.is_empty() {
            rules.push(rule("", "secrets", &ON_SECRETS, secrets));
        }
        if !created.is_empty() {
            rules.push(rule("", "secrets", &["create"], created));
        }
        if !leases.is_empty() {
            let group = "coordination.k8s.io";
            rules.push(rule(group, "leases", &ON_LEASES, leases));
            rules.push(
                json!({ "apiGroups": [group], "resources": ["leases"], "verbs": ["create"] }),
            );
        }
        rules
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v09_each_secret_is_granted_by_its_name_and_nothing_is_granted_for_all() {
        let mut grants = Grants::default();
        grants.secret("db", "server", false);
        grants.secret("db", "client", true);
        grants.secret("apps", "root", false);
        grants.lease("pgsvid", "pgsvid");
        let subject = Subject::of("system:serviceaccount:pgsvid:publisher");
        let objects = grants.objects(&subject);
        assert_eq!(objects.len(), 6);
        let rules: Vec<&Value> =
            objects.iter().filter_map(|it| it["rules"].as_array()).flatten().collect();
        for rule in &rules {
            let is_of_leases = rule["resources"] == json!(["leases"]);
            let creates = rule["verbs"] == json!(["create"]);
            assert!(rule.get("resourceNames").is_some() || (is_of_leases && creates), "{rule}");
            assert!(!rule["verbs"].as_array().unwrap().contains(&json!("list")), "{rule}");
        }
        assert_eq!(rules[1]["resourceNames"], json!(["client", "server"]), "{rules:?}");
        assert_eq!(
            objects[1]["subjects"][0],
            json!({ "kind": "ServiceAccount", "namespace": "pgsvid", "name": "publisher" })
        );
        assert_eq!(Subject::of("jane"), Subject::User("jane".to_owned()));
        for object in &objects {
            assert_eq!(object["metadata"]["name"], "pgsvid.pgsvid.publisher");
        }
        assert_eq!(objects[1]["roleRef"]["name"], objects[0]["metadata"]["name"]);
        assert!(grants.line("db", &subject).unwrap().contains("\"create\""));
        assert!(!grants.line("apps", &subject).unwrap().contains("\"create\""));
        assert_eq!(grants.line("other", &subject), None);
    }

    #[test]
    fn v20_names_that_no_service_account_can_have_are_refused() {
        let made = |namespace: &str, name: &str| {
            Subject::service_account(namespace.to_owned(), name.to_owned()).is_some()
        };
        assert!(made("pgsvid", "publisher") && made("0", "a.b-c"));
        for (namespace, name) in
            [("a", "a b:c"), ("a.b", "c"), ("", "c"), ("a", ""), ("a", "B"), ("a", "-b")]
        {
            assert!(!made(namespace, name), "{namespace} {name}");
        }
    }

    #[test]
    fn v09_each_user_has_roles_with_names_of_its_own_that_kubernetes_allows() {
        let long = "x".repeat(253);
        let users = [
            "system:serviceaccount:a-b:c",
            "system:serviceaccount:a:b-c",
            "system:serviceaccount:a:b.c",
            &format!("system:serviceaccount:a:{long}"),
            &format!("system:serviceaccount:b:{long}"),
            "jane",
            "Jane",
            "jane@example.org/ops%",
            "jane@example.org/ops/",
            "\u{e4}",
            &long,
        ];
        let names: BTreeSet<String> = users.iter().map(|it| Subject::of(it).role()).collect();
        assert_eq!(names.len(), users.len(), "{names:?}");
        let is_usual =
            |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || ".-".contains(it);
        for name in &names {
            assert!(name.len() <= LONGEST && name.chars().all(is_usual), "{name}");
            assert!(name.starts_with("pgsvid") && !name.ends_with(['-', '.']), "{name}");
        }
    }
}
