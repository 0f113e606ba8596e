#!/bin/bash
# SPDX-License-Identifier: MIT
#
# demo_test.sh - `leat demo`: what comes out is what went in, over each transport, and shmadm saw it while it ran.

. "$(dirname "${BASH_SOURCE[0]}")/cli.sh"

ini=$LEAT_TEST_SOURCE_DIR/conf/demo.ini

demo() {
    exits 0 leat demo --config "$ini" --session "$LEAT_SESSION" "$@"
    contains stdout "equal: what came out is what went in"
}

a_file_comes_out_as_it_went_in() { # TRANSPORT
    make_file in 10000000
    demo --transport "$1" --size 64K in
    [[ $(grep -c "10000000 bytes in 153 messages, SHA-256 $(sha256sum <in | cut -c1-64)" stdout) -eq 2 ]] ||
        fail "$(cat stdout)"
}

an_empty_file_comes_out_as_it_went_in() { # TRANSPORT
    : >in
    demo --transport "$1" in
    contains stdout "out    0 bytes in 0 messages"
}

the_libraries_of_the_machine_are_the_input() { # TRANSPORT
    demo --transport "$1" --limit 32M
    contains stdout "out    33554432 bytes in 32 messages"
    contains stdout " files of /"
}

shmadm_sees_all_four_at_work() { # TRANSPORT
    demo --transport "$1" --limit 32M
    [[ $(grep -cE "(leat_|-1\.|[0-9]+-[0-9]+\.).*$1 .*$LEAT_SESSION.*alive" stdout) -ge 4 ]] || fail "$(cat stdout)"
}

an_interrupt_ends_all_of_it() { # TRANSPORT
    local status=0 pid
    env --default-signal=INT leat demo --config "$ini" --transport "$1" --session "$LEAT_SESSION" --size 1K --limit 1G \
        >/dev/null 2>words &
    pid=$!
    eventually grep -q 'sink [1-9]' words
    kill -INT "$pid"
    wait "$pid" || status=$?
    [[ $status -eq 1 ]] || fail "exit status $status"
}

the_queues_are_seen_by_shmadm() {
    need_transport posix-shm
    demo --limit 8M
    contains stdout "CHANNEL"
    grep -qE '^source +push +bind +parts ' stdout || fail "$(cat stdout)"
    grep -qE '^worker-in +pull +connect +parts ' stdout || fail "$(cat stdout)"
    grep -qE '^sink +pull +bind +checked ' stdout || fail "$(cat stdout)"
}

mistakes_are_told() {
    exits 1 leat demo --config "$ini" nowhere
    contains stderr "nowhere: No such file or directory"
    exits 1 leat demo --config nowhere.ini
    contains stderr "nowhere.ini"
    exits 2 leat demo a b
    exits 1 leat demo --config "$ini" --transport smoke --limit 1M
    contains stderr "smoke"
}

for_each_transport a_file_comes_out_as_it_went_in an_empty_file_comes_out_as_it_went_in \
    the_libraries_of_the_machine_are_the_input shmadm_sees_all_four_at_work an_interrupt_ends_all_of_it
run_tests "${tests[@]}" the_queues_are_seen_by_shmadm mistakes_are_told
