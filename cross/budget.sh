#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Prints what the router's daemon costs and fails when that is more than its budget: flash on a target, and, of the build
# for x86-64, memory, allocations and time to the first packet of a client with two links (which needs root).
# usage: cross/budget.sh [TARGET]             after cross/build.sh TARGET and cross/build.sh x86_64-unknown-linux-musl
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=cross/toolchain.sh
. "$here/toolchain.sh"

target=${1:-mips-unknown-linux-musl}
native=x86_64-unknown-linux-musl
# Bytes in flash, of the program as it is packed and of the package: the budget, which mips does not keep yet (README.md says
# what takes the rest), and what may not be exceeded meanwhile.
program_budget=600000 program_limit=965000
package_budget=200000 package_limit=496000
# Bytes of memory that a 32-bit router's daemon may come to use for packets, and all else that is zero when it starts.
packets_budget=3145728

require_target "$target"
for each in "$target" "$native"; do
    [ -f "$out/$each/router/mlvpnd" ] || fail "there is no daemon for $each: run cross/build.sh $each"
done
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
architecture=$(target_column "$target" 5)
python3 "$here/package.py" --out "$folder" "$architecture=$out/$target/router/mlvpnd" >/dev/null 2>&1
set -- "$folder/$architecture"/mlvpn_*.ipk
tar -xzf "$1" -C "$folder" ./data.tar.gz
tar -xzf "$folder/data.tar.gz" -C "$folder" ./usr/sbin/mlvpnd

# zeros PROGRAM: bytes of the segments of a 32-bit ELF program that are memory and not in its file.
zeros() {
    python3 - "$1" <<'END'
import struct, sys
elf = open(sys.argv[1], "rb").read()
order = "<" if elf[5] == 1 else ">"
(start,) = struct.unpack_from(order + "I", elf, 28)
size, count = struct.unpack_from(order + "HH", elf, 42)
headers = [struct.unpack_from(order + "8I", elf, start + size * each) for each in range(count)]
print(sum(header[5] - header[4] for header in headers if header[0] == 1))
END
}

over=0
# judge WHAT SIZE BUDGET LIMIT
judge() {
    verdict="within the budget"
    [ "$2" -le "$3" ] || verdict="over the budget, within the limit of $4 B"
    [ "$2" -le "$4" ] || verdict="OVER the limit of $4 B" over=1
    printf '%-40s %9d B  budget %9d B: %s\n' "$1" "$2" "$3" "$verdict"
}
judge "mlvpnd, $target" "$(wc -c <"$folder/usr/sbin/mlvpnd")" "$program_budget" "$program_limit"
judge "package, $architecture" "$(wc -c <"$1")" "$package_budget" "$package_limit"
case $target in
mips* | arm*)
    judge "packet memory at most, $target" "$(zeros "$folder/usr/sbin/mlvpnd")" "$packets_budget" "$packets_budget"
    ;;
esac

cd "$root"
MLVPND_ROUTER=$out/$native/router/mlvpnd cargo test --quiet --locked -p mlvpn-tests --test openwrt -- budget --nocapture --test-threads=1
[ "$over" = 0 ] || fail "over the limit"
