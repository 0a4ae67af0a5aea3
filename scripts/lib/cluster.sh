# shellcheck shell=bash
# A Kubernetes of one node for tests, in namespaces of its own (mount, network, PID, UTS, IPC): it takes no port, mount, route, sysctl
# or process of the machine, and one signal ends all of it. To be sourced in the root of the repository, after
# cluster-programs.sh.
#
#   start_cluster       etcd, API server, controller manager and scheduler, in $cluster, a new directory
#   start_node          containerd, kubelet, kube-proxy, and the stand-ins for DNS and for the CSI driver
#   in_cluster COMMAND  runs a command inside, as root, on the same files
#   stop_cluster        ends everything, and removes $cluster
#
# What runs inside finds in its environment, and in its directories:
#
#   KUBECONFIG                         kubectl and Helm, which are in PATH, act as an administrator
#   PGSVID_CLUSTER                     the directory of the cluster, with
#       pki/ca.crt                     the authority of the API server's certificate
#       components/NAME, pids/NAME     starts a component (`setsid --fork`), and the number of its process, to stop or kill it:
#                                      etcd, kube-apiserver, kube-controller-manager, kube-scheduler; with a node
#                                      containerd, kubelet, kube-proxy, cluster-dns, csi-driver
#       log/NAME                       what it printed
#   PGSVID_CLUSTER_SERVER              the API server's address, https://…:6443
#
# A token of a ServiceAccount: kubectl --namespace NAMESPACE create token NAME --duration 10m

: "${kubernetes_bin=}"

node_address=10.99.0.1
cluster_server=https://$node_address:6443

start_cluster() {
    ((EUID == 0)) || give_up 'a cluster needs root, for its namespaces' "sudo $0"
    remove_leftovers
    cluster=$(mktemp -d "/tmp/pgsvid-kubernetes.XXXXXX")
    printf '%s\n' $$ >"$cluster/owner"
    chmod 755 "$cluster"
    mkdir "$cluster"/{pki,components,pids,log,run,csi,volumes}
    cgroup=pgsvid-kubernetes-$$
    cluster_certificates
    cluster_namespaces
    control_plane
}

