#!/bin/bash
# SPDX-License-Identifier: MIT
#
# shmadm_test.sh - shmadm and its commands: what lives is shown and left alone, what is dead is removed, and mistakes have
# a sentence and exit status 1 or 2.

. "$(dirname "${BASH_SOURCE[0]}")/cli.sh"

# A receiver that waits, so that something is there.
receiver=
start_receiver() { # TRANSPORT
    leat recv data out --transport "$1" &
    receiver=$!
    eventually sees "address"
}

sees() { # TEXT
    shmadm -s "$LEAT_SESSION" info >seen
    grep -qF -- "$1" seen
}

kill_receiver() {
    kill -KILL "$receiver"
    wait "$receiver" || true
}

sees_nothing() {
    shmadm -s "$LEAT_SESSION" info >seen
    ! grep -qF "$LEAT_SESSION" seen
}

what_lives_is_shown() { # TRANSPORT
    start_receiver "$1"
    grep -E "address +$1 +$LEAT_SESSION +alive +$receiver +leat" seen || fail "$(cat seen)"
    kill -STOP "$receiver"
    eventually sees "stopped"
    kill -CONT "$receiver"
    eventually sees "alive"
    kill_receiver
    shmadm -s "$LEAT_SESSION" clean
}

what_lives_is_not_removed() { # TRANSPORT
    local name
    start_receiver "$1"
    exits 0 shmadm -s "$LEAT_SESSION" clean -v
    contains stdout "alive"
    name=$(awk '/ address / { print $1 }' seen)
    exits 1 shmadm -s "$LEAT_SESSION" clean "$name"
    [[ -s stderr ]] || fail "a refusal without a word"
    sees "alive" || fail "it was removed"
    make_file in 100000
    leat send data in --transport "$1"
    wait "$receiver"
    same in out
}

what_is_dead_is_removed() { # TRANSPORT
    start_receiver "$1"
    kill_receiver
    sees "dead" || fail "$(cat seen)"
    exits 0 shmadm -s "$LEAT_SESSION" clean --dry-run
    contains stdout "would remove"
    sees "dead" || fail "--dry-run removed something"
    exits 0 shmadm -s "$LEAT_SESSION" clean
    contains stdout "removed"
    contains stdout "came back"
    sees_nothing || fail "$(cat seen)"
    exits 0 shmadm -s "$LEAT_SESSION" clean
    [[ ! -s stdout ]] || fail "there was nothing to say"
}

a_name_alone_is_removed() { # TRANSPORT
    local name
    start_receiver "$1"
    kill_receiver
    name=$(awk '/ address / { print $1 }' seen)
    exits 0 shmadm -s "$LEAT_SESSION" clean "$name"
    sees "address" && fail "$(cat seen)"
    sees "dead" || fail "more than the name was removed: $(cat seen)"
    exits 0 shmadm -s "$LEAT_SESSION" clean
}

the_next_start_removes_what_is_dead() { # TRANSPORT
    local dead
    start_receiver "$1"
    kill_receiver
    dead=$receiver
    start_receiver "$1"
    eventually sees "$receiver"
    ! grep -qw "$dead" seen || fail "$(cat seen)"
    make_file in 100000
    leat send data in --transport "$1"
    wait "$receiver"
}

force_removes_what_lives() { # TRANSPORT
    start_receiver "$1"
    exits 0 shmadm -s "$LEAT_SESSION" clean --force
    contains stdout "removed"
    kill_receiver
    shmadm -s "$LEAT_SESSION" clean
    sees_nothing || fail "$(cat seen)"
}

a_session_is_found_by_its_id() { # TRANSPORT
    local id
    id=$(printf '%s:%s' "$(id -u)" "$LEAT_SESSION" | sha256sum | cut -c1-8)
    start_receiver "$1"
    exits 0 shmadm --shmid "$id" info
    contains stdout "$LEAT_SESSION"
    exits 0 shmadm --shmid 00000000 info
    ! grep -qF "$LEAT_SESSION" stdout || fail "another session was shown"
    exits 0 shmadm -s "another-$LEAT_SESSION" info
    ! grep -qw -- "$LEAT_SESSION" stdout || fail "another session was shown"
    exits 0 shmadm --all-sessions info
    contains stdout "$LEAT_SESSION"
    kill_receiver
    shmadm -s "$LEAT_SESSION" clean
}

a_segment_and_its_channels_are_shown() {
    need_transport posix-shm
    start_receiver posix-shm
    eventually sees "leat_"
    grep -E "^leat_[0-9a-f]{8}_[0-9]+_[0-9]+ +posix-shm +$LEAT_SESSION +alive +$receiver +leat " seen || fail "$(cat seen)"
    grep -E "^data +pull +bind +data +$receiver +leat +0 +0 +0 +0 +0 +0 +0 +0 +0" seen || fail "$(cat seen)"
    kill_receiver
    exits 0 shmadm -s "$LEAT_SESSION" clean
    contains stdout "removed segment leat_"
}

