#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Installs what the cross build needs: Debian packages when run as root, zig from PyPI into target/tools.
# usage: cross/tools.sh            Quick when everything is there.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=cross/toolchain.sh
. "$here/toolchain.sh"

packages="rustc-web rust-web-src qemu-user-static python3-venv"
missing=
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || missing="$missing $package"
done
if [ -n "$missing" ]; then
    [ "$(id -u)" = 0 ] || fail "as root, run: apt-get install$missing"
    DEBIAN_FRONTEND=noninteractive apt-get -qq update
    # shellcheck disable=SC2086 # a list of package names
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing
fi

[ -x "$tools/bin/python" ] || python3 -m venv "$tools"
if ! "$tools/bin/python" -m ziglang version 2>/dev/null | grep -qx "$zig_version"; then
    "$tools/bin/pip" install --quiet --disable-pip-version-check "ziglang==$zig_version"
fi
# The PyPI package starts zig through Python; a link to the program itself spares that at every link step.
ln -sf "$("$tools/bin/python" -c 'import os, ziglang; print(os.path.join(os.path.dirname(ziglang.__file__), "zig"))')" \
    "$tools/bin/zig"