stop_cluster() {
    [[ -n ${cluster:-} ]] || return 0
    if [[ -n ${holder:-} ]]; then
        # unshare ends its child with it, and the kernel everything that is left in the PID namespace.
        kill -KILL "$holder" 2>/dev/null || :
        wait "$holder" 2>/dev/null || :
        local directory
        for directory in /sys/fs/cgroup/*/"$cgroup" /sys/fs/cgroup/"$cgroup"; do
            [[ ! -d $directory ]] || remove_cgroups "$directory"
        done
    fi
    rm -rf --one-file-system "$cluster"
    cluster=''
}

# Of scripts that were killed: files and empty cgroups, because the kernel has ended the rest.
remove_leftovers() {
    local file owner
    for file in /tmp/pgsvid-kubernetes.*/owner; do
        owner=$(cat "$file" 2>/dev/null) || continue
        [[ -d /proc/$owner ]] || rm -rf --one-file-system "${file%/owner}"
    done
    for file in /sys/fs/cgroup/*/pgsvid-kubernetes-* /sys/fs/cgroup/pgsvid-kubernetes-*; do
        [[ ! -d $file || -d /proc/${file##*-} ]] || remove_cgroups "$file"
    done
}

# The kernel needs a moment to take the last processes out of them.
remove_cgroups() {
    local _
    for _ in {1..100}; do
        find "$1" -depth -type d -exec rmdir {} + 2>/dev/null || :
        [[ -d $1 ]] || return 0
        sleep 0.1
    done
    printf '%s: %s is still in use\n' "$0" "$1" >&2
}

in_cluster() {
    nsenter --target "$first" --mount --net --pid --uts --ipc --wd="$PWD" \
        env PATH="$kubernetes_bin:$PWD/target/tools/kubernetes:$PATH" KUBECONFIG="$cluster/pki/admin.conf" \
        PGSVID_CLUSTER="$cluster" PGSVID_CLUSTER_SERVER="$cluster_server" \
        CONTAINERD_ADDRESS="$cluster/run/containerd.sock" CONTAINERD_NAMESPACE=k8s.io \
        "$@"
}

# One authority; a key and a certificate for each component, and a kubeconfig for each client.
cluster_certificates() (
    cd "$cluster/pki" || exit
    key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }
    key ca
    openssl req -x509 -new -key ca.key -subj /CN=cluster-ca -days 30 -out ca.crt
    key service-accounts
    openssl ec -in service-accounts.key -pubout -out service-accounts.pub 2>/dev/null
    certificate() { # NAME SUBJECT [NAMES]
        key "$1"
        openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
        openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out "$1.crt" \
            -extfile <(printf 'extendedKeyUsage=clientAuth,serverAuth\n%s\n' "${3:+subjectAltName=$3}") 2>/dev/null
    }
    local service=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local
    certificate apiserver /CN=kube-apiserver "$service,DNS:localhost,IP:127.0.0.1,IP:$node_address,IP:10.96.0.1"
    certificate apiserver-kubelet /O=system:masters/CN=apiserver-kubelet
    certificate front-proxy /CN=front-proxy
    certificate admin /O=system:masters/CN=admin
    certificate controller-manager /CN=system:kube-controller-manager
    certificate scheduler /CN=system:kube-scheduler
    certificate proxy /CN=system:kube-proxy
    certificate node /O=system:nodes/CN=system:node:node1 "DNS:node1,IP:$node_address"
    local client
    for client in admin controller-manager scheduler proxy node; do
        printf '%s\n' 'apiVersion: v1' 'kind: Config' 'current-context: own' \
            "clusters: [{name: own, cluster: {server: '$cluster_server', certificate-authority: '$PWD/ca.crt'}}]" \
            "users: [{name: own, user: {client-certificate: '$PWD/$client.crt', client-key: '$PWD/$client.key'}}]" \
            'contexts: [{name: own, context: {cluster: own, user: own}}]' >"$client.conf"
    done
)

# Sets `holder`, the process that holds the namespaces, and `first`, their first process, which waits for its orphans.
cluster_namespaces() {
    cat >"$cluster/first" <<END
set -e
mount --make-rshared /
hostname node1
ip link set lo up
# Not every kernel has dummy devices.
ip link add node0 type veth peer name node0p
ip address add $node_address/24 dev node0
ip link set node0 up
ip link set node0p up
ip route add default via 10.99.0.254
echo 1 >/proc/sys/net/ipv4/ip_forward
# Where containerd, runc, the CNI and the kubelet leave files whatever they are told.
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/log
mount -t tmpfs tmpfs "$cluster/run"
mkdir "$cluster"/run/{lib,work}
mount -t overlay overlay -o lowerdir=/var/lib,upperdir="$cluster/run/lib",workdir="$cluster/run/work" /var/lib
printf '127.0.0.1 localhost\n$node_address node1\n' >"$cluster/run/hosts"
mount --bind "$cluster/run/hosts" /etc/hosts
: >"$cluster/run/resolv.conf"
# It may be a link to a file in /run.
resolver=\$(realpath --canonicalize-missing /etc/resolv.conf)
mkdir -p "\${resolver%/*}"
[ -e "\$resolver" ] || : >"\$resolver"
mount --bind "$cluster/run/resolv.conf" "\$resolver"
# The kubelet sets these for the machine: it finds its values in files that only the cluster sees.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    name=\${setting%=*}
    echo "\${setting#*=}" >"$cluster/run/\${name##*/}"
    mount --bind "$cluster/run/\${name##*/}" "/proc/sys/\$name"