json_is_for_programs() {
    need_transport posix-shm
    have_json || skip "built without jansson"
    start_receiver posix-shm
    exits 0 shmadm -s "$LEAT_SESSION" --json info
    [[ $(figure stdout schema) == leat.info/1 ]] || fail "$(cat stdout)"
    [[ $(figure stdout pid) == "$receiver" ]] || fail "$(cat stdout)"
    kill_receiver
    exits 0 shmadm -s "$LEAT_SESSION" --json clean
    [[ $(figure stdout schema) == leat.clean/1 && $(figure stdout removed) -ge 2 ]] || fail "$(cat stdout)"
    exits 0 shmadm --json plugins
    [[ $(figure stdout schema) == leat.plugins/1 ]] || fail "$(cat stdout)"
    printf '[channel a]\ntype = push\nqueue = ten\nmethod = bind\naddress = a\n' >bad.ini
    exits 1 shmadm --json check bad.ini
    [[ $(figure stdout schema) == leat.check/1 && $(figure stdout line) == 3 ]] || fail "$(cat stdout)"
}

without_a_command_the_commands_are_listed() {
    exits 0 shmadm
    local command
    for command in check clean info plugins; do
        grep -qE "^  $command +[a-z]" stdout || fail "$(cat stdout)"
    done
}

a_near_command_is_guessed() {
    exits 2 shmadm inof
    contains stderr 'there is no command "inof"; did you mean info?'
    exits 2 shmadm smoke
    contains stderr '`shmadm` alone lists the commands'
}

mistakes_on_the_command_line_are_told() {
    exits 2 shmadm --shmid xyz info
    contains stderr '"xyz" is not eight hex digits'
    exits 2 shmadm -s a --all-sessions info
    contains stderr "exclude each other"
    exits 2 shmadm info extra
    contains stderr '"extra" is one argument too many'
    exits 2 shmadm clean --no-such-option
    exits 2 shmadm clean /etc/passwd
    contains stderr 'relative to the memory file system'
    exits 2 shmadm clean ../../etc/passwd
    contains stderr 'contains ".."'
    exits 1 shmadm -s "$LEAT_SESSION" clean nothing-of-that-name
    contains stderr "there is no such name in scope"
    exits 2 shmadm check
    exits 1 shmadm check nowhere.ini
    contains stderr "nowhere.ini"
    exits 1 shmadm --config nowhere.ini info
    contains stderr "nowhere.ini"
    exits 0 shmadm --version
    exits 0 shmadm clean --help
    contains stdout "--dry-run"
}

every_mistake_in_a_file_has_its_line() {
    cat >bad.ini <<'END'
[channel data]
type = shove
queue = ten
adress = data

[smoke]
x = 1
END
    exits 1 shmadm check bad.ini
    contains stderr "bad.ini:2: "
    contains stderr 'bad.ini:3: [channel data] queue: "ten" is not a whole number'
    contains stderr "bad.ini:4: "
    contains stderr "address"
    contains stderr "bad.ini:6: "
    printf '[channel data]\ntype = push\nmethod = bind\naddress = data\ntransport = shmem\n' >good.ini
    need_transport posix-shm
    exits 0 shmadm check good.ini
    [[ ! -s stderr ]] || fail "$(cat stderr)"
}

a_broken_default_configuration_stops_no_administrator() {
    echo 'no section' >broken.ini
    LEAT_CONFIG=$PWD/broken.ini exits 0 shmadm info
    contains stderr "going on without this configuration"
}

an_empty_session_is_removed() {
    need_transport posix-shm
    export LEAT_RUNTIME_DIR=$PWD/memory
    mkdir -p memory && mkdir -m 0700 "memory/leat-$(id -u)" "memory/leat-$(id -u)/deserted"
    exits 0 shmadm -s deserted clean
    contains stdout "leat-$(id -u)/deserted"
    [[ ! -e memory/leat-$(id -u)/deserted ]] || fail "it is still there"
}

a_dry_run_tells_what_comes_back() {
    need_transport posix-shm
    start_receiver posix-shm
    kill_receiver
    exits 0 shmadm -s "$LEAT_SESSION" clean --dry-run
    tail -n 1 stdout >dry
    exits 0 shmadm -s "$LEAT_SESSION" clean
    [[ $(sed 's/ to remove//; s/ to come back//' dry) == "$(tail -n 1 stdout | sed 's/ removed//; s/ came back//')" ]] ||
        fail "$(cat dry stdout)"
}

for_each_transport what_lives_is_shown what_lives_is_not_removed what_is_dead_is_removed a_name_alone_is_removed \
    the_next_start_removes_what_is_dead force_removes_what_lives a_session_is_found_by_its_id
run_tests "${tests[@]}" a_segment_and_its_channels_are_shown json_is_for_programs \
    without_a_command_the_commands_are_listed a_near_command_is_guessed mistakes_on_the_command_line_are_told \
    every_mistake_in_a_file_has_its_line an_empty_session_is_removed \
    a_dry_run_tells_what_comes_back a_broken_default_configuration_stops_no_administrator
