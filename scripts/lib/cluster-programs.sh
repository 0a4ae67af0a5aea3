# shellcheck shell=bash
# The programs of cluster.sh. To be sourced in the root of the repository, after prerequisites.sh and go.sh.
#
#   cluster_programs       Debian's etcd, and Kubernetes by Go (eight minutes, once), into target/tools or KUBERNETES_BIN;
#                          sets `kubernetes_bin`
#   node_programs          Debian's containerd, runc and CNI plugins

readonly kubernetes_version=1.34.4
readonly kubernetes_components=(kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl csi-driver
    cluster-dns)

cluster_programs() {
    build_prerequisites openssl=openssl ip=iproute2 nsenter=util-linux
    unpack_programs "$(target_directory)/tools" etcd-server etcd
    kubernetes_bin=${KUBERNETES_BIN:-$(target_directory)/tools/kubernetes-$kubernetes_version}
    local sources=tests/kubernetes/components
    if [[ -z ${KUBERNETES_BIN:-} && $(cat "$kubernetes_bin/built-from" 2>/dev/null) != "$(cat $sources/*.go | sha256sum)" ]]; then
        build_kubernetes
    fi
    # etcd beside the others.
    PATH=$(target_directory)/tools:$PATH
}

# k8s.io/kubernetes names its parts by paths inside of its repository, so `go install` refuses it. A module of our own replaces each by
# the published module, whose version has the same last two numbers.
build_kubernetes() (
    need_go
    printf 'Building Kubernetes %s …\n' "$kubernetes_version" >&2
    work=$(mktemp -d)
    trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
    cp tests/kubernetes/components/*.go "$work"
    built_from=$(cat tests/kubernetes/components/*.go | sha256sum)
    cd "$work" || exit
    export CGO_ENABLED=0 GOFLAGS='-buildvcs=false -mod=mod'
    printf '%s\n' 'module pgsvid.invalid/kubernetes' 'go 1.24.0' 'godebug default=go1.24' \
        "require k8s.io/kubernetes v$kubernetes_version" >go.mod
    source=$(go mod download -json "k8s.io/kubernetes@v$kubernetes_version" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
    sed -n "s,^\tk8s.io/\([a-z-]*\) => ./staging.*,replace k8s.io/\1 => k8s.io/\1 v0.${kubernetes_version#1.},p" \
        "$source/go.mod" | grep -v sample >>go.mod
    go mod tidy -e 2>tidy.log || { cat tidy.log >&2; give_up 'the modules of Kubernetes cannot be downloaded'; }
    local flags='-s -w' package minor=${kubernetes_version#1.}
    for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        flags+=" -X $package.gitVersion=v$kubernetes_version -X $package.gitMajor=1 -X $package.gitMinor=${minor%.*}"
    done
    mkdir -p "$kubernetes_bin"
    nice go build -trimpath -ldflags "$flags" -o "$kubernetes_bin/components" .
    local component
    for component in "${kubernetes_components[@]}"; do
        ln -sf components "$kubernetes_bin/$component"
    done
    printf '%s\n' "$built_from" >"$kubernetes_bin/built-from"
)

node_programs() {
    build_prerequisites containerd=containerd runc=runc iptables=iptables conntrack=conntrack
    [[ -x /usr/lib/cni/bridge ]] || install_packages containernetworking-plugins
}
