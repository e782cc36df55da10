#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Runs the daemon of a target's package under qemu-user against this machine's mlvpn: real devices and sockets in network
# namespaces, both protocols, both directions. As root, after cross/build.sh.
# usage: cross/carry.sh [TARGET ..]           without targets: every one that was built
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=cross/toolchain.sh
. "$here/toolchain.sh"

[ "$(id -u)" = 0 ] || fail "needs root: it makes network namespaces and devices"
if [ $# = 0 ]; then
    for target in $(all_targets); do
        [ ! -f "$out/$target/router/mlvpnd" ] || set -- "$@" "$target"
    done
    [ $# -gt 0 ] || fail "no daemon was built: run cross/build.sh"
fi
require_target "$@"

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$root"
for target; do
    daemon=$out/$target/router/mlvpnd
    [ -f "$daemon" ] || fail "there is no $daemon: run cross/build.sh $target"
    architecture=$(target_column "$target" 5) qemu=$(target_column "$target" 4)
    [ "$qemu" != - ] || qemu=
    python3 "$here/package.py" --out "$folder" "$architecture=$daemon" >/dev/null 2>&1
    tar -xzf "$folder/$architecture"/mlvpn_*.ipk -C "$folder" ./data.tar.gz
    # Whoever the daemon becomes must be able to run it.
    chmod 755 "$folder"
    tar -xzf "$folder/data.tar.gz" -C "$folder" ./usr/sbin/mlvpnd
    echo "== $target: ${qemu:-natively}"
    MLVPND_FOREIGN="$qemu $folder/usr/sbin/mlvpnd" cargo test --locked -p mlvpn-tests --test openwrt -- foreign --nocapture
done
