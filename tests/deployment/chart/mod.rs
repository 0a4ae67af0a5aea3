//! The Helm chart: which objects its values give, which values it refuses, and that its pods are those of k8s/.

mod configuration;
mod copies;
mod helm;
mod monitoring;
mod publisher;
mod run;
mod same_pods;
mod table;
mod upgrades;

/// Values from which most releases of the tests are made.
mod values {
    /// The source: SPIFFE's CSI driver.
    pub(super) const AGENT: &str =
        "config: {workload_api: {endpoint: 'unix:///spiffe-workload-api/spire-agent.sock'}}";
    /// The other source: files, in a volume.
    pub(super) const FILES: &str = "config: {certificates: {certificate: /tls/tls.crt, private_key: /tls/tls.key, bundle: /tls/ca.crt}}\n\
        extraVolumes: [{name: tls, secret: {secretName: own}}]\n\
        extraVolumeMounts: [{name: tls, mountPath: /tls, readOnly: true}]";
    /// One Secret, in another namespace.
    pub(super) const SECRET: &str = "config: {secrets: [{namespace: db, name: server, fields: {tls.crt: chain, tls.key: key, ca.crt: bundle}}]}";
    /// pgsvid beside a PostgreSQL.
    pub(super) const SIDECAR: &str =
        "mode: sidecar\nconfig: {files: {directory: /svids}, postgres: {}}";
    /// pgsvid beside an application.
    pub(super) const CLIENT: &str = "mode: client\nconfig: {files: {directory: /svids, service: {name: products, options: {host: db}}}}";
}
