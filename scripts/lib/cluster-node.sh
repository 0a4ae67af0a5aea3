# shellcheck shell=bash
# The node of cluster.sh, on which pods run. To be sourced after it.
#
#   start_node              containerd, kubelet, kube-proxy, and the stand-ins for DNS and for the CSI driver
#   load_image FILE         gives an image to containerd, which pulls none

: "${cluster=}" "${cgroup=}" "${node_address=}"

# Volumes for claims: each test makes databases of its own.
readonly volumes=30

start_node() {
    node_cgroups
    node_configuration
    component containerd containerd --config "$cluster/containerd.toml"
    wait_for containerd ctr version
    component kubelet kubelet --config "$cluster/kubelet.yaml" --kubeconfig "$cluster/pki/node.conf" \
        --root-dir "$cluster/kubelet" --hostname-override node1 --node-ip "$node_address"
    component kube-proxy kube-proxy --kubeconfig "$cluster/pki/proxy.conf" --proxy-mode iptables \
        --cluster-cidr 10.244.0.0/16 --hostname-override node1 --conntrack-max-per-core 0
    component cluster-dns cluster-dns "$node_address:53" "$cluster/pki/admin.conf"
    component csi-driver csi-driver node1 "$cluster/kubelet" "$cluster/csi"
    node_objects | in_cluster kubectl apply --filename - >"$cluster/log/objects"
    wait_for kubelet kubectl wait --for=condition=Ready node/node1 --timeout=1s
}

load_image() {
    in_cluster ctr images import "$1" >>"$cluster/log/images" 2>&1 || give_up "containerd does not take $1"
}

# The kubelet's own directory below each controller's root (cgroup v1), or below the one of all (v2).
node_cgroups() {
    local controller file
    if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
        mkdir "/sys/fs/cgroup/$cgroup"
        return
    fi
    for controller in cpu cpuacct cpuset memory pids devices freezer blkio systemd; do
        [[ ! -d /sys/fs/cgroup/$controller ]] || mkdir -p "/sys/fs/cgroup/$controller/$cgroup"
    done
    for file in cpuset.cpus cpuset.mems; do
        cat "/sys/fs/cgroup/cpuset/$file" >"/sys/fs/cgroup/cpuset/$cgroup/$file"
    done
}

node_configuration() {
    cat >"$cluster/containerd.toml" <<END
version = 2
root = "$cluster/containerd"
state = "$cluster/run/containerd"
[grpc]
address = "$cluster/run/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "pgsvid.invalid/pause:1"
disable_apparmor = true
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "$cluster/cni"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
END
    mkdir "$cluster/cni"
    cat >"$cluster/cni/10-bridge.conflist" <<END
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
 {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
  "ipam": {"type": "host-local", "dataDir": "$cluster/run/cni", "ranges": [[{"subnet": "10.244.0.0/24"}]],
           "routes": [{"dst": "0.0.0.0/0"}]}}]}
END
    cat >"$cluster/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: "$cluster/pki/ca.crt"}}
authorization: {mode: Webhook}
tlsCertFile: "$cluster/pki/node.crt"
tlsPrivateKeyFile: "$cluster/pki/node.key"
cgroupDriver: cgroupfs
cgroupRoot: /$cgroup
failSwapOn: false
failCgroupV1: false
clusterDomain: cluster.local
clusterDNS: [$node_address]
resolvConf: "$cluster/run/resolv.conf"
containerRuntimeEndpoint: "unix://$cluster/run/containerd.sock"
podLogsDir: "$cluster/log/pods"
volumePluginDir: "$cluster/run/volume-plugins"
# An image that is removed cannot be pulled again: never, however full the disk is.
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 200Mi, imagefs.available: 200Mi, nodefs.inodesFree: 1%}
# What is unused may be needed again, and nothing can be pulled.
imageGCHighThresholdPercent: 100
syncFrequency: 10s
END
}

# Local volumes, of which the kubelet honours fsGroup; the CSI driver's object; and the kind PodMonitor, without its operator.
node_objects() {
    local number
    for ((number = 1; number <= volumes; number++)); do
        mkdir "$cluster/volumes/$number"
        cat <<END
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: local-$number}
spec:
  capacity: {storage: 10Gi}
  accessModes: [ReadWriteOnce]
  local: {path: $cluster/volumes/$number}
  nodeAffinity:
    required:
      nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [node1]}]}]
END
    done
    cat <<END
---
apiVersion: storage.k8s.io/v1
kind: CSIDriver
metadata: {name: csi.spiffe.io}
spec: {attachRequired: false, podInfoOnMount: true, fsGroupPolicy: None, volumeLifecycleModes: [Ephemeral]}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: podmonitors.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  scope: Namespaced
  names: {kind: PodMonitor, plural: podmonitors, singular: podmonitor}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
END
}
