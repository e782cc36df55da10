#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Builds a package's tests for a router target and runs them, under qemu-user where the target is foreign.
# usage: cross/test.sh TARGET|all [PACKAGE [CARGO-TEST-ARGUMENTS]]       for example: cross/test.sh mips-unknown-linux-musl mlvpn-core
# Without a package: the core's and uci's own tests, and the recorded packets and messages.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=cross/toolchain.sh
. "$here/toolchain.sh"

[ $# -ge 1 ] || fail "usage: cross/test.sh TARGET|all [PACKAGE [CARGO-TEST-ARGUMENTS]]"
targets=$1
shift
[ "$targets" != all ] || targets=$(all_targets)
# shellcheck disable=SC2086 # a list of target names
require_target $targets

cd "$root"
# A failing test unwinds, so the standard library is built with unwinding here, unlike in build.sh.
run() {
    cargo test --locked --target "$target" -Zbuild-std=std,panic_unwind -p "$@"
}

for target in $targets; do
    echo "== $target"
    (
        use_target "$target"
        if [ $# -gt 0 ]; then
            run "$@"
        else
            run mlvpn-core
            run mlvpn-uci
            run mlvpn-tests --test vectors --test ubus_vectors
        fi
    )
done
