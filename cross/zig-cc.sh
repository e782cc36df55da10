#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The linker cargo calls: zig's C compiler for the target that toolchain.sh chose (ZIG, ZIG_TARGET, ZIG_CPU).
set -eu
if [ "$ZIG_CPU" != - ]; then
    set -- "-mcpu=$ZIG_CPU" "$@"
fi
# With -Os the C library, which zig builds, is made for size, too.
exec "$ZIG" cc -target "$ZIG_TARGET" -Os "$@"
