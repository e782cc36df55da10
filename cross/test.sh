#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Builds a package's tests for a router target and runs them, under qemu-user where the target is foreign.
# usage: cross/test.sh TARGET PACKAGE [CARGO-TEST-ARGUMENTS]       for example: cross/test.sh mips-unknown-linux-musl mlvpn-core
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=cross/toolchain.sh
. "$here/toolchain.sh"

[ $# -ge 2 ] || fail "usage: cross/test.sh TARGET PACKAGE [CARGO-TEST-ARGUMENTS]"
target=$1 package=$2
shift 2

cd "$root"
use_target "$target"
# A failing test unwinds, so the standard library is built with unwinding here, unlike in build.sh.
exec cargo test --locked --target "$target" -Zbuild-std=std,panic_unwind -p "$package" "$@"
