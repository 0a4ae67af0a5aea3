//! The truth table of the values: the kinds that each combination gives, or the codes with which the chart refuses it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::chart::helm::{Refusal, chart, codes, render, render_with};
use crate::chart::values::{AGENT, CLIENT, FILES, SECRET, SIDECAR};
use crate::kubernetes::manifests::Manifests;

/// What a combination gives.
enum Outcome {
    /// These kinds, in the order of the alphabet.
    Kinds(&'static str),
    /// A refusal with these codes, in the order of the alphabet.
    Codes(&'static str),
    /// A refusal by the schema at these places.
    Schema(&'static str),
}
use Outcome::{Codes, Kinds, Schema};

/// What every publisher has.
const LEAST: &str = "ConfigMap Deployment Role Role RoleBinding RoleBinding ServiceAccount";
/// With more than one replica: a budget.
const SEVERAL: &str =
    "ConfigMap Deployment PodDisruptionBudget Role Role RoleBinding RoleBinding ServiceAccount";

#[rustfmt::skip]
const TABLE: &[(&[&str], Outcome)] = &[
    // The source.
    (&[AGENT, SECRET], Kinds(LEAST)),
    (&[FILES, SECRET], Kinds(LEAST)),
    (&["config: {workload_api: {endpoint: 'tcp://10.0.0.1:8081'}}", SECRET], Kinds(LEAST)),
    (&[SECRET], Codes("no-source")),
    (&["config: {workload_api: {}}", SECRET], Codes("no-source")),
    (&[AGENT, FILES, SECRET], Codes("two-sources")),
    (&["config: {certificates: {certificate: /a, private_key: /b, bundle: /c}}", SECRET], Codes("no-volume")),
    (&[AGENT, SECRET, "csi: {driver: ''}"], Codes("no-volume")),
    (&[AGENT, SECRET, "csi: {driver: ''}\nextraVolumes: [{name: agent, hostPath: {path: /run/spire}}]\n\
        extraVolumeMounts: [{name: agent, mountPath: /spiffe-workload-api}]"], Kinds(LEAST)),

    // The Secrets.
    (&[AGENT], Codes("no-secrets")),
    (&[AGENT, "config: {secrets: []}"], Codes("no-secrets")),
    (&[AGENT, "config: {secrets: [{namespace: a, fields: {x: chain}}]}"], Codes("secret-without-name")),
    (&[AGENT, "config: {secrets: [{name: a, fields: {x: chain}}]}"], Codes("secret-without-namespace")),
    (&[AGENT, "config: {secrets: [{namespace: a, name: b}]}"], Codes("secret-without-fields")),
    (&[AGENT, "config: {secrets: [{}]}"], Codes("secret-without-fields secret-without-name secret-without-namespace")),
    (&[AGENT, "config: {secrets: [{namespace: a, name: b, fields: {x: chain}}, {namespace: a, name: b, fields: {y: key}}]}"],
        Codes("same-secret")),
    (&[AGENT, "config: {secrets: [{namespace: a, name: b, fields: {x: chain}}, {namespace: c, name: b, fields: {y: key}}]}"],
        Kinds("ConfigMap Deployment Role Role Role RoleBinding RoleBinding RoleBinding ServiceAccount")),
    (&[AGENT, "config: {secrets: [{namespace: a, name: b, fields: {x: chain}}, {namespace: a, name: c, fields: {y: key}}]}"],
        Kinds(LEAST)),
    (&[AGENT, "config: {secrets: [{namespace: a, name: b, fields: {tls.crt: chain}}]}"], Codes("half-pair")),
    (&[AGENT, "config: {secrets: [{namespace: a, name: b, fields: {tls.key: key}}]}"], Codes("half-pair")),
    (&[AGENT, "config: {secrets: [{namespace: a, name: b, fields: {ca.crt: bundle}}]}"], Kinds(LEAST)),
    (&[AGENT, "config: {secrets: [{namespace: a, name: b, type: kubernetes.io/tls, fields: {ca.crt: bundle}}]}"],
        Codes("tls-without-pair")),
    (&[AGENT, SECRET, "config: {secrets: [{namespace: a, name: b, fields: {x: chain}, owner: {api_version: v1, kind: ConfigMap, name: c, uid: u}}]}"],
        Codes("owner-without-create")),
    (&[AGENT, "config: {secrets: [{namespace: a, name: b, create: true, fields: {x: chain}, owner: {api_version: v1, kind: ConfigMap, name: c, uid: u}}]}"],
        Kinds(LEAST)),
    (&[AGENT, "config: {secrets: [{namespace: a, name: b, fields: {k.p12: {content: pkcs12, password_file: /passwords/k}}}]}"],
        Codes("no-volume")),
    (&[AGENT, "config: {secrets: [{namespace: a, name: b, fields: {k.p12: {content: pkcs12, password_file: /passwords/k}}}]}",
        "extraVolumes: [{name: p, secret: {secretName: p}}]\nextraVolumeMounts: [{name: p, mountPath: /passwords, readOnly: true}]"],
        Kinds(LEAST)),
    // A directory whose name only begins alike.
    (&[AGENT, "config: {secrets: [{namespace: a, name: b, fields: {k.p12: {content: pkcs12, password_file: /passwords/k}}}]}",
        "extraVolumes: [{name: p, secret: {secretName: p}}]\nextraVolumeMounts: [{name: p, mountPath: /pass, readOnly: true}]"],
        Codes("no-volume")),
    (&[AGENT, "config: {secrets: [{namespace: DB_, name: b, fields: {x: chain}}]}"], Codes("invalid-name")),
    (&[AGENT, "config: {secrets: [{namespace: a, name: 'b\"c', fields: {x: chain}}]}"], Codes("invalid-name")),
    (&[AGENT, SECRET, "config: {lease: {name: \"a, b]\\n  verbs: ['*']\"}}"], Codes("invalid-name")),
    (&[AGENT, SECRET, "config: {lease: {namespace: a.b}}"], Codes("invalid-name")),
    (&[AGENT, SECRET, "config: {kubernetes: {namespace: \"a\\nb\"}}"], Codes("invalid-name")),
    (&[AGENT, SECRET, "serviceAccount: {name: \"a\\nb\"}"], Codes("invalid-name")),
    (&[AGENT, SIDECAR, "fullnameOverride: \"a\\nb\""], Codes("invalid-name")),
    (&[AGENT, SECRET, "nameOverride: A"], Codes("invalid-name")),
    (&[AGENT, "config: {secrets: [{namespace: a, name: b.c, fields: {a/b: chain}}]}"], Codes("invalid-field")),
    (&[AGENT, "config: {secrets: [{namespace: a, name: b, fields: {x: nonsense}}]}"], Codes("unknown-content")),
    (&[AGENT, "config: {secrets: [{namespace: a, name: b, fields: {x: {content: nonsense}}}]}"], Codes("unknown-content")),
    (&[AGENT, "config: {secrets: [{namespace: a, name: b, fields: {a: chain, b: key, c: bundle, d: combined, e: der-key, f: der-certificate, \
        g: truststore, h: {content: chain, base64: true}}}]}"], Kinds(LEAST)),
    (&[AGENT, SECRET, "config: {files: {directory: /svids}}"], Codes("no-volume")),
    (&[AGENT, SECRET, "config: {files: {directory: /svids}}\nextraVolumes: [{name: s, emptyDir: {medium: Memory}}]\n\
        extraVolumeMounts: [{name: s, mountPath: /svids}]"], Kinds(LEAST)),

    (&[AGENT, SECRET, "config: {jwt: [{audience: a, file: /tokens/a}]}"], Codes("no-volume")),
    (&[AGENT, SIDECAR, "config: {jwt: [{audience: a, file: /svids/tokens/a}]}"], Kinds("ConfigMap")),
    (&[AGENT, SIDECAR, "config: {files: {extra_authorities: [/svids/a, /more/b]}}"], Codes("no-volume")),
    (&[AGENT, SIDECAR, "config: {files: {extra: [{name: a, content: pkcs12, password_file: /more/b}]}}"], Codes("no-volume")),

    // Where Secrets are written, and by which rights.
    (&[AGENT, SECRET, "config: {kubernetes: {server: 'https://other'}}"], Codes("half-server")),
    (&[AGENT, SECRET, "config: {kubernetes: {server: 'https://other', ca_file: /other/ca, token_file: /other/token}}"], Codes("no-volume")),
    (&[AGENT, SECRET, "config: {kubernetes: {server: 'https://other', ca_file: /other/ca, token_file: /other/token}}\n\
        extraVolumes: [{name: other, secret: {secretName: other}}]\nextraVolumeMounts: [{name: other, mountPath: /other}]"],
        Kinds("ConfigMap Deployment ServiceAccount")),
    (&[AGENT, SECRET, "config: {kubernetes: {field_manager: own}}"], Kinds(LEAST)),
    (&[AGENT, SECRET, "rbac: {create: false}"], Kinds("ConfigMap Deployment ServiceAccount")),
    (&[AGENT, SECRET, "serviceAccount: {create: false}"], Codes("no-service-account")),
    (&[AGENT, SECRET, "serviceAccount: {create: false, name: own}"], Kinds("ConfigMap Deployment Role Role RoleBinding RoleBinding")),

    // Replicas.
    (&[AGENT, SECRET, "replicas: 0"], Kinds(LEAST)),
    (&[AGENT, SECRET, "replicas: 2"], Kinds(SEVERAL)),
    (&[FILES, SECRET, "replicas: 3"], Kinds(SEVERAL)),
    (&[AGENT, SECRET, "replicas: 2\npodDisruptionBudget: {enabled: false}"],
        Kinds(LEAST)),
    (&[AGENT, SECRET, "config: {lease: {name: own, namespace: db}}"],
        Kinds(LEAST)),
    (&[AGENT, SECRET, "config: {lease: {}}"], Kinds(LEAST)),
    (&[AGENT, SECRET, "config: {lease: {duration: 300s}}"], Kinds(LEAST)),
    (&[AGENT, SECRET, "config: {lease: {duration: 1s}}"], Codes("lease-duration")),
    (&[AGENT, SECRET, "replicas: 2\nrbac: {create: false}"],
        Kinds("ConfigMap Deployment PodDisruptionBudget ServiceAccount")),
    (&[AGENT, SECRET, "replicas: -1"], Schema("/replicas")),

    // Networks and monitoring.
    (&[AGENT, SECRET, "networkPolicy: {enabled: true}"],
        Kinds("ConfigMap Deployment NetworkPolicy Role Role RoleBinding RoleBinding ServiceAccount")),
    (&[AGENT, SECRET, "podMonitor: {enabled: true}"], Kinds("ConfigMap Deployment PodMonitor Role Role RoleBinding RoleBinding ServiceAccount")),
    (&[AGENT, SECRET, "serviceMonitor: {enabled: true}"],
        Kinds("ConfigMap Deployment Role Role RoleBinding RoleBinding Service ServiceAccount ServiceMonitor")),
    (&[AGENT, SECRET, "podMonitor: {enabled: true}\nserviceMonitor: {enabled: true}"], Codes("two-monitors")),
    (&[AGENT, SECRET, "podMonitor: {enabled: true}\nconfig: {health: {listen: '127.0.0.1:9809'}}"], Codes("metrics-not-reachable")),
    (&[AGENT, SECRET, "serviceMonitor: {enabled: true}\nconfig: {health: {listen: '[::]:9000'}}"],
        Kinds("ConfigMap Deployment Role Role RoleBinding RoleBinding Service ServiceAccount ServiceMonitor")),
    (&[AGENT, SECRET, "config: {health: {listen: '127.0.0.1:9809'}}"], Kinds(LEAST)),
    (&[AGENT, SECRET, "config: {health: {listen: ''}}"], Codes("no-health")),
    (&[AGENT, SECRET, "prometheusRule: {enabled: true}"],
        Kinds("ConfigMap Deployment PrometheusRule Role Role RoleBinding RoleBinding ServiceAccount")),
    (&[AGENT, SECRET, "dashboard: {enabled: true}"], Kinds("ConfigMap ConfigMap Deployment Role Role RoleBinding RoleBinding ServiceAccount")),

    // Identities.
    (&[AGENT, SECRET, "clusterSPIFFEID: {enabled: true, dnsNameTemplates: [db]}"],
        Kinds("ClusterSPIFFEID ConfigMap Deployment Role Role RoleBinding RoleBinding ServiceAccount")),
    (&[AGENT, SECRET, "clusterSPIFFEID: {enabled: true}"], Codes("identity-without-names")),
    (&[FILES, SECRET, "clusterSPIFFEID: {enabled: true, dnsNameTemplates: [db]}"], Codes("identity-without-agent")),

    // Everything at once.
    (&[AGENT, SECRET, "replicas: 2\nnetworkPolicy: {enabled: true}\npodMonitor: {enabled: true}\nprometheusRule: {enabled: true}\n\
        dashboard: {enabled: true}\nclusterSPIFFEID: {enabled: true, dnsNameTemplates: [db]}"],
        Kinds("ClusterSPIFFEID ConfigMap ConfigMap Deployment NetworkPolicy PodDisruptionBudget PodMonitor PrometheusRule Role Role \
            RoleBinding RoleBinding ServiceAccount")),

    // What is for the pods of other charts, and what is not.
    (&[AGENT, SIDECAR], Kinds("ConfigMap")),
    (&[AGENT, CLIENT], Kinds("ConfigMap")),
    (&[FILES, SIDECAR], Kinds("ConfigMap")),
    (&[SIDECAR], Codes("no-source")),
    (&[AGENT, SIDECAR, "podSelector: {a: b}\npodMonitor: {enabled: true}\nprometheusRule: {enabled: true}\ndashboard: {enabled: true}\n\
        clusterSPIFFEID: {enabled: true, dnsNameTemplates: [db]}"],
        Kinds("ClusterSPIFFEID ConfigMap ConfigMap PodMonitor PrometheusRule")),
    (&[AGENT, SIDECAR, "podMonitor: {enabled: true}"], Codes("no-pod-selector")),
    (&[AGENT, CLIENT, "clusterSPIFFEID: {enabled: true, dnsNameTemplates: [a]}"], Codes("no-pod-selector")),
    (&[AGENT, SIDECAR, SECRET], Codes("only-for-publisher")),
    (&[AGENT, SIDECAR, "replicas: 2"], Codes("only-for-publisher")),
    (&[AGENT, CLIENT, "networkPolicy: {enabled: true}"], Codes("only-for-publisher")),
    (&[AGENT, CLIENT, "podSelector: {a: b}\nserviceMonitor: {enabled: true}"], Codes("only-for-publisher")),
    (&[AGENT, "mode: sidecar\nconfig: {postgres: {}}"], Codes("no-directory")),
    (&[AGENT, "mode: sidecar\nconfig: {files: {directory: /svids}}"], Codes("no-postgres")),
    (&[AGENT, "mode: client\nconfig: {files: {directory: /svids}}"], Codes("no-service")),
    (&[AGENT, SECRET, "config: {postgres: {}}"], Codes("server-in-publisher")),
    (&[AGENT, SECRET, "config: {hooks: [{name: a, command: [/bin/true]}]}"], Codes("server-in-publisher")),
    (&[AGENT, SECRET, "config: {roles: [{spiffe_id: 'spiffe://a/b', role: c}]}"], Codes("server-in-publisher")),
    (&[AGENT, SECRET, "podSelector: {a: b}"], Codes("pod-selector-of-publisher")),
    (&[AGENT, SECRET, "mode: daemon"], Schema("/mode")),

    // A chart that depends on this one has its own switch there.
    (&[AGENT, SECRET, "enabled: true\nglobal: {a: b}"], Kinds(LEAST)),

    // Mistakes in names and types.
    (&[AGENT, SECRET, "replica: 2"], Schema("")),
    (&[AGENT, SECRET, "config: {health: {listn: a}}"], Schema("/config/health")),
    (&[AGENT, SECRET, "config: {svid: {dns_names: [null]}}"], Schema("/config/svid/dns_names/0")),
    (&[AGENT, SECRET, "image: {digest: latest}"], Schema("/image/digest")),
    (&[AGENT, SECRET, "runAsUser: 0"], Schema("/runAsUser")),
];

#[test]
fn each_combination_of_values_gives_its_kinds_or_is_refused_with_its_code() {
    let mut wrong = String::new();
    let mut rendered = String::new();
    for (values, outcome) in TABLE {
        let (expected, found) = match (outcome, render(values)) {
            (Kinds(expected), Ok(yaml)) => {
                let found = kinds(&yaml);
                rendered.push_str(&yaml);
                (words(expected), found)
            }
            (Codes(expected), Err(Refusal::Codes(codes))) => {
                (words(expected), codes.into_iter().collect())
            }
            (Schema(expected), Err(Refusal::Schema(places))) => {
                (vec![(*expected).to_owned()], places.into_iter().collect())
            }
            (Kinds(expected) | Codes(expected) | Schema(expected), other) => {
                let found = other.map(|yaml| kinds(&yaml));
                writeln!(wrong, "{values:?}: {expected} expected, not {found:?}").unwrap();
                continue;
            }
        };
        if expected != found {
            writeln!(wrong, "{values:?}: {expected:?} expected, not {found:?}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    // All at once, because the schemas are large.
    let objects = Manifests::validated("the chart", rendered.as_bytes());
    assert!(objects.all().count() > 150);
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn kinds(yaml: &str) -> Vec<String> {
    let lines = yaml.lines().filter_map(|line| line.strip_prefix("kind: "));
    let mut kinds: Vec<_> = lines.map(str::to_owned).collect();
    kinds.sort();
    kinds
}

#[test]
fn the_table_has_each_code_of_the_chart() {
    let mut defined = BTreeSet::new();
    for entry in std::fs::read_dir(chart().join("templates")).unwrap() {
        defined.extend(codes(&std::fs::read_to_string(entry.unwrap().path()).unwrap()));
    }
    let mut listed: BTreeSet<_> = TABLE
        .iter()
        .filter_map(
            |(_, outcome)| if let Codes(codes) = outcome { Some(words(codes)) } else { None },
        )
        .flatten()
        .collect();
    // `a_value_that_toml_cannot_hold_is_refused`.
    listed.insert("not-toml".to_owned());
    assert_eq!(listed, defined);
    let combinations: BTreeSet<_> = TABLE.iter().map(|(values, _)| values).collect();
    assert!(TABLE.len() >= 25 && combinations.len() == TABLE.len(), "{}", TABLE.len());
}

/// Helm's function writes the error into the file, as if it were the text.
#[test]
fn a_value_that_toml_cannot_hold_is_refused() {
    let values = [AGENT, SECRET, "config: {svid: {dns_names: [null]}}"];
    let refusal = render_with(&chart(), &values, &["--skip-schema-validation"]).unwrap_err();
    assert_eq!(refusal, Refusal::Codes(BTreeSet::from(["not-toml".to_owned()])));
}
