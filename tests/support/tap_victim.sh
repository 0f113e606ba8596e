# SPDX-License-Identifier: MIT
#
# tap_victim.sh - tests that go wrong, for tap_test.sh. Never part of `make check` by itself.

TEST_LIMIT=2
LEAT_TEST_SLOWNESS=1
. "$(dirname "${BASH_SOURCE[0]}")/tap.sh"

passes() {
    [[ $PWD == "$DIR" ]]
    exits 3 bash -c 'exit 3'
}

a_command_fails() {
    false
    true
}

a_pipe_fails() {
    false | cat
}

says_why() {
    fail "the moon is down"
}

hangs() {
    sleep 100
}

skips() {
    skip "there is no moon here"
}

leaves_names() {
    mkdir -p "/dev/shm/leat-$(id -u)/$LEAT_SESSION"
    touch "/dev/shm/leat-$(id -u)/$LEAT_SESSION/1-0.posix-shm.peer"
}

leaves_a_process() {
    sleep 100 &
}

run_tests passes a_command_fails a_pipe_fails says_why hangs skips leaves_names leaves_a_process
