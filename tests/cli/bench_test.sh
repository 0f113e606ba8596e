#!/bin/bash
# SPDX-License-Identifier: MIT
#
# bench_test.sh - the bench runs: every cell of its tables is filled. Not how fast: a test has the machine for itself
# neither here nor elsewhere.

. "$(dirname "${BASH_SOURCE[0]}")/cli.sh"

bench=$LEAT_TEST_BUILD_DIR/bench/bench

need_bench() {
    need_transport posix-shm
    [[ -x $bench ]] || skip "bench/bench is not built"
    [[ $(nproc) -gt 1 ]] || skip "the bench needs two CPUs"
}

a_quick_bench_ends_with_the_marks() {
    need_bench
    exits 0 "$bench" --quick
    [[ $(grep -cE '(PASS|MISS)$' stdout) -eq 5 ]] || fail "not five marks: $(cat stdout)"
    ! grep 'not measured' stdout
    contains stdout "bare ring"
    contains stdout "leat, wait = poll"
    grep -qE '^libzmq (ipc|is left out)' stdout
    [[ ! -s stderr ]]
}

a_bench_that_is_interrupted_leaves_nothing() {
    need_bench
    : >stdout
    "$bench" >stdout 2>stderr &
    local pid=$!
    eventually grep -q '^in flight' stdout
    kill -TERM "$pid"
    ! wait "$pid"
    [[ ! -e /dev/shm/leat-$(id -u)/bench-$pid ]]
}

run_tests a_quick_bench_ends_with_the_marks a_bench_that_is_interrupted_leaves_nothing
