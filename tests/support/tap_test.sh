#!/bin/bash
# SPDX-License-Identifier: MIT
#
# tap_test.sh - proves that tap.sh sees what goes wrong: runs tests of tap_victim.sh and reads their TAP.

. "$(dirname "${BASH_SOURCE[0]}")/tap.sh"

expect() { # TEST VERDICT TEXT
    bash "$LEAT_TEST_SOURCE_DIR/tests/support/tap_victim.sh" "${1//_/ }" >output 2>&1 || true
    contains output "1..1"
    contains output "$2 1 - ${1//_/ }"
    contains output "$3"
}

a_good_test_passes() {
    expect passes ok ""
    ! grep '^not ok' output
}

a_failing_command_is_a_failure() {
    expect a_command_fails "not ok" "# exited with 1"
    expect a_pipe_fails "not ok" "# exited with 1"
}

a_failure_says_why() {
    expect says_why "not ok" "# the moon is down"
}

a_hang_is_a_failure() {
    expect hangs "not ok" "# hung: killed"
}

a_skipped_test_gives_its_reason() {
    expect skips ok "# SKIP there is no moon here"
}

names_left_in_dev_shm_are_a_failure() {
    expect leaves_names "not ok" "1-0.posix-shm.peer"
    local left
    left=$(sed -n 's/^# left behind: //p' output | head -n 1)
    [[ ! -e $left ]] || fail "$left is still there"
}

a_process_left_running_is_a_failure() {
    expect leaves_a_process "not ok" "# left running: "
}

run_tests \
    a_good_test_passes \
    a_failing_command_is_a_failure \
    a_failure_says_why \
    a_hang_is_a_failure \
    a_skipped_test_gives_its_reason \
    names_left_in_dev_shm_are_a_failure \
    a_process_left_running_is_a_failure
