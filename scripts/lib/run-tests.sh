# shellcheck shell=bash
# Runs tests and counts them. To be sourced in the root of the repository.
#
#   run_tests ARGUMENT... [-- ARGUMENT...]
#                           cargo test, and arguments for the test programs; sets `passed`, keeps the output in the
#                           file `log`, which must be set, and fails if nothing ran or something was skipped
#   fail LINE...            prints the reason, and fails
#   duration SECONDS        prints them for people

: "${log=}"

# Most tests wait: for servers that start, certificates that expire, back-off. With one test for each processor, two processors were
# idle for half of the time: 33 minutes instead of 20.
RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * $(nproc)))}
export RUST_TEST_THREADS

# One run shows all failures. The tests' output is shown, because some of them measure; a test
# that prints "skipped:" found a reason not to test.
run_tests() {
    local status=0
    local -a arguments=()
    while (($#)) && [[ $1 != -- ]]; do
        arguments+=("$1")
        shift
    done
    # Without the separator.
    (($#)) && shift
    cargo test --locked --no-fail-fast "${arguments[@]}" -- --show-output "$@" 2>&1 | tee "$log" || status=$?
    passed=$(sum 'passed')
    if ((status != 0)); then
        return "$status"
    fi
    if ((passed == 0)); then
        fail 'no test ran' || return
    fi
    if (($(sum 'ignored') > 0)) || grep -q 'skipped:' "$log"; then
        fail '' 'a skipped test is a failure:' "$(grep -E '\.\.\. ignored|skipped:' "$log")"
    fi
}

sum() {
    sed -n "s/^test result: .* \([0-9]*\) $1;.*/\1/p" "$log" | awk '{ n += $1 } END { print n + 0 }'
}

fail() {
    printf '%s\n' "$@" >&2
    return 1
}

duration() {
    if (($1 < 60)); then
        printf '%ds' "$1"
    else
        printf '%dm %02ds' $(($1 / 60)) $(($1 % 60))
    fi
}
