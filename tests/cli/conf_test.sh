#!/bin/bash
# SPDX-License-Identifier: MIT
#
# conf_test.sh - the INI files of conf/: leat.ini is what the key tables print, and all of them are free of mistakes.

. "$(dirname "${BASH_SOURCE[0]}")/cli.sh"

leat_ini_explains_every_key() {
    need_transport posix-shm
    need_transport zmq
    "$LEAT_TEST_BUILD_DIR/conf/leat_ini" "$LEAT_TEST_PLUGIN_DIR/posix-shm.so" "$LEAT_TEST_PLUGIN_DIR/zmq.so" >leat.ini
    diff "$LEAT_TEST_SOURCE_DIR/conf/leat.ini" leat.ini ||
        fail "conf/leat.ini is not what the key tables say; conf/Makemodule.am tells how to print it anew"
}

no_file_has_a_mistake() {
    need_transport posix-shm
    need_transport zmq
    local file
    for file in "$LEAT_TEST_SOURCE_DIR"/conf/*.ini "$LEAT_TEST_SOURCE_DIR"/examples/*.ini; do
        exits 0 shmadm check "$file"
    done
}

# Every line behind a ; that is a key is one that could be written.
every_default_is_a_good_value() {
    need_transport posix-shm
    need_transport zmq
    sed -n 's/^;\([a-z_]* = .\)/\1/p; t; /^\[/p; /^[a-z_]* = /p' "$LEAT_TEST_SOURCE_DIR/conf/leat.ini" >all.ini
    exits 0 shmadm check all.ini
}

run_tests leat_ini_explains_every_key no_file_has_a_mistake every_default_is_a_good_value