done
touch "$cluster/run/ready"
sleep infinity &
while :; do wait; done
END
    # If this script is killed, so is unshare, and with it everything.
    setpriv --pdeathsig KILL unshare --mount --net --pid --uts --ipc --fork --kill-child --mount-proc --propagation private \
        bash "$cluster/first" >"$cluster/log/first" 2>&1 </dev/null &
    holder=$!
    local _
    for _ in {1..100}; do
        first=$(cat "/proc/$holder/task/$holder/children" 2>/dev/null) || :
        first=${first%% *}
        if [[ -n $first ]] && nsenter --target "$first" --mount test -e "$cluster/run/ready" 2>/dev/null; then
            return
        fi
        sleep 0.1
    done
    cat "$cluster/log/first" >&2
    give_up 'the namespaces of the cluster cannot be made'
}

# component NAME COMMAND: writes its script, and starts it.
component() {
    local script=$cluster/components/$1
    {
        printf '#!/bin/sh\necho $$ >%q\nexec' "$cluster/pids/$1"
        printf ' %q' "${@:2}"
        printf ' >>%q 2>&1 </dev/null\n' "$cluster/log/$1"
    } >"$script"
    chmod +x "$script"
    in_cluster setsid --fork "$script"
}

# wait_for NAME COMMAND: until it succeeds.
wait_for() {
    local _
    for _ in {1..600}; do
        if in_cluster "${@:2}" >"$cluster/log/waiting" 2>&1; then
            return
        fi
        sleep 0.2
    done
    tail -n 20 "$cluster/log/waiting" "$cluster/log/$1" >&2
    give_up "$1 did not start"
}

# A kubeconfig for the work, for authentication and for authorisation.
as_client() {
    local file=$cluster/pki/$1.conf
    printf -- '--kubeconfig=%s\n--authentication-kubeconfig=%s\n--authorization-kubeconfig=%s\n' "$file" "$file" "$file"
}

control_plane() {
    local pki=$cluster/pki
    local -a options
    component etcd etcd --data-dir "$cluster/run/etcd" --listen-client-urls http://127.0.0.1:2379 \
        --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380
    component kube-apiserver kube-apiserver --etcd-servers http://127.0.0.1:2379 --advertise-address "$node_address" \
        --secure-port 6443 --client-ca-file "$pki/ca.crt" --tls-cert-file "$pki/apiserver.crt" \
        --tls-private-key-file "$pki/apiserver.key" --authorization-mode Node,RBAC \
        --service-account-issuer https://kubernetes.default.svc.cluster.local \
        --service-account-key-file "$pki/service-accounts.pub" \
        --service-account-signing-key-file "$pki/service-accounts.key" --service-cluster-ip-range 10.96.0.0/16 \
        --kubelet-client-certificate "$pki/apiserver-kubelet.crt" --kubelet-client-key "$pki/apiserver-kubelet.key" \
        --kubelet-certificate-authority "$pki/ca.crt" --kubelet-preferred-address-types InternalIP \
        --requestheader-client-ca-file "$pki/ca.crt" --requestheader-allowed-names front-proxy \
        --requestheader-username-headers X-Remote-User --requestheader-group-headers X-Remote-Group \
        --requestheader-extra-headers-prefix X-Remote-Extra- --proxy-client-cert-file "$pki/front-proxy.crt" \
        --proxy-client-key-file "$pki/front-proxy.key" --enable-admission-plugins NodeRestriction --allow-privileged \
        --profiling=false --feature-gates MutatingAdmissionPolicy=true \
        --runtime-config admissionregistration.k8s.io/v1beta1=true
    wait_for kube-apiserver kubectl get --raw /readyz
    mapfile -t options < <(as_client controller-manager)
    component kube-controller-manager kube-controller-manager "${options[@]}" --root-ca-file "$pki/ca.crt" \
        --service-account-private-key-file "$pki/service-accounts.key" --use-service-account-credentials \
        --cluster-cidr 10.244.0.0/16 --allocate-node-cidrs=false --cluster-signing-cert-file "$pki/ca.crt" \
        --cluster-signing-key-file "$pki/ca.key" --leader-elect=false
    mapfile -t options < <(as_client scheduler)
    component kube-scheduler kube-scheduler "${options[@]}" --leader-elect=false
}
