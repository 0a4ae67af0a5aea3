# shellcheck shell=bash
# A SPIRE in the cluster of cluster.sh: to be sourced after it. Pods are attested through the kubelet (the workload attestor
# k8s), and the controller manager registers what ClusterSPIFFEIDs select.
#
#   start_spire   server, agent and controller manager, as components; SVIDs live one minute
#
# The agent's socket is csi/spire-agent.sock below $cluster: the volume of the CSI driver.

: "${cluster=}"

start_spire() {
    local spire=$cluster/spire token socket=$cluster/csi/spire-agent.sock
    mkdir -p "$spire/agent"
    spire_configuration "$spire"
    component spire-server "$SPIRE_BIN/spire-server" run -config "$spire/server.conf"
    wait_for spire-server "$SPIRE_BIN/spire-server" healthcheck -socketPath "$spire/server.sock"
    token=$(in_cluster "$SPIRE_BIN/spire-server" token generate -spiffeID spiffe://example.org/node \
        -socketPath "$spire/server.sock")
    printf 'agent {\n join_token = "%s"\n' "${token#Token: }" >"$spire/agent.conf"
    sed 1d "$spire/agent.in" >>"$spire/agent.conf"
    component spire-agent "$SPIRE_BIN/spire-agent" run -config "$spire/agent.conf"
    wait_for spire-agent "$SPIRE_BIN/spire-agent" healthcheck -socketPath "$socket"
    in_cluster kubectl apply --server-side --filename "$SPIRE_BIN/crds" >>"$cluster/log/objects"
    # Its webhooks need certificates, and only check what is applied.
    component spire-controller-manager env ENABLE_WEBHOOKS=false "$SPIRE_BIN/spire-controller-manager" \
        --config "$spire/controller-manager.yaml"
    wait_for spire-controller-manager bash -c '</dev/tcp/127.0.0.1/8083'
}

spire_configuration() {
    cat >"$1/server.conf" <<END
server {
  bind_address = "127.0.0.1"
  bind_port = "8081"
  socket_path = "$1/server.sock"
  trust_domain = "example.org"
  data_dir = "$1"
  default_x509_svid_ttl = "1m"
}
plugins {
  DataStore "sql" { plugin_data { database_type = "sqlite3" connection_string = "$1/db.sqlite3" } }
  NodeAttestor "join_token" { plugin_data {} }
  KeyManager "disk" { plugin_data { keys_path = "$1/keys.json" } }
}
END
    cat >"$1/agent.in" <<END
agent {
  data_dir = "$1/agent"
  server_address = "127.0.0.1"
  server_port = "8081"
  socket_path = "$cluster/csi/spire-agent.sock"
  trust_domain = "example.org"
  insecure_bootstrap = true
}
plugins {
  NodeAttestor "join_token" { plugin_data {} }
  KeyManager "disk" { plugin_data { directory = "$1/agent" } }
  WorkloadAttestor "k8s" {
    plugin_data {
      kubelet_ca_path = "$cluster/pki/ca.crt"
      certificate_path = "$cluster/pki/admin.crt"
      private_key_path = "$cluster/pki/admin.key"
      node_name = "node1"
    }
  }
}
END
    cat >"$1/controller-manager.yaml" <<END
apiVersion: spire.spiffe.io/v1alpha1
kind: ControllerManagerConfig
metrics: {bindAddress: "0"}
health: {healthProbeBindAddress: "127.0.0.1:8083"}
leaderElection: {leaderElect: false}
clusterName: test
clusterDomain: cluster.local
trustDomain: example.org
parentIDTemplate: spiffe://example.org/node
spireServerSocketPath: $1/server.sock
validatingWebhookConfigurationName: none
ignoreNamespaces: [kube-system]
END
}
