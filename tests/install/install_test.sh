#!/bin/bash
# SPDX-License-Identifier: MIT
#
# install_test.sh - leat as its users have it: installed, found with pkg-config. Uses nothing of the build tree but the
# make targets; $LEAT_TEST_PREFIX and $LEAT_TEST_LIBDIR say where `make check-install` has installed it.

. "$(dirname "${BASH_SOURCE[0]}")/../support/tap.sh"

TEST_LIMIT=300
prefix=${LEAT_TEST_PREFIX-}
libdir=${LEAT_TEST_LIBDIR-}
unset LEAT_PLUGIN_PATH # the installed plugins are to be found without help
export PATH=$prefix/bin:$PATH
export PKG_CONFIG_PATH=$libdir/pkgconfig
export LD_LIBRARY_PATH=$libdir

need_installed() {
    [[ -n $prefix ]] || skip "run by make check-install only"
}

with_zmq() {
    [[ -e $libdir/leat/zmq.so ]]
}

the_files_are_in_their_places() {
    need_installed
    local file
    for file in include/leat/leat.h include/leat/plugin.h include/leat/admin.h bin/leat bin/shmadm; do
        [[ -f $prefix/$file ]] || fail "$prefix/$file is missing"
    done
    for file in libleat.so leat/posix-shm.so leat/info.so leat/clean.so leat/plugins.so leat/check.so \
        pkgconfig/leat.pc; do
        [[ -f $libdir/$file ]] || fail "$libdir/$file is missing"
    done
}

the_library_exports_its_interface_and_nothing_else() {
    need_installed
    nm -D --defined-only "$libdir/libleat.so" | awk '{ print $3 }' >exported
    ! grep -v '^leat_' exported || fail "these names are exported too"
    # Every function that an installed header declares is there.
    cat "$prefix"/include/leat/*.h | grep -oE '^LEAT_API [^;]*\(' | grep -oE '\bleat_[a-z0-9_]+\(' | tr -d '(' |
        sort -u >declared
    sort -u exported | comm -23 declared - >missing
    [[ ! -s missing ]] || fail "declared, but not exported: $(tr '\n' ' ' <missing)"
}

a_plugin_exports_its_descriptor_and_nothing_else() {
    need_installed
    local plugin
    for plugin in "$libdir"/leat/*.so; do
        [[ $(nm -D --defined-only "$plugin" | awk '{ print $3 }') == leat_plugin ]] ||
            fail "$plugin exports $(nm -D --defined-only "$plugin" | awk '{ print $3 }' | tr '\n' ' ')"
    done
}

the_headers_stand_alone_in_c_and_cpp() {
    need_installed
    local header flags
    flags=$(pkg-config --cflags leat)
    for header in leat plugin admin; do
        # shellcheck disable=SC2086 # the flags are words
        echo "#include <leat/$header.h>" | gcc -std=c11 -Wall -Wextra -pedantic -Werror $flags -xc -fsyntax-only -
        # shellcheck disable=SC2086
        echo "#include <leat/$header.h>" | g++ -std=c++11 -Wall -Wextra -Werror $flags -xc++ -fsyntax-only -
    done
}

build_examples() {
    cp -r "$LEAT_TEST_SOURCE_DIR/examples" .
    make -C examples clean all CFLAGS="-O2 -Wall -Wextra -Werror" CXXFLAGS="-O2 -Wall -Wextra -Werror"
    cd examples
}

the_examples_build_with_pkg_config() {
    need_installed
    build_examples
    [[ -x send && -x recv && -x relay ]]
}

pass_messages() { # TRANSPORT
    build_examples
    sed 's/address = example/address = second/' leat.ini >second.ini
    sed '/channel out/,/^$/s/address = example/address = second/' leat.ini >relay.ini
    ./recv --config second.ini --transport "$1" >received &
    local receiver=$!
    ./relay --config relay.ini --transport "$1" >relayed &
    local relay=$!
    ./send --config leat.ini --transport "$1" 1000 5000 >sent
    wait "$relay"
    wait "$receiver"
    contains sent "sent 1000 messages of 5000 bytes"
    contains relayed "relayed 1000 messages"
    contains received "received 1000 messages, 5000000 bytes"
}

the_examples_pass_messages_over_shared_memory() {
    need_installed
    pass_messages shmem
}

the_examples_pass_messages_over_zeromq() {
    need_installed
    with_zmq || skip "built without zmq"
    pass_messages zmq
}

# A directory of its own with a transport in it that was compiled from the installed headers alone.
build_transport() {
    mkdir -p plugins
    # shellcheck disable=SC2046 # the flags are words
    gcc -O2 -g -Wall -Wextra -fPIC -shared -pthread -D_GNU_SOURCE -Wl,-z,defs -Wl,-z,now \
        -o plugins/inproc.so "$LEAT_TEST_SOURCE_DIR/tests/mocks/inproc.c" $(pkg-config --cflags --libs leat)
}

a_transport_built_outside_the_tree_is_found_by_shmadm() {
    need_installed
    build_transport
    exits 0 shmadm --plugin-dir "$DIR/plugins" plugins
    contains stdout "$DIR/plugins/inproc.so"
    ! grep -q '^refused ' stdout || fail "$(cat stdout)"
}

destdir_takes_everything_and_uninstall_removes_it() {
    need_installed
    local make=(make -C "$LEAT_TEST_BUILD_DIR" --no-print-directory -s "DESTDIR=$DIR/stage")
    "${make[@]}" install >install.log 2>&1 || fail "$(tail -n 20 install.log)"
    [[ -f $DIR/stage$libdir/leat/posix-shm.so ]] || fail "no plugin below DESTDIR"
    (cd "$DIR/stage$prefix" && find . -type f -o -type l | sort) >staged
    (cd "$prefix" && find . -type f -o -type l | sort) >installed
    same staged installed
    "${make[@]}" uninstall >uninstall.log 2>&1 || fail "$(tail -n 20 uninstall.log)"
    [[ -z $(find "$DIR/stage" -type f -o -type l) ]] || fail "left: $(find "$DIR/stage" -type f -o -type l)"
}

run_tests \
    the_files_are_in_their_places \
    the_library_exports_its_interface_and_nothing_else \
    a_plugin_exports_its_descriptor_and_nothing_else \
    the_headers_stand_alone_in_c_and_cpp \
    the_examples_build_with_pkg_config \
    the_examples_pass_messages_over_shared_memory \
    the_examples_pass_messages_over_zeromq \
    a_transport_built_outside_the_tree_is_found_by_shmadm \
    destdir_takes_everything_and_uninstall_removes_it
