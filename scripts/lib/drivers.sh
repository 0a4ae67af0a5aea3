# shellcheck shell=bash
# Brings what examples/drivers needs, each below target/drivers/NAME, for tests/measured/drivers. To be sourced in the root of the
# repository, after prerequisites.sh.
#
#   all_drivers                 names of examples/drivers
#   short_drivers               those that scripts/test runs
#   driver_programs NAME...     prints the programs that they need, as PROGRAM=PACKAGE
#   install_drivers NAME...     installs them; "debian-pgjdbc" is pgjdbc with the jars of Debian
#
# Nothing is installed outside of target, except for the caches of the package managers.

# shellcheck disable=SC2034 # for the scripts that source this
all_drivers=(psycopg sqlalchemy asyncpg node-postgres postgres.js pgjdbc pgx lib-pq sqlx tokio-postgres)
# shellcheck disable=SC2034
short_drivers=(psycopg node-postgres debian-pgjdbc)

driver_programs() {
    local name
    for name in "$@"; do
        case $(driver_kind "$name") in
            # Debian's python3 does not include ensurepip.
            python) python3 -c 'import ensurepip' 2>/dev/null || printf '%s\n' ensurepip=python3-venv ;;
            node) printf '%s\n' node=nodejs npm=npm ;;
            java) printf '%s\n' javac=default-jdk-headless mvn=maven ;;
            debian-java)
                java_programs
                [[ -e /usr/share/java/HikariCP.jar ]] || printf '%s\n' hikaricp=libhikaricp-java
                [[ -e /usr/share/java/slf4j-nop.jar ]] || printf '%s\n' slf4j=libslf4j-java
                ;;
            go) printf '%s\n' go=golang-go ;;
            rust) ;;
        esac
    done | sort -u
}

driver_kind() {
    case $1 in
        psycopg | sqlalchemy | asyncpg) printf 'python\n' ;;
        node-postgres | postgres.js) printf 'node\n' ;;
        pgjdbc) printf 'java\n' ;;
        debian-pgjdbc) printf 'debian-java\n' ;;
        pgx | lib-pq) printf 'go\n' ;;
        sqlx | tokio-postgres) printf 'rust\n' ;;
        *) give_up "there is no driver $1 in examples/drivers" ;;
    esac
}

install_drivers() {
    local name kind
    for name in "$@"; do
        kind=$(driver_kind "$name") || exit
        install_driver "$name" "$kind"
    done
}

# Again only if the example has changed.
install_driver() {
    local name=$1 kind=$2 source=$PWD/examples/drivers/${1#debian-} directory wanted
    directory=$(target_directory)/drivers/$name
    wanted=$(find "$source" scripts/lib/drivers.sh tests/measured/drivers/wrong -type f -exec sha256sum {} + | sort | sha256sum)
    if [[ $(cat "$directory/wanted" 2>/dev/null) == "$wanted" ]]; then
        return
    fi
    printf 'Installing what %s needs …\n' "$name" >&2
    rm -rf "$directory"
    mkdir -p "$directory"
    "install_${kind//-/_}" "$name" "$source" "$directory" >&2 || give_up "$name cannot be installed"
    printf '%s' "$wanted" >"$directory/wanted"
}

# pip's own packages are not copied into a virtual environment, so that the directory works at another path, too.
install_python() {
    local source=$2 directory=$3 python=/usr/bin/python3 venv
    [[ -x $python ]] || python=python3
    venv=$(target_directory)/drivers/venv
    [[ -x $venv/bin/pip ]] || "$python" -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --target "$directory" -r "$source/requirements.txt" &&
        cp "$source"/*.py "$directory" &&
        sed 's/\[.*\]//; s/==/ /' "$source/requirements.txt" | versions >"$directory/version"
}

install_node() {
    local source=$2 directory=$3
    cp "$source"/*.js* "$directory" &&
        (cd "$directory" && npm ci --silent --no-fund --no-audit) &&
        sed -n "s/^ *\"\([a-z]*\)\": \"\([0-9.]*\)\"\$/$1 \2/p" "$source/package.json" >"$directory/version"
}

install_java() {
    local source=$2 directory=$3
    mvn --quiet --batch-mode --file "$source/pom.xml" \
        "-Dmaven.repo.local=$(target_directory)/drivers/maven" \
        dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$directory" &&
        compile_java "$source" "$directory" &&
        printf 'pgjdbc %s, HikariCP %s\n' "$(jar_version "$directory"/postgresql-*.jar)" \
            "$(jar_version "$directory"/HikariCP-*.jar)" >"$directory/version"
}

install_debian_java() {
    local source=$2 directory=$3
    cp -L /usr/share/java/{postgresql,HikariCP,slf4j-api,slf4j-nop}.jar "$directory" &&
        compile_java "$source" "$directory" &&
        printf 'pgjdbc %s, HikariCP %s\n' "$(debian_version libpostgresql-jdbc-java)" \
            "$(debian_version libhikaricp-java)" >"$directory/version"
}

compile_java() {
    javac -nowarn -cp "$2/*" -d "$2" "$1"/*.java
}

jar_version() {
    local name=${1%.jar}
    printf '%s\n' "${name##*-}"
}

debian_version() {
    dpkg-query --show --showformat '${Version}' "$1" | sed 's/-.*//'
}

install_go() {
    local source=$2 directory=$3 wrong=tests/measured/drivers/wrong/$1
    build_go "$source" "$directory/driver" || return
    if [[ -d $wrong ]]; then
        cp -r "$source" "$directory/source" && cp "$wrong"/* "$directory/source" &&
            build_go "$directory/source" "$directory/driver-wrong" || return
    fi
    sed -n 's#^require github.com/\(jackc/\)\{0,1\}\(.*\) v\([0-9.]*\)$#\2 \3#p' "$source/go.mod" | sed 's#/v5##' |
        versions >"$directory/version"
}

build_go() {
    (cd "$1" && GOFLAGS=-mod=readonly CGO_ENABLED=0 go build -o "$2" .)
}

install_rust() {
    local name=$1 source=$2 directory=$3 target
    target=$(target_directory)/drivers/cargo
    CARGO_TARGET_DIR=$target cargo build --quiet --release --locked --manifest-path "$source/Cargo.toml" &&
        cp "$target/release/driver-$name" "$directory/driver" || return
    local of
    case $name in
        sqlx) of=(sqlx) ;;
        *) of=(tokio-postgres rustls deadpool-postgres) ;;
    esac
    for name in "${of[@]}"; do
        sed -n "/^name = \"$name\"\$/{n;s/^version = \"\(.*\)\"\$/$name \1/p}" examples/drivers/Cargo.lock
    done | versions >"$directory/version"
}

# One line of all lines.
versions() {
    paste -s -d , | sed 's/,/, /g'
}
