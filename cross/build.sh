#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Builds for routers without a container.
# usage: cross/build.sh [TARGET|all] [-- CARGO-BUILD-ARGUMENTS]
# Without arguments after `--` it builds the router's daemon for size: `--profile router -p mlvpnd`.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=cross/toolchain.sh
. "$here/toolchain.sh"

targets=all
if [ $# -gt 0 ] && [ "$1" != -- ]; then
    targets=$1
    shift
fi
if [ $# -gt 0 ]; then
    [ "$1" = -- ] || fail "unexpected argument '$1'; usage: cross/build.sh [TARGET|all] [-- CARGO-BUILD-ARGUMENTS]"
    shift
fi
[ $# -gt 0 ] || set -- --profile router -p mlvpnd
[ "$targets" != all ] || targets=$(all_targets)
# shellcheck disable=SC2086 # a list of target names
require_target $targets

cd "$root"
for target in $targets; do
    echo "== $target ($(target_column "$target" 5))"
    (
        use_target "$target"
        case $target in
        # A static program on MIPS stands at a fixed address either way; told so, the compiler need not go through a table
        # of addresses at every call.
        mips*) flags="$flags -Crelocation-model=static" ;;
        esac
        # A daemon that panics ends either way, and procd starts it again: the texts and tables that tell where are left out.
        flags="$flags -Zunstable-options -Cpanic=immediate-abort -Cforce-unwind-tables=no -Zlocation-detail=none"
        # Nothing the daemon says comes from a derived Debug. What to inline is left to LLVM, which weighs size.
        flags="$flags -Zfmt-debug=shallow -Zinline-mir=no"
        export "CARGO_TARGET_${variable}_RUSTFLAGS=$flags"
        cargo build --locked --target "$target" -Zbuild-std=std,panic_abort -Zbuild-std-features=optimize_for_size "$@"
    )
    for program in "$out/$target"/*/mlvpn "$out/$target"/*/mlvpnd; do
        [ ! -f "$program" ] || wc -c "$program"
    done
done
