#!/bin/sh
# Stands in for the entry point of PostgreSQL's official image.
set -eu
umask 077
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    mkdir -p "$PGDATA"
    chmod 0700 "$PGDATA"
    printf '%s\n' "$POSTGRES_PASSWORD" >/tmp/password
    initdb --username=postgres --pwfile=/tmp/password --no-sync
    rm /tmp/password
    pg_ctl --wait --options="$* -c listen_addresses=''" start
    for file in /docker-entrypoint-initdb.d/*.sql; do
        psql --set=ON_ERROR_STOP=1 --no-psqlrc --no-password --username=postgres --dbname=postgres --file="$file"
    done
    pg_ctl --wait --mode=fast stop
fi
exec postgres "$@"
