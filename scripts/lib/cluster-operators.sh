# shellcheck shell=bash
# CloudNativePG for the cluster of cluster.sh, and the kinds of other operators. To be sourced in the root of the repository, after go.sh and cluster-images.sh.
#
#   cloudnative_pg               its operator by Go (five minutes, once), into target/tools; sets `cloudnative_pg`
#   operator_images DIRECTORY    writes its image, and that of Debian's PostgreSQL, which has what replicas need
#   start_cloudnative_pg         installs it
#   operator_kinds               the kinds of Zalando's operator and of cert-manager, out of their modules; sets `operator_kinds`
#   start_operator_kinds         gives them to the API server, without the operators

readonly cloudnative_pg_version=1.27.0
readonly zalando_module=github.com/zalando/postgres-operator@v1.15.1
readonly cert_manager_module=github.com/cert-manager/cert-manager@v1.21.2

: "${cluster=}"

cloudnative_pg() {
    cloudnative_pg=$(target_directory)/tools/cloudnative-pg-$cloudnative_pg_version
    [[ -x $cloudnative_pg/manager ]] || build_cloudnative_pg
}

build_cloudnative_pg() (
    need_go
    printf 'Building CloudNativePG %s …\n' "$cloudnative_pg_version" >&2
    module=github.com/cloudnative-pg/cloudnative-pg
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    mkdir -p "$cloudnative_pg"
    cd "$work" || exit
    export CGO_ENABLED=0 GOFLAGS='-buildvcs=false -mod=mod'
    go mod init pgsvid.invalid/tools
    go get -tool "$module/cmd/manager@v$cloudnative_pg_version"
    cat "$(go list -m -f '{{.Dir}}' "$module")/releases/cnpg-$cloudnative_pg_version.yaml" >"$cloudnative_pg/operator.yaml"
    nice go build -trimpath -ldflags '-s -w' -o "$cloudnative_pg/manager" "$module/cmd/manager"
)

operator_images() {
    local root bin
    root=$(mktemp -d)
    mkdir -p "$root/operator/operator"
    # The operator copies itself into the pods from there.
    cp "$cloudnative_pg/manager" "$root/operator/operator/manager_amd64"
    ln -s operator/manager_amd64 "$root/operator/manager"
    cluster_image "ghcr.io/cloudnative-pg/cloudnative-pg:$cloudnative_pg_version" "$root/operator" "$1/operator.tar" \
        65532:65532 '"/manager"'

    bin=$(realpath "$(dirname "$(newest_client psql)")")
    put_programs "$root/debian" bash sh cat chmod cp date env id ls mkdir mv rm sed sleep tar
    put_programs "$root/debian" "$bin"/*
    mkdir -p "$root"/debian/{tmp,usr/share/postgresql,var/lib/postgresql,var/run/postgresql}
    chmod 1777 "$root/debian/tmp" "$root/debian/var/run/postgresql"
    cp -a "${bin%/bin}/lib" "$root/debian${bin%/bin}/"
    cp -aL "/usr/share/postgresql/$(basename "${bin%/bin}")" /usr/share/zoneinfo "$root/debian/usr/share/postgresql/"
    mv "$root/debian/usr/share/postgresql/zoneinfo" "$root/debian/usr/share/"
    printf '%s\n' 'root:x:0:0::/root:/bin/sh' 'postgres:x:26:26::/var/lib/postgresql:/bin/sh' >"$root/debian/etc/passwd"
    cluster_image "pgsvid.invalid/postgresql:$(basename "${bin%/bin}")" "$root/debian" "$1/postgresql.tar" 26:26 '"/bin/sh"' \
        SIGTERM "$bin:"
    rm -rf "$root"
}

start_cloudnative_pg() {
    # Its image cannot be pulled, and is there.
    sed 's/imagePullPolicy: Always/imagePullPolicy: IfNotPresent/' "$cloudnative_pg/operator.yaml" |
        in_cluster kubectl apply --server-side --filename - >>"$cluster/log/objects"
    in_cluster kubectl --namespace cnpg-system rollout status deployment/cnpg-controller-manager --timeout=180s
}

operator_kinds() {
    local module directory
    operator_kinds=$(target_directory)/tools/operator-kinds
    if [[ $(cat "$operator_kinds/from" 2>/dev/null) == "$zalando_module $cert_manager_module" ]]; then
        return
    fi
    need_go
    rm -rf "$operator_kinds"
    mkdir -p "$operator_kinds"
    for module in "$zalando_module" "$cert_manager_module"; do
        directory=$(go mod download -json "$module" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
        [[ -n $directory ]] || give_up "$module cannot be downloaded"
        cp "$directory"/manifests/postgresql.crd.yaml "$directory"/deploy/crds/*.yaml "$operator_kinds/" 2>/dev/null || :
    done
    chmod -R u+w "$operator_kinds"
    printf '%s\n' "$zalando_module $cert_manager_module" >"$operator_kinds/from"
}

start_operator_kinds() {
    in_cluster kubectl apply --server-side --filename "$operator_kinds" >>"$cluster/log/objects"
    in_cluster kubectl wait --for=condition=Established --timeout=60s --filename "$operator_kinds" >>"$cluster/log/objects"
}
