#!/bin/bash
# SPDX-License-Identifier: MIT
#
# leat_test.sh - `leat send` and `leat recv`: files of every size arrive whole and in order, over each transport, and what
# goes wrong is told. What is left on the machine, the harness looks at.

. "$(dirname "${BASH_SOURCE[0]}")/cli.sh"

# Sends the file `in`, receives the file `out`; the options go to both.
transfer() { # TRANSPORT SEND-OPTION...
    local transport=$1 receiver
    shift
    leat recv data out --transport "$transport" &
    receiver=$!
    leat send data in --transport "$transport" "$@"
    wait "$receiver" || fail "leat recv: exit status $?"
    same in out
}

files_of_many_sizes_arrive_whole() { # TRANSPORT
    local size
    for size in 0 1 48 49 4096 65537 1048576 1048577 20000000; do
        make_file in "$size"
        transfer "$1"
    done
}

small_messages_keep_their_order() { # TRANSPORT
    make_file in 300000
    transfer "$1" --size 100
}

standard_input_and_output_are_files_too() { # TRANSPORT
    make_file in 3000000
    leat recv data --transport "$1" >out &
    cat in | leat send data - --transport "$1"
    wait $! || fail "leat recv: exit status $?"
    same in out
}

the_receiver_may_come_last() { # TRANSPORT
    make_file in 5000000
    leat send data in --transport "$1" &
    sleep 0.2
    leat recv data out --transport "$1"
    wait $! || fail "leat send: exit status $?"
    same in out
}

the_digest_is_that_of_the_file() { # TRANSPORT
    make_file in 2500000
    leat recv data out --sha256 --transport "$1" >received &
    leat send data in --sha256 --transport "$1" >sent
    wait $!
    sha256sum in | cmp - sent || fail "leat send: $(cat sent)"
    sha256sum out | cmp - received || fail "leat recv: $(cat received)"
}

the_figures_are_told() { # TRANSPORT
    have_json || skip "built without jansson"
    make_file in 2500000
    leat recv data out --json --transport "$1" >received &
    leat send data in --json -v --transport "$1" >sent 2>words
    wait $!
    [[ $(figure sent bytes) == 2500000 && $(figure sent messages) == 3 ]] || fail "leat send: $(cat sent)"
    [[ $(figure received bytes) == 2500000 ]] || fail "leat recv: $(cat received)"
    [[ $(figure sent sha256) == $(sha256sum <in | cut -c1-64) ]] || fail "leat send: $(cat sent)"
    contains words "2500000 bytes"
}

a_pipe_hears_nothing_but_the_file() { # TRANSPORT
    make_file in 3000000
    leat recv data --transport "$1" >out 2>words-received &
    leat send data in --transport "$1" >words-sent 2>&1
    wait $!
    same in out
    [[ ! -s words-sent && ! -s words-received ]] || fail "it said: $(cat words-sent words-received)"
}

an_interrupt_ends_a_waiting_receiver() { # TRANSPORT
    local signal pid status
    for signal in INT TERM; do
        # A shell makes its background jobs deaf to SIGINT.
        (trap - INT; exec env --default-signal=INT leat recv data out --transport "$1" 2>words) &
        pid=$!
        eventually bound "$1"
        kill -s "$signal" "$pid"
        status=0
        wait "$pid" || status=$?
        [[ $status -eq 1 ]] || fail "exit status $status after SIG$signal"
        contains words "interrupted"
    done
}

bound() { # TRANSPORT
    shmadm -s "$LEAT_SESSION" info | grep -q 'data.*address'
}

is_as_long_as() { # FILE FILE
    [[ $(stat -c %s "$1") -eq $(stat -c %s "$2") ]]
}

two_senders_one_after_the_other_are_one_file() { # TRANSPORT
    make_file one 1500000
    make_file two 1500000
    cat one two >in
    leat recv data out --transport "$1" --set 'channel data.expect=2' &
    leat send data one --transport "$1"
    eventually is_as_long_as one out # the order of two senders is nobody's promise
    leat send data two --transport "$1"
    wait $! || fail "leat recv: exit status $?"
    same in out
}

