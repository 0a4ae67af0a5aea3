# shellcheck shell=bash
# Finds what the scripts need, or installs it. To be sourced in the root of the repository.
#
#   prerequisites [PROGRAM=PACKAGE]...         cargo, a C compiler, PostgreSQL, and each PROGRAM
#   build_prerequisites [PROGRAM=PACKAGE]...   the same without PostgreSQL
#   java_programs                              prints what the tests with Java need, as PROGRAM=PACKAGE
#   postgresql_bin                             prints the directory of initdb, postgres and psql
#   target_directory                           prints where cargo builds
#   unpack_programs DIRECTORY PACKAGE PROGRAM...   takes programs out of a package, and installs only its libraries

createcluster=/etc/postgresql-common/createcluster.conf

prerequisites() {
    local -a packages=()
    if ! postgresql_bin >/dev/null; then
        packages+=(postgresql postgresql-client)
    fi
    find_or_install "$@"
    postgresql_bin >/dev/null || give_up "no directory has initdb, postgres and psql"
}

# What tests/clients/java.rs needs, as PROGRAM=PACKAGE: a compiler, and pgjdbc, which has no program.
java_programs() {
    printf '%s\n' javac=default-jdk-headless
    [[ -e /usr/share/java/postgresql.jar ]] || printf '%s\n' pgjdbc=libpostgresql-jdbc-java
}

build_prerequisites() {
    local -a packages=()
    find_or_install "$@"
}

