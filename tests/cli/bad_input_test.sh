#!/bin/bash
# SPDX-License-Identifier: MIT
#
# bad_input_test.sh - what users get wrong: each mistake has a sentence of its own on standard error and a non-zero exit
# status, and leaves nothing behind, at which the harness looks.

. "$(dirname "${BASH_SOURCE[0]}")/cli.sh"

refuses() { # TEXT COMMAND...
    local text=$1
    shift
    exits 1 timeout 20 "$@"
    contains stderr "$text"
}

an_unknown_transport() {
    refuses 'there is no transport "smoke"' leat recv data out --transport smoke
    [[ ! -e out ]] || fail "the file was made all the same"
}

an_unknown_key() {
    refuses 'qeue' leat recv data out --set 'channel data.qeue=4'
    printf '[channel data]\nqeue = 4\n' >bad.ini
    refuses 'bad.ini:2: [channel data] qeue' leat recv data out --config bad.ini
    contains stderr "queue"
}

a_bad_value() {
    refuses '"ten" is not a whole number' leat recv data out --set 'channel data.queue=ten'
    printf '[channel data]\ntype = pull\nqueue = ten\n' >bad.ini
    refuses 'bad.ini:3: [channel data] queue: "ten" is not a whole number' leat recv data out --config bad.ini
}

# Any good plugin, under a name of its own, changed by the lines that follow.
make_plugin() { # NAME LINE...
    local name=$1
    shift
    [[ -e $LEAT_TEST_BUILD_DIR/tests/mocks/bad/.libs/chameleon.so ]] || skip "the test plugins were not built"
    mkdir -p plugins
    chmod go-w plugins
    cp "$LEAT_TEST_BUILD_DIR/tests/mocks/bad/.libs/chameleon.so" "plugins/$name.so"
    printf '%s\n' "$@" >"plugins/$name.so.txt"
}

a_missing_plugin() {
    mkdir plugins
    LEAT_PLUGIN_PATH='' refuses 'looked for gone.so in' leat recv data out --plugin-dir plugins --transport gone
}

a_plugin_of_another_abi() {
    make_plugin old 'abi 77'
    refuses '77' leat recv data out --plugin-dir plugins --transport old
    contains stderr "old.so"
    exits 0 shmadm --plugin-dir plugins plugins
    grep '^refused .*old.so: .*77' stdout || fail "$(cat stdout)"
}

a_truncated_plugin() {
    make_plugin half ''
    truncate -s 5000 plugins/half.so
    refuses 'half.so' leat recv data out --plugin-dir plugins --transport half
    contains stderr "truncated"
    exits 0 shmadm --plugin-dir plugins plugins
    grep '^refused .*half.so: ' stdout || fail "$(cat stdout)"
}

a_file_that_is_no_plugin() {
    make_plugin fake ''
    echo 'no plugin' >plugins/fake.so
    refuses 'fake.so' leat recv data out --plugin-dir plugins --transport fake
}

patterns_that_do_not_fit() { # TRANSPORT
    local status=0 receiver
    leat recv data out --channel "name=data,type=pair,method=bind,address=data,transport=$1" 2>words &
    receiver=$!
    refuses "pair" leat send data /etc/passwd --transport "$1"
    contains stderr "push"
    kill -TERM "$receiver" 2>/dev/null || true
    wait "$receiver" || status=$?
    [[ $status -eq 1 ]] || fail "the other end: exit status $status"
}

a_pattern_that_does_not_receive() { # TRANSPORT
    refuses "push" leat recv data out --channel "name=data,type=push,method=bind,address=data,transport=$1"
}

an_address_already_bound() { # TRANSPORT
    local first
    leat recv data out --transport "$1" &
    first=$!
    eventually bound
    refuses "$first" leat recv data out2 --transport "$1"
    contains stderr "data"
    make_file in 1000
    leat send data in --transport "$1"
    wait "$first" || fail "the first: exit status $?"
    same in out
}

bound() {
    shmadm -s "$LEAT_SESSION" info | grep -q ' address '
}

a_session_directory_of_another_user() { # TRANSPORT
    [[ $(id -u) -eq 0 ]] || skip "needs root, to make a directory of another user"
    export LEAT_RUNTIME_DIR=$DIR/run
    mkdir -p "run/leat-0/$LEAT_SESSION"
    chmod 700 run/leat-0 "run/leat-0/$LEAT_SESSION"
    chown 12345 "run/leat-0/$LEAT_SESSION"
    refuses "run/leat-0/$LEAT_SESSION" leat recv data out --transport "$1"
    chown 12345 run/leat-0
    refuses "run/leat-0" leat recv data out --transport "$1"
    [[ -z $(find run -type f -o -type s) ]] || fail "left behind: $(find run)"
}

a_session_directory_behind_a_symbolic_link() { # TRANSPORT
    export LEAT_RUNTIME_DIR=$DIR/run
    mkdir -p run elsewhere "elsewhere/$LEAT_SESSION"
    chmod -R go= elsewhere
    ln -s ../elsewhere "run/leat-$(id -u)"
    refuses "symbolic link" leat recv data out --transport "$1"
    rm "run/leat-$(id -u)"
    mkdir -m 700 "run/leat-$(id -u)"
    ln -s "$DIR/elsewhere/$LEAT_SESSION" "run/leat-$(id -u)/$LEAT_SESSION"
    refuses "symbolic link" leat recv data out --transport "$1"
    [[ -z $(find run elsewhere -type f -o -type s) ]] || fail "left behind: $(find run elsewhere)"
}

a_channel_that_is_not_described() { # TRANSPORT
    refuses "address" leat recv data out --channel "name=data,type=pull,method=bind,transport=$1"
    refuses "method" leat recv data out --channel "name=data,type=pull,address=data,transport=$1"
}

for_each_transport patterns_that_do_not_fit a_pattern_that_does_not_receive an_address_already_bound \
    a_session_directory_of_another_user a_session_directory_behind_a_symbolic_link a_channel_that_is_not_described
run_tests an_unknown_transport an_unknown_key a_bad_value a_missing_plugin a_plugin_of_another_abi a_truncated_plugin \
    a_file_that_is_no_plugin "${tests[@]}"
