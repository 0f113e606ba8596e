# SPDX-License-Identifier: MIT
#
# cli.sh - sourced by the tests of the programs: what they share beyond tests/support/tap.sh.

. "$(dirname "${BASH_SOURCE[0]}")/../support/tap.sh"

# Not every build has every transport.
need_transport() { # NAME
    [[ -e $LEAT_TEST_PLUGIN_DIR/$1.so ]] || skip "built without $1"
}

transports=(posix-shm zmq)

# Defines TEST for each transport: `over zmq a_file_arrives` makes a_file_arrives_over_zmq, which runs `a_file_arrives
# zmq`. Prints nothing; the names are added to `tests`.
tests=()
for_each_transport() { # FUNCTION...
    local function transport name
    for function in "$@"; do
        for transport in "${transports[@]}"; do
            name=${function}_over_${transport//-/_}
            eval "$name() { need_transport $transport; $function $transport; }"
            tests+=("$name")
        done
    done
}

# A file that compresses badly, of SIZE bytes.
make_file() { # FILE SIZE
    head -c "$2" /dev/urandom >"$1"
}

# The figure of a key in JSON that stands on a line of its own.
figure() { # FILE KEY
    sed -n "s/^ *\"$2\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}\$/\1/p" "$1" | head -n 1
}

have_json() {
    shmadm --json info >/dev/null 2>&1
}
