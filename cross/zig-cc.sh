#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The linker cargo calls: zig's C compiler for the target that toolchain.sh chose (ZIG, ZIG_TARGET, ZIG_CPU).
set -eu
if [ "$ZIG_CPU" != - ]; then
    set -- "-mcpu=$ZIG_CPU" "$@"
fi
exec "$ZIG" cc -target "$ZIG_TARGET" "$@"
