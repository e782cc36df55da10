# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh
# Sourced by the scripts beside it: finds the compiler and zig, and sets up one target for cargo.
# `here` must hold the absolute path of this folder. The environment may override RUSTC and ZIG.

# The compiler whose package brings the standard library's source, so that targets without a prebuilt one can be built.
router_rustc=${RUSTC:-/usr/bin/rustc}
# 0.17 fails to link static MIPS programs.
zig_version=0.15.2
root=$(dirname "$here")
target_dir=${CARGO_TARGET_DIR:-$root/target}
case $target_dir in /*) ;; *) target_dir=$root/$target_dir ;; esac
# Python environment for zig and other tools from PyPI; `tools.sh` fills it.
tools=$target_dir/tools
out=$target_dir/cross

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

all_targets() {
    awk '!/^#/ && NF { print $1 }' "$here/targets"
}

# require_target TARGET..: ends the script unless the table has a row for each.
require_target() {
    for wanted; do
        all_targets | grep -qxF -e "$wanted" || fail "unknown target '$wanted'; known are: $(all_targets | tr '\n' ' ')"
    done
}

# target_column TARGET NUMBER: one field of the table's row for TARGET.
target_column() {
    awk -v target="$1" -v column="$2" '$1 == target { print $column }' "$here/targets"
}

find_compiler() {
    library=$("$router_rustc" --print sysroot)/lib/rustlib/src/rust/library/Cargo.toml || fail "no compiler at $router_rustc"
    [ -f "$library" ] || fail "$router_rustc lacks the standard library's source; install rustc-web and rust-web-src"
    # Unstable options of cargo and rustc (-Zbuild-std) on a stable compiler.
    RUSTC=$router_rustc RUSTC_BOOTSTRAP=1
    RUSTDOC=$(dirname "$router_rustc")/rustdoc
    export RUSTC RUSTC_BOOTSTRAP RUSTDOC
}

find_zig() {
    for candidate in "${ZIG:-}" "$tools/bin/zig" "$(command -v zig || true)"; do
        [ -x "$candidate" ] && [ "$("$candidate" version)" = "$zig_version" ] || continue
        ZIG=$candidate
        export ZIG
        return
    done
    fail "zig $zig_version not found; run $here/tools.sh or set ZIG"
}

# use_target TARGET: exports what cargo needs to compile and link for TARGET.
use_target() {
    require_target "$1"
    find_compiler
    find_zig
    zig_target=$(target_column "$1" 2) zig_cpu=$(target_column "$1" 3) qemu=$(target_column "$1" 4)
    ZIG_TARGET=$zig_target ZIG_CPU=$zig_cpu
    export ZIG_TARGET ZIG_CPU
    variable=$(echo "$1" | tr 'a-z-' 'A-Z_')
    export "CARGO_TARGET_${variable}_LINKER=$here/zig-cc.sh"
    # Start files and libc come from zig; everything is linked in, so that a program runs on any OpenWrt release.
    flags="-Clink-self-contained=no -Ctarget-feature=+crt-static"
    export "CARGO_TARGET_${variable}_RUSTFLAGS=$flags"
    [ "$qemu" = - ] || export "CARGO_TARGET_${variable}_RUNNER=$qemu"
    CARGO_TARGET_DIR=$out
    export CARGO_TARGET_DIR
}
