#!/usr/bin/env bash
# What pgsvid replaces: `rotate.sh DIRECTORY`. A helper writes svid.pem, svid_key.pem and svid_bundle.pem into the
# directory; this waits for the last of them and makes PostgreSQL read its files again. libpq's variables (PGHOST, PGUSER …)
# say which PostgreSQL. It is here to be measured (docs/evidence/performance.md), not to be used. What it gets wrong:
#
# * The helper truncates each file and writes it again, one after the other. A reader in between gets half a file, or
#   the certificate of one SVID with the key of another: clients fail, and a PostgreSQL that is started right then does not
#   start.
# * A reload by anybody else in between (an operator's, a configuration manager's) makes PostgreSQL load that mixture or
#   refuse it.
# * A helper that is killed half way leaves the mixture for good. So does a full disk: the file is empty by then.
# * `pg_reload_conf()` returns true even when PostgreSQL has refused the files. Nobody looks, so the old certificate is
#   served until it expires, and then no client connects any more.
# * If PostgreSQL is starting, stopped, or out of connection slots, psql fails, and nobody tries again before the next
#   renewal.
# * inotifywait watches files of names that are known. A helper that writes elsewhere and renames, as careful ones do, raises
#   another event (moved_to); a volume that is mounted again raises none.
# * The file that is written last is a property of the helper's version.
# * Four programs and a shell instead of one; two of them are started for each rotation.
set -u
directory=$1

inotifywait --monitor --event close_write --format '%f' "$directory" |
    while read -r file; do
        # To each of the three files psql would be called three times, and the first two times for a mixture.
        [[ $file == svid_bundle.pem ]] || continue
        "${PSQL:-psql}" --no-psqlrc --tuples-only --no-align --command 'SELECT pg_reload_conf()'
    done
