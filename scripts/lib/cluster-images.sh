# shellcheck shell=bash
# The images of cluster.sh, made from this machine's programs, because nothing can be pulled. To be sourced in the root of the
# repository, after prerequisites.sh, postgresql.sh and drivers.sh.
#
#   cluster_images DIRECTORY   writes to it: pgsvid.tar, of this build; postgres.tar, PostgreSQL 18 with an entry point that
#                              does what the official image's does; javaclient.tar, that of k8s/examples/javaclient;
#                              pause.tar, the pods' own process
#   cluster_image NAME ROOT FILE USER ENTRYPOINT [SIGNAL [PATH]]
#                              packs the directory ROOT

: "${brought=}"

cluster_images() {
    local directory=$1 root version
    root=$(mktemp -d)
    mkdir -p "$directory"

    put_programs "$root/pause" sleep
    cluster_image pgsvid.invalid/pause:1 "$root/pause" "$directory/pause.tar" '' '"/usr/bin/sleep","infinity"'

    put_programs "$root/pgsvid" "$(target_directory)/debug/pgsvid"
    # Its symbols are ten times as large as the program.
    strip --output-target=elf64-x86-64 -o "$root/pgsvid/pgsvid" "$(target_directory)/debug/pgsvid"
    rm -r "${root:?}/pgsvid$(target_directory)"
    version=$("$(target_directory)/debug/pgsvid" --version)
    version=ghcr.io/pgsvid/pgsvid:${version#pgsvid }
    # The second tag is the next version, for upgrades.
    cluster_image "$version\",\"$version-next" "$root/pgsvid" "$directory/pgsvid.tar" 65532:65532 '"/pgsvid"'

    postgres_root "$root/postgres"
    cluster_image docker.io/library/postgres:18 "$root/postgres" "$directory/postgres.tar" '' '"/docker-entrypoint.sh"' \
        SIGINT /usr/local/pgsql/bin:

    java_root "$root/java"
    cluster_image registry.example/javaclient:1 "$root/java" "$directory/javaclient.tar" '' '"/opt/java/bin/java"' \
        SIGTERM /opt/java/bin:
    rm -rf "$root"
}

# This machine's Java with the modules that pgjdbc and HikariCP need, and the example's program with both.
java_root() {
    local root=$1 modules=java.sql,java.naming,java.management,java.security.jgss,jdk.crypto.ec file
    install_drivers pgjdbc
    put_programs "$root" sh
    jlink --add-modules "$modules" --strip-debug --no-header-files --no-man-pages --output "$root/opt/java"
    while IFS= read -r file; do
        put_libraries "$root" "$file"
    done < <(find "$root/opt/java" -name '*.so' -o -path '*/bin/java')
    mkdir -p "$root/application" "$root/tmp"
    cp "$(target_directory)"/drivers/pgjdbc/*.jar "$root/application"
    compile_java k8s/examples/javaclient "$root/application"
}

# The directories of the embedded PostgreSQL 18, and Debian's clients.
postgres_root() {
    local root=$1 client
    bring_postgresql 18
    put_programs "$root" sh cat chmod date env id mkdir printf rm sed seq sleep test timeout
    mkdir -p "$root"/{tmp,var/lib/postgresql,var/run/postgresql,docker-entrypoint-initdb.d,usr/local}
    chmod 1777 "$root/tmp"
    cp -a "${brought%/bin}" "$root/usr/local/pgsql"
    put_libraries "$root" "$brought"/{initdb,pg_ctl,postgres}
    rm -f "$root"/usr/local/pgsql/bin/{psql,pgbench}
    for client in psql pg_isready; do
        # Debian's programs in /usr/bin are wrappers.
        put_programs "$root" "$(newest_client "$client")"
        ln "$root$(newest_client "$client")" "$root/usr/local/pgsql/bin/$client"
    done
    printf '%s\n' 'root:x:0:0::/root:/bin/sh' 'postgres:x:999:999::/var/lib/postgresql:/bin/sh' \
        'client:x:10001:10001::/:/bin/sh' >"$root/etc/passwd"
    install -m 755 tests/deployment/kubernetes/docker-entrypoint.sh "$root/"
    clean_up_postgresql
}

# put_programs ROOT PROGRAM...: with their libraries, at the paths that they have here.
put_programs() {
    local root=$1 program path
    shift
    mkdir -p "$root"/{etc,usr/bin,usr/sbin,usr/lib,usr/lib64}
    for path in bin sbin lib lib64; do
        [[ -e $root/$path ]] || ln -s "usr/$path" "$root/$path"
    done
    for program in "$@"; do
        path=$(type -P "$program") || give_up "$program is missing"
        mkdir -p "$root${path%/*}"
        cp -L "$path" "$root$path"
        put_libraries "$root" "$path"
    done
}

put_libraries() {
    local root=$1 path
    shift
    ldd "$@" | awk '$2 == "=>" { print $3 } $1 ~ "^/" { print $1 }' | sort -u | while IFS= read -r path; do
        if [[ -e $path && ! -e $root$path ]]; then
            mkdir -p "$root${path%/*}"
            cp -L "$path" "$root$path"
        fi
    done
}

cluster_image() {
    local name=$1 root=$2 file=$3 user=$4 entrypoint=$5 signal=${6:-SIGTERM} path=${7:-} work digest
    work=$(mktemp -d)
    tar --create --directory "$root" --numeric-owner --owner=0 --group=0 --mtime=@0 --sort=name --file "$work/layer.tar" .
    digest=$(sha256sum "$work/layer.tar")
    printf '{"architecture":"amd64","os":"linux","config":{"Entrypoint":[%s],"User":"%s","StopSignal":"%s","Env":["PATH=%s/usr/sbin:/usr/bin"]},%s}' \
        "$entrypoint" "$user" "$signal" "$path" "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:${digest%% *}\"]}" \
        >"$work/config.json"
    printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$name" >"$work/manifest.json"
    tar --create --directory "$work" --file "$file" config.json layer.tar manifest.json
    rm -r "$work"
}
