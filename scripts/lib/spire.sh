# shellcheck shell=bash
# SPIRE, built with Go. To be sourced in the root of the repository, after prerequisites.sh and go.sh.
#
#   spire_programs             its server and agent (ten minutes, once), into target/tools, unless SPIRE_BIN names a directory
#                              that has them; sets and exports SPIRE_BIN
#   spire_controller_manager   its controller manager, into the same directory

readonly spire_version=v1.13.3 spire_module=github.com/spiffe/spire/cmd
readonly controller_manager_version=v0.6.2

spire_programs() {
    if [[ -z ${SPIRE_BIN:-} ]]; then
        SPIRE_BIN=$(target_directory)/tools/spire-$spire_version
        mkdir -p "$SPIRE_BIN"
        build_spire
    fi
    SPIRE_BIN=$(realpath "$SPIRE_BIN")
    export SPIRE_BIN
}

build_spire() (
    if [[ -x $SPIRE_BIN/spire-server && -x $SPIRE_BIN/spire-agent ]]; then
        exit
    fi
    need_go
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    cd "$work" || exit
    go mod init pgsvid.invalid/tools
    for program in spire-server spire-agent; do
        go get -tool "$spire_module/$program@$spire_version"
        GOBIN=$SPIRE_BIN go install "$spire_module/$program"
    done
)

# `go install` does not find its version, but `go get` does. Its custom resources lie beside it, in crds.
spire_controller_manager() (
    if [[ -x $SPIRE_BIN/spire-controller-manager && -d $SPIRE_BIN/crds ]]; then
        exit
    fi
    need_go
    printf 'Building SPIRE'\''s controller manager %s …\n' "$controller_manager_version" >&2
    module=github.com/spiffe/spire-controller-manager
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    cd "$work" || exit
    export CGO_ENABLED=0 GOFLAGS='-buildvcs=false -mod=mod'
    go mod init pgsvid.invalid/tools
    go get -tool "$module/cmd@$controller_manager_version"
    nice go build -trimpath -ldflags '-s -w' -o "$SPIRE_BIN/spire-controller-manager" "$module/cmd"
    rm -rf "$SPIRE_BIN/crds"
    cp -r "$(go list -m -f '{{.Dir}}' "$module")/config/crd/bases" "$SPIRE_BIN/crds"
    chmod -R u+w "$SPIRE_BIN/crds"
)
