# shellcheck shell=bash
# CloudNativePG for the cluster of cluster.sh. To be sourced in the root of the repository, after go.sh and cluster-images.sh.
#
#   cloudnative_pg               its operator by Go (five minutes, once), into target/tools; sets `cloudnative_pg`
#   operator_images DIRECTORY    writes its image, and that of Debian's PostgreSQL, which has what replicas need
#   start_cloudnative_pg         installs it

readonly cloudnative_pg_version=1.27.0

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