channels_of_a_configuration_are_used() { # TRANSPORT
    make_file in 100000
    leat recv got out --config "$LEAT_TEST_SOURCE_DIR/conf/file.ini" --transport "$1" &
    leat send file in --config "$LEAT_TEST_SOURCE_DIR/conf/file.ini" --transport "$1"
    wait $! || fail "leat recv: exit status $?"
    same in out
}

a_channel_can_be_described_on_the_command_line() { # TRANSPORT
    make_file in 100000
    leat recv a out --channel "name=a,type=pair,method=connect,address=x,transport=$1" &
    leat send b in --channel "name=b,type=pair,method=bind,address=x,transport=$1"
    wait $! || fail "leat recv: exit status $?"
    same in out
}

a_killed_sender_is_an_error() { # TRANSPORT
    local receiver sender status=0
    leat recv data out --transport "$1" 2>words &
    receiver=$!
    mkfifo pipe
    leat send data pipe --transport "$1" &
    sender=$!
    exec 3>pipe
    echo water >&3
    eventually grep -q water out
    kill -KILL "$sender"
    exec 3>&-
    wait "$receiver" || status=$?
    # ZeroMQ cannot tell a death from a departure: its end is that of the connection.
    if [[ $1 == zmq ]]; then
        [[ $status -eq 0 ]] || fail "exit status $status: $(cat words)"
    else
        [[ $status -eq 1 ]] || fail "exit status $status"
        [[ -s words ]] || fail "nothing was said"
    fi
    shmadm -s "$LEAT_SESSION" clean
}

a_full_disk_is_an_error() { # TRANSPORT
    local status=0
    [[ -e /dev/full ]] || skip "no /dev/full"
    make_file in 1000
    leat recv data /dev/full --transport "$1" 2>words &
    leat send data in --transport "$1"
    wait $! || status=$?
    [[ $status -eq 1 ]] || fail "exit status $status"
    contains words "/dev/full: No space left on device"
}

tcp_needs_no_section() {
    need_transport zmq
    local port=$((20000 + RANDOM % 10000))
    make_file in 1000000
    leat recv "tcp://127.0.0.1:$port" out &
    leat send "tcp://127.0.0.1:$port" in
    wait $! || fail "leat recv: exit status $?"
    same in out
}

mistakes_on_the_command_line_are_told() {
    exits 2 leat
    contains stderr "which command?"
    exits 2 leat flow
    contains stderr "there is no command flow"
    exits 2 leat send
    contains stderr "which CHANNEL?"
    exits 2 leat send a b c
    contains stderr "one argument too many"
    exits 2 leat send data --size 0
    contains stderr '--size: "0" is not a number of bytes'
    exits 2 leat send data --size 1Q
    exits 1 leat send data nowhere
    contains stderr "nowhere: No such file or directory"
    exits 1 leat send data /
    contains stderr "/: Is a directory"
    exits 0 leat --version
    contains stdout "leat "
    exits 0 leat recv --help
    contains stdout "--transport"
}

an_interrupted_sender_has_not_sent_the_whole() {
    need_transport posix-shm
    mkfifo slow
    leat recv data out --transport posix-shm 2>received &
    local receiver=$!
    leat send data slow --size 1000 --transport posix-shm 2>sent &
    local sender=$!
    exec 7>slow
    head -c 50000 /dev/zero >&7
    eventually some_arrived
    kill -INT "$sender"
    ! wait "$sender" || fail "the sender says that all is well"
    exec 7>&-
    ! wait "$receiver" || fail "the receiver says that all is well"
    contains received "something may be missing"
}

some_arrived() {
    [[ -e out && $(stat -c %s out) -ge 1000 ]]
}

for_each_transport files_of_many_sizes_arrive_whole small_messages_keep_their_order \
    standard_input_and_output_are_files_too the_receiver_may_come_last the_digest_is_that_of_the_file \
    the_figures_are_told a_pipe_hears_nothing_but_the_file an_interrupt_ends_a_waiting_receiver \
    two_senders_one_after_the_other_are_one_file channels_of_a_configuration_are_used \
    a_channel_can_be_described_on_the_command_line a_killed_sender_is_an_error a_full_disk_is_an_error
run_tests "${tests[@]}" an_interrupted_sender_has_not_sent_the_whole tcp_needs_no_section mistakes_on_the_command_line_are_told