# Adds to the caller's packages.
find_or_install() {
    need_cargo
    # ring compiles C: a compiler alone, without the C library's headers, is not enough.
    if ! printf '#include <stdio.h>\n' | cc -E -x c - >/dev/null 2>&1; then
        packages+=(gcc libc6-dev)
    fi
    local wanted
    for wanted in "$@"; do
        command -v "${wanted%%=*}" >/dev/null || packages+=("${wanted#*=}")
    done
    if ((${#packages[@]})); then
        install_packages "${packages[@]}"
    fi
}

give_up() {
    printf '%s: %s\n' "$0" "$1" >&2
    if (($# > 1)); then
        printf '  %s\n' "${@:2}" >&2
    fi
    exit 1
}

need_cargo() {
    local oldest found
    oldest=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
    if ! command -v cargo >/dev/null && [[ -x ${CARGO_HOME:-$HOME/.cargo}/bin/cargo ]]; then
        PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
    fi
    command -v cargo >/dev/null ||
        give_up "cargo is missing; Rust $oldest or later is needed" \
            "install it as https://rustup.rs says, and open a new shell"
    found=$(rustc --version | cut -d ' ' -f 2) || give_up "rustc does not run"
    at_least "$oldest" "$found" ||
        give_up "Rust $found is too old; $oldest or later is needed" \
            "rustup update stable" \
            "(where a distribution's own package is in the way: https://rustup.rs)"
}

at_least() {
    [[ $(printf '%s\n' "$1" "$2" | sort -V | head -n 1) == "$1" ]]
}

# The same choice as tests/support/src/installation.rs makes.
postgresql_bin() {
    local directory
    if [[ -n ${PGSVID_PG_BIN:-} ]]; then
        is_server "$PGSVID_PG_BIN" ||
            give_up "PGSVID_PG_BIN=$PGSVID_PG_BIN lacks initdb, postgres or psql"
        printf '%s\n' "$PGSVID_PG_BIN"
        return
    fi
    while IFS= read -r directory; do
        if is_server "$directory"; then
            printf '%s\n' "$directory"
            return
        fi
    done < <(
        printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV
        pg_config --bindir 2>/dev/null
    )
    return 1
}

is_server() {
    [[ -x $1/initdb && -x $1/postgres && -x $1/psql ]]
}

install_packages() {
    local install='apt-get install --no-install-recommends'
    local -a by_hand=("$install $*")
    if [[ " $* " == *" postgresql "* ]]; then
        # Without a cluster of the system, as install_without_cluster does it.
        by_hand=(
            "$install postgresql-common"
            "echo 'create_main_cluster = false' >>$createcluster"
            "${by_hand[@]}"
        )
    fi
    command -v apt-get >/dev/null ||
        give_up "needed, and to be installed by hand, since this is neither Debian nor Ubuntu:" \
            "$*"
    local -a as_root=()
    if ((EUID != 0)); then
        command -v sudo >/dev/null ||
            give_up "needed: $*; there is no sudo, so let root run" "${by_hand[@]}"
        as_root=(sudo)
        if ! sudo -n true 2>/dev/null; then
            [[ -t 0 && -t 2 ]] ||
                give_up "needed: $*; sudo asks for a password, so let root run" "${by_hand[@]}"
            printf 'To be installed, and that needs sudo: %s\n' "$*" >&2
            sudo -v || give_up "sudo did not let you; let root run" "${by_hand[@]}"
        fi
    fi
    printf 'Installing %s …\n' "$*" >&2
    apt_get update
    if [[ " $* " == *" postgresql "* ]]; then
        install_without_cluster "$@"
    else
        apt_get install "$@"
    fi
}

# Quiet unless it fails.
apt_get() {
    local log
    log=$(mktemp)
    # NEEDRESTART_SUSPEND: Ubuntu would ask which services to restart.
    if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
        apt-get --yes --no-install-recommends -o DPkg::Lock::Timeout=300 "$@" \
        >"$log" 2>&1 </dev/null; then
        cat "$log" >&2
        rm -f "$log"
        give_up "apt-get $1 failed"
    fi
    rm -f "$log"
}

# For packages that would start a service: only unpacks their programs into a separate directory, where a later call finds them.
unpack_programs() {
    local directory=$1 package=$2 program
    shift 2
    local -a missing=()
    for program in "$@"; do
        command -v "$program" >/dev/null || [[ -x $directory/$program || -x /usr/sbin/$program ]] ||
            missing+=("$program")
    done
    if ((${#missing[@]} == 0)); then
        return
    fi
    command -v apt-get >/dev/null ||
        give_up "needed, and to be installed by hand, since this is neither Debian nor Ubuntu:" \
            "${missing[*]} (of Debian's package $package)"
    printf 'Unpacking %s of %s …\n' "${missing[*]}" "$package" >&2
    local work
    local -a as_root=()
    work=$(mktemp -d)
    # Without package lists, as on a new machine, it is not found.
    if ! (cd "$work" && apt-get -qq download "$package" >/dev/null 2>&1); then
        if ((EUID != 0)); then
            as_root=(sudo)
        fi
        apt_get update
        (cd "$work" && apt-get -qq download "$package" 2>"$work/log") || {
            cat "$work/log" >&2
            rm -rf "$work"
            give_up "apt-get download $package failed"
        }
    fi
    mkdir -p "$directory"
    dpkg-deb --extract "$work/$package"_*.deb "$work/root"
    for program in "${missing[@]}"; do
        find "$work/root/usr" -path "*bin/$program" -exec mv {} "$directory/$program" ';'
    done
    rm -rf "$work"
    install_libraries "$package" "${missing[@]/#/$directory/}"
}

# Patroni, and etcd as its store. Debian's etcd-server would start an etcd, so only its program is unpacked; the unit of patroni starts
# nothing without a configuration, and its Python modules are needed.
patroni_programs() {
    if ! command -v patroni >/dev/null || ! python3 -c 'import etcd' 2>/dev/null; then
        install_packages patroni python3-etcd
    fi
    unpack_programs "$(target_directory)/tools" etcd-server etcd
}

# Installs the libraries that the package depends on, if a program lacks one.
install_libraries() {
    local package=$1
    shift
    if ! ldd "$@" 2>/dev/null | grep -q 'not found'; then
        return
    fi
    local -a libraries
    mapfile -t libraries < <(apt-cache depends "$package" | sed -n 's/^ *Depends: \(lib[^ ]*\)$/\1/p')
    install_packages "${libraries[@]}"
}

# Debian's postgresql creates and starts a cluster of the system unless it is configured not to. What an
# administrator has configured stays; otherwise it is turned off for this one installation.
install_without_cluster() (
    former=$createcluster.before-pgsvid
    restore() {
        if [[ -e $former ]]; then
            "${as_root[@]}" mv -f "$former" "$createcluster"
        fi
    }
    # Left by a run that was killed.
    restore
    trap restore EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP

    # It holds the configuration, and creates nothing.
    apt_get install postgresql-common
    before=$(clusters)
    if wish=$(pg_conftool "$createcluster" show -bs create_main_cluster 2>/dev/null); then
        withheld=false
    else
        withheld=true wish=
        # The copy appears whole or not at all: a later run restores from it what a killed run has left.
        "${as_root[@]}" cp -a "$createcluster" "$former.part"
        "${as_root[@]}" mv "$former.part" "$former"
        printf 'create_main_cluster = false\n' |
            "${as_root[@]}" tee -a "$createcluster" >/dev/null
    fi
    apt_get install "$@"
    created=$(comm -13 <(printf '%s\n' "$before") <(clusters))
    if [[ -z $created ]]; then
        exit 0
    fi
    if [[ $withheld == true ]]; then
        give_up "installing postgresql created a cluster: $created" \
            "to remove it: pg_dropcluster --stop $created"
    fi
    printf 'Cluster %s was created, as %s asks for it (create_main_cluster = %s).\n' \
        "$created" "$createcluster" "$wish" >&2
)

clusters() {
    pg_lsclusters --no-header | awk '{ print $1, $2 }' | sort
}

target_directory() {
    cargo metadata --format-version 1 --no-deps --locked |
        sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}
