#!/bin/bash
# SPDX-License-Identifier: MIT
#
# outside.sh - a transport that was written outside the tree, with nothing but the installed headers and pkg-config, is put
# in a directory of its own, chosen by INI and --plugin-dir, and passes the conformance suite for what it claims.

. "$(dirname "${BASH_SOURCE[0]}")/../support/tap.sh"

TEST_LIMIT=300
unset MAKEFLAGS MFLAGS MAKELEVEL

# Installs into $DIR/stage and lets pkg-config see that alone.
install_into_stage() {
    make -C "$LEAT_TEST_BUILD_DIR" --no-print-directory -s install "DESTDIR=$DIR/stage" >install.log 2>&1 ||
        fail "$(tail -n 20 install.log)"
    pc=$(find "$DIR/stage" -name leat.pc)
    [[ -f $pc ]] || fail "leat.pc is not installed"
    export PKG_CONFIG_LIBDIR=${pc%/*} PKG_CONFIG_SYSROOT_DIR=$DIR/stage
}

build_loop() { # SOURCE
    mkdir -p plugins
    # shellcheck disable=SC2046 # the flags are words
    gcc -O2 -Wall -Wextra -Werror -D_GNU_SOURCE -fPIC -shared -pthread -o plugins/loop.so "$1" \
        $(pkg-config --cflags --libs leat) -Wl,-z,defs -Wl,-z,now
}

run_suite() { # [PART OF A NAME]
    "$LEAT_TEST_BUILD_DIR/tests/conformance/suite" --transport loop --plugin-dir "$DIR/plugins" \
        --claims push-pull,threads,queue "$@" >results
}

a_transport_written_outside_the_tree_passes_the_suite() {
    install_into_stage
    cp "$LEAT_TEST_SOURCE_DIR/tests/conformance/outside/loop.c" .
    build_loop loop.c
    run_suite || fail "$(grep -v '^ok' results | head -n 40)"
    [[ $(grep -v '# SKIP' results | grep -c '^ok ') -ge 50 ]] || fail "hardly a test was run: $(tail -n 3 results)"
}

# The suite would see it: the same transport, but that it drops every hundredth message.
a_transport_that_loses_messages_does_not_pass() {
    install_into_stage
    sed 's/STAILQ_INSERT_TAIL(&to->unread, m, entry);/static int n; if (++n % 100 == 0) to->depth--; else &/' \
        "$LEAT_TEST_SOURCE_DIR/tests/conformance/outside/loop.c" >lossy.c
    build_loop lossy.c
    ! run_suite "every length" || fail "the suite passes a transport that loses messages"
    contains results "not ok"
}

run_tests \
    a_transport_written_outside_the_tree_passes_the_suite \
    a_transport_that_loses_messages_does_not_pass
