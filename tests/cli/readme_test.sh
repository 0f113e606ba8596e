#!/bin/bash
# SPDX-License-Identifier: MIT
#
# readme_test.sh - what the README shows, works: its program is compiled, its INI file read, its commands are run in
# their order, once for each transport. `./dev` itself is replaced: the demo is run on less data, and `./dev test`, of
# which this is a part, is looked up only.

. "$(dirname "${BASH_SOURCE[0]}")/cli.sh"

# Prints the fenced blocks of a language.
blocks() { # LANGUAGE
    awk -v fence='```' -v language="$1" '
        $0 == fence language { inside = 1; next }
        $0 == fence { inside = 0 }
        inside' "$LEAT_TEST_SOURCE_DIR/README.md"
}

prepare() {
    blocks c >hello.c
    blocks ini >hello.ini
    { echo 'set -eu'; blocks sh; } >commands
    # As pkg-config would find an installed leat.
    cat >leat.pc <<END
Name: leat
Description: leat in the build tree
Version: 0
Cflags: -I$LEAT_TEST_SOURCE_DIR/include
Libs: -L$LEAT_TEST_BUILD_DIR/core/.libs -Wl,-rpath,$LEAT_TEST_BUILD_DIR/core/.libs -lleat
END
    export PKG_CONFIG_PATH=$PWD
    cat >dev <<'END'
#!/bin/bash
set -eu
case $1 in
demo) exec leat demo --config "$LEAT_TEST_SOURCE_DIR/conf/demo.ini" --limit 8M "${@:2}" ;;
test) grep -q '^dev_test()' "$LEAT_TEST_SOURCE_DIR/dev" && grep -q '\./dev test' "$LEAT_TEST_SOURCE_DIR/.ci/run" ;;
*) exit 2 ;;
esac
END
    chmod +x dev
}

run_readme() {
    prepare
    grep -qx './dev demo' commands || fail "the README does not show ./dev demo"
    bash commands >stdout 2>stderr || fail "exit status $?: $(cat stdout stderr)"
    contains stdout "water runs"
    contains stdout "equal: what came out is what went in"
    contains stdout "SEGMENT"
    contains stdout '"schema": "leat.info/1"'
}

everything_that_the_readme_shows_works() {
    need_transport posix-shm
    run_readme
}

the_readme_is_right_that_transport_zmq_is_all_it_takes() {
    need_transport zmq
    prepare
    { echo 'set -eu'; blocks sh | sed -n 's/^\(\.\/hello --config hello\.ini\)/\1 --transport zmq/p; /^cc\|^wait/p'; } >zmq
    bash zmq >stdout 2>stderr || fail "exit status $?: $(cat stdout stderr)"
    contains stdout "water runs"
}

run_tests everything_that_the_readme_shows_works the_readme_is_right_that_transport_zmq_is_all_it_takes
