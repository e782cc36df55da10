#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Proves that mlvpn-core needs no heap and no std: links it into a program for a Cortex-M0, a target that has neither.
# Then plants one allocation in that program and demands that it fails to build, so that the proof cannot rot silently.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=cross/toolchain.sh
. "$here/toolchain.sh"

target=thumbv6m-none-eabi
find_compiler
find_zig
export CARGO_TARGET_DIR="$out/bare"
export CARGO_TARGET_THUMBV6M_NONE_EABI_LINKER="$here/zig-ld.sh"
# The versions proved are the workspace's: cargo keeps what it needs of this lock file and drops the rest.
cp "$root/Cargo.lock" "$here/bare/Cargo.lock"

# `alloc` is built as well, so that code may name it and the missing allocator is what fails.
link() {
    cargo build --quiet --release --manifest-path "$here/bare/Cargo.toml" --target "$target" -Zbuild-std=core,alloc "$@"
}

link
program=$CARGO_TARGET_DIR/$target/release/mlvpn-bare
[ -f "$program" ] || fail "the build left no program at $program"
echo "heap-free: the engine linked for $target without std or allocator ($(wc -c <"$program") bytes)"

if report=$(link --features planted 2>&1); then
    fail "a planted allocation linked, so this proof proves nothing"
fi
case $report in
*"no global memory allocator found"*) echo "heap-free: a planted allocation was refused for want of an allocator" ;;
*) fail "the planted allocation failed for another reason:
$report" ;;
esac
