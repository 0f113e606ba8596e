# SPDX-License-Identifier: MIT
#
# tap.sh - sourced by the tests written in bash. Each test is a function named after the sentence that it proves;
#
#     a_file_arrives_whole() { ...; same "$DIR/in" "$DIR/out"; }
#     run_tests a_file_arrives_whole another_test
#
# runs each in a shell, a session ($LEAT_SESSION) and a directory ($DIR, the current one) of its own under a time limit
# ($TEST_LIMIT, 120 s), looks at what it left in /dev/shm or running, and prints TAP. An argument of the script runs
# only the tests whose name contains it. The shell runs with `set -eu -o pipefail`, so that a failing command fails the test.

set -u
: "${LEAT_TEST_SOURCE_DIR:=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}"
: "${LEAT_TEST_BUILD_DIR:=$LEAT_TEST_SOURCE_DIR/build}"
: "${LEAT_TEST_PLUGIN_DIR:=$LEAT_TEST_BUILD_DIR/plugins/.libs}"
: "${LEAT_TEST_SLOWNESS:=1}"
export LEAT_TEST_BUILD_DIR LEAT_TEST_SOURCE_DIR LEAT_TEST_PLUGIN_DIR LEAT_TEST_SLOWNESS
export LEAT_PLUGIN_PATH=$LEAT_TEST_PLUGIN_DIR
export PATH=$LEAT_TEST_BUILD_DIR/bin:$PATH
unset LEAT_RUNTIME_DIR LEAT_CONFIG

# ---- for tests -------------------------------------------------------------------------------------------------------

fail() { # SENTENCE...
    echo "$*" >&2
    exit 1
}

skip() { # REASON...
    echo "$*" >"$DIR/.skip"
    exit 77
}

same() { # FILE FILE
    cmp "$1" "$2" || fail "$1 and $2 differ"
}

contains() { # FILE TEXT
    grep -qF -- "$2" "$1" || fail "$1 does not contain \"$2\", but: $(head -c 2000 "$1")"
}

# Runs a command and fails unless it exits with this status; its output goes to $DIR/stdout and $DIR/stderr.
exits() { # STATUS COMMAND...
    local wanted=$1 status=0
    shift
    "$@" >"$DIR/stdout" 2>"$DIR/stderr" || status=$?
    [[ $status -eq $wanted ]] || fail "$*: exit status $status, not $wanted: $(head -c 2000 "$DIR/stderr")"
}

# Waits until a command succeeds.
eventually() { # COMMAND...
    local deadline=$((SECONDS + 20 * LEAT_TEST_SLOWNESS))
    until "$@"; do
        [[ $SECONDS -lt $deadline ]] || fail "waited in vain for: $*"
        sleep 0.05
    done
}

# ---- the runner ------------------------------------------------------------------------------------------------------

# Removes what is left of a session in /dev/shm and prints its names.
remains() { # SESSION
    local shmid path
    shmid=$(printf '%s:%s' "$(id -u)" "$1" | sha256sum | cut -c1-8)
    for path in "/dev/shm/leat-$(id -u)/$1" /dev/shm/leat_"$shmid"_*; do
        [[ -e $path ]] || continue
        find "$path" | sed 's/^/# left behind: /'
        rm -rf -- "$path"
    done
    rmdir "/dev/shm/leat-$(id -u)" 2>/dev/null || true # if it is empty now
}

run_one() { # NUMBER TEST
    local number=$1 test=$2 dir pid status=0 left name=${2//_/ }
    dir=$(mktemp -d "${TMPDIR:-/tmp}/leat-test.XXXXXX")
    export LEAT_SESSION="test-$$-$number" DIR=$dir
    timeout -k 5 "$((${TEST_LIMIT:-120} * LEAT_TEST_SLOWNESS))" \
        bash "$0" --run "$test" >"$dir/.output" 2>&1 </dev/null &
    pid=$!
    wait "$pid" || status=$?
    left=""
    if kill -0 -- "-$pid" 2>/dev/null; then
        [[ $status -ne 0 ]] || left=$(pgrep -a -g "$pid" | sed 's/^/# left running: /')
        kill -KILL -- "-$pid" 2>/dev/null
    fi
    left+=$(remains "$LEAT_SESSION")
    if [[ $status -eq 77 ]]; then
        echo "ok $number - $name # SKIP $(cat "$dir/.skip")"
    elif [[ $status -eq 0 && -z $left ]]; then
        echo "ok $number - $name"
    else
        echo "not ok $number - $name"
        [[ $status -ne 124 && $status -ne 137 ]] || echo "# hung: killed"
        [[ $status -eq 0 ]] || echo "# exited with $status"
        [[ -z $left ]] || echo "$left"
        sed 's/^/# /' "$dir/.output"
    fi
    rm -rf -- "$dir"
}

run_tests() { # TEST...
    local test number=0 chosen=()
    if [[ ${script_args[0]-} == --run ]]; then
        set -e -o pipefail
        cd "$DIR"
        "${script_args[1]}"
        exit 0
    fi
    for test in "$@"; do
        [[ ${test//_/ } != *"${script_args[0]-}"* ]] || chosen+=("$test")
    done
    [[ ${#chosen[@]} -gt 0 ]] || fail "$0: no test's name contains \"${script_args[0]-}\""
    echo "1..${#chosen[@]}"
    for test in "${chosen[@]}"; do
        run_one "$((++number))" "$test"
    done
}

script_args=("$@")
