#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A machine that is thrown away: this one's systemd as process 1 over a copy of this one's files, with processes, network,
# host name and control groups of its own. Nothing that happens in it stays. boot.sh PLACE UNIT, as root; what is in
# PLACE/etc is put into its /etc. It ends when its process 1 is killed, and with 77 where no machine can be had.
set -euo pipefail
trap 'exit 77' ERR
place=$1 unit=$2

if [ -z "${MLVPN_BOOT:-}" ]; then
    # The place of control groups of the second version, alone or beside the first's.
    groups=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
    [ -n "$groups" ] || {
        echo "no cgroup2 is mounted"
        exit 77
    }
    mkdir "$groups/mlvpn-boot-$$"
    echo "$groups/mlvpn-boot-$$" >"$place/group"
    echo $$ >"$groups/mlvpn-boot-$$/cgroup.procs"
    apart=(unshare --mount --uts --ipc --net --pid --fork --cgroup --kill-child)
    "${apart[@]}" true
    MLVPN_BOOT=1 exec "${apart[@]}" "$0" "$place" "$unit"
fi

mount --make-rprivate /
mkdir "$place/over"
mount -t tmpfs tmpfs "$place/over"
mkdir "$place/over/upper" "$place/over/work" "$place/over/root"
root=$place/over/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$place/over/upper,workdir=$place/over/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/net" "$root/dev/pts" "$root/dev/shm"
for node in null zero full random urandom tty net/tun; do
    mknod -m 666 "$root/dev/$node" c "$((0x$(stat -c %t "/dev/$node")))" "$((0x$(stat -c %T "/dev/$node")))"
done
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
for folder in dev/shm run tmp; do
    mount -t tmpfs tmpfs "$root/$folder"
done
cp -a "$place/etc/." "$root/etc/"
: >"$root/etc/machine-id"
cd "$root"
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=throw-away chroot . \
    /lib/systemd/systemd --system --unit="$unit" --log-target=journal
