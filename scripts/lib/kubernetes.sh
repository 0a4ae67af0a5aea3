# shellcheck shell=bash
# The tools for the tests of k8s/ and charts/, below target/tools/kubernetes: kustomize 5, Helm 3, and the schemas of Kubernetes. To
# be sourced in the root of the repository, after prerequisites.sh.
#
#   kubernetes_tools    finds them, or installs them

kubernetes_directory=target/tools/kubernetes
kustomize_version=v5.8.1
helm_version=v3.22.0
# Its version is that of the newest Kubernetes whose schemas it has.
schemas_version=1.37.0

kubernetes_tools() {
    mkdir -p "$kubernetes_directory"
    # Keyed by the required versions, so that another version replaces this one.
    local wanted="$kubernetes_directory/wanted"
    local versions="$kustomize_version $helm_version $schemas_version"
    if [[ $(cat "$wanted" 2>/dev/null) == "$versions" &&
        -x $kubernetes_directory/kustomize && -x $kubernetes_directory/helm ]] &&
        "$kubernetes_directory/venv/bin/python3" -c 'import kubernetes_validate' 2>/dev/null; then
        return
    fi
    rm -f "$wanted"
    install_kustomize
    install_helm
    install_schemas
    printf '%s\n' "$versions" >"$wanted"
}

# kubectl has one of its own, in version 5 since Kubernetes 1.27.
install_kustomize() {
    local program=$kubernetes_directory/kustomize
    rm -f "$program"
    if kubectl version --client 2>/dev/null | grep -q '^Kustomize Version: v5\.'; then
        # shellcheck disable=SC2016 # "$@" is the new script's own.
        printf '#!/bin/sh\n# kustomize build DIRECTORY, by kubectl.\nshift\nexec kubectl kustomize "$@"\n' >"$program"
        chmod +x "$program"
        return
    fi
    command -v go >/dev/null ||
        give_up "kustomize 5 is missing: install a kubectl of 1.27 or later, or Go of 1.24 or later"
    printf 'Building kustomize %s …\n' "$kustomize_version" >&2
    GOBIN=$PWD/$kubernetes_directory go install \
        "sigs.k8s.io/kustomize/kustomize/v5@$kustomize_version" ||
        give_up "kustomize $kustomize_version cannot be built"
}

# Two minutes of processor time.
install_helm() {
    local program=$kubernetes_directory/helm found
    rm -f "$program"
    if found=$(command -v helm) && [[ $(helm version --short 2>/dev/null) == v3.* ]]; then
        ln -s "$found" "$program"
        return
    fi
    command -v go >/dev/null ||
        give_up "Helm 3 is missing: install it, or Go of 1.26 or later"
    printf 'Building Helm %s …\n' "$helm_version" >&2
    GOBIN=$PWD/$kubernetes_directory go install "helm.sh/helm/v3/cmd/helm@$helm_version" ||
        give_up "Helm $helm_version cannot be built"
}

install_schemas() {
    local venv=$kubernetes_directory/venv
    rm -rf "$venv"
    # Debian's python3 does not include it.
    python3 -c 'import ensurepip' 2>/dev/null || install_packages python3-venv
    printf 'Installing the schemas of Kubernetes …\n' >&2
    python3 -m venv "$venv" || give_up "python3 -m venv $venv has failed"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-compile \
        "kubernetes-validate==$schemas_version" ||
        give_up "kubernetes-validate $schemas_version cannot be installed"
}
