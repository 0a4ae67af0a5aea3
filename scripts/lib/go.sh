# shellcheck shell=bash
# To be sourced after prerequisites.sh.
#
#   need_go    gives up unless there is a Go that builds Kubernetes and SPIRE

need_go() {
    command -v go >/dev/null || give_up 'go is missing, and builds Kubernetes and SPIRE' 'https://go.dev/doc/install'
    at_least 1.24 "$(go env GOVERSION | sed 's/^go//')" ||
        give_up 'Go 1.24 or later is needed' 'https://go.dev/doc/install'
}
