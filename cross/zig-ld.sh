#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The bare-metal linker cargo calls: the lld inside zig (ZIG). An undefined symbol is an error.
exec "${ZIG:?}" ld.lld --no-undefined "$@"
