#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The Debian package of a program that was built: build.sh [PROGRAM [FOLDER]], by default of target/release/mlvpn into
# target/. DEBFULLNAME and DEBEMAIL say who made it. dpkg-deb and binutils are all it takes, which every Debian that builds
# programs has; the same program gives the same bytes.
set -euo pipefail
umask 022

here=$(cd "$(dirname "$0")" && pwd)
top=$here/../..
target=${CARGO_TARGET_DIR:-$top/target}
program=${1:-$target/release/mlvpn}
out=${2:-$target}

[ -x "$program" ] || {
    echo "build.sh: no program $program; build it with cargo build --release, or name it" >&2
    exit 1
}
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$top/Cargo.toml")-1
maintainer="${DEBFULLNAME:-mlvpn contributors} <${DEBEMAIL:-mlvpn@localhost}>"
architecture=$(dpkg --print-architecture)
# When the sources are from: of the last commit, where there is one.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$top" log -1 --format=%ct 2>/dev/null || echo 1750000000)}
export SOURCE_DATE_EPOCH

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"

# put MODE FROM TO..: a file in the package.
put() {
    install -D -m "$1" "$2" "$root/$3"
}

# squeeze TO: a manual page or changelog, as Debian wants it.
squeeze() {
    gzip -9 -n -f "$root/$1"
}

put 755 "$program" usr/sbin/mlvpn
strip --strip-unneeded --remove-section=.comment --remove-section=.note "$root/usr/sbin/mlvpn"
put 644 "$here/../systemd/mlvpn@.service" usr/lib/systemd/system/mlvpn@.service
put 644 "$here/../systemd/mlvpn.service" usr/lib/systemd/system/mlvpn.service
put 644 "$here/../systemd/sysusers.conf" usr/lib/sysusers.d/mlvpn.conf
put 644 "$here/../systemd/tmpfiles.conf" usr/lib/tmpfiles.d/mlvpn.conf
put 700 "$here/examples/updown.sh" etc/mlvpn/updown.sh
# A status command is run only when it is root's and nobody else's.
chmod 700 "$root/etc/mlvpn"
put 644 "$here/examples/server.conf" usr/share/doc/mlvpn/examples/server.conf
put 644 "$here/examples/client.conf" usr/share/doc/mlvpn/examples/client.conf
put 644 "$here/../MIGRATION.md" usr/share/doc/mlvpn/MIGRATION.md
put 644 "$here/copyright" usr/share/doc/mlvpn/copyright
put 644 "$top/CHANGELOG.md" usr/share/doc/mlvpn/changelog
squeeze usr/share/doc/mlvpn/changelog
cat >"$root/usr/share/doc/mlvpn/changelog.Debian" <<END
mlvpn ($version) unstable; urgency=medium

  * See changelog.gz.

 -- $maintainer  $(date --utc --date="@$SOURCE_DATE_EPOCH" --rfc-email)
END
squeeze usr/share/doc/mlvpn/changelog.Debian
put 644 "$here/lintian-overrides" usr/share/lintian/overrides/mlvpn
for page in "$here"/../man/*.[1578]; do
    [ -e "$page" ] || continue
    section=${page##*.}
    put 644 "$page" "usr/share/man/man$section/${page##*/}"
    squeeze "usr/share/man/man$section/${page##*/}"
done

# The libraries the program asks for: glibc with the newest of its symbols that are used, and gcc's. One built for musl asks
# for none.
needed=$(objdump -p "$program" | sed -n 's/^ *NEEDED *//p')
glibc=$(objdump -T "$program" | grep -o 'GLIBC_[0-9.]*' | sort -u -V | tail -n 1)
depends=""
case $needed in *libc.so*) depends="libc6 (>= ${glibc#GLIBC_}), " ;; esac
case $needed in *libgcc_s*) depends="${depends}libgcc-s1 (>= 4.2), " ;; esac

mkdir -m 755 "$root/DEBIAN"
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@DEPENDS@/${depends}adduser/" \
    -e "s/@MAINTAINER@/$maintainer/" \
    -e "s/@SIZE@/$(du -sk --apparent-size "$root" | cut -f 1)/" "$here/control.in" >"$root/DEBIAN/control"
echo /etc/mlvpn/updown.sh >"$root/DEBIAN/conffiles"
for script in postinst prerm postrm; do
    install -m 755 "$here/$script" "$root/DEBIAN/$script"
done
(cd "$root" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"

package=$out/mlvpn_${version}_$architecture.deb
find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group -Zxz --build "$root" "$package" >/dev/null
echo "$package"
