# SPDX-License-Identifier: BSD-2-Clause
"""The four commands in the root of an OpenWrt: its own opkg, uci, busybox ash, procd, ubusd and rpcd run them.

OPENWRT_ROOT names a folder with such a root for this machine's CPU (the unpacked rootfs of an x86-64 image, or one put
together from OpenWrt's sources); MLVPND the daemon of cross/build.sh. Everything happens in a copy, in namespaces of its own.
"""

import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
OPENWRT_ROOT = os.environ.get("OPENWRT_ROOT")
BUILT = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "cross/x86_64-unknown-linux-musl/router/mlvpnd"
MLVPND = pathlib.Path(os.environ.get("MLVPND", BUILT))

# What a router has when the user sits down before it.
BOOT = r"""
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mkdir -p /var/run/ubus /var/lock /var/opkg-lists /tmp/calls
mount -t proc proc /proc
ip link set lo up
ubusd &
for each in 1 2 3 4 5 6 7 8 9; do [ -S /var/run/ubus/ubus.sock ] || sleep 1; done
procd -S >/tmp/procd.log 2>&1 &
rpcd &
ubus -t 9 wait_for service session

# say NAME COMMAND..: what it prints, and how it ended
say() {
	name=$1
	shift
	printf '\n=== %s\n' "$name"
	"$@" 2>&1
	printf '\n=== %s ended %s\n' "$name" "$?"
}
status() {
	for each in 1 2 3 4 5 6 7 8 9; do
		ubus call mlvpn.tunnel status >/tmp/status 2>/tmp/why
		grep -q '"state": "up"' /tmp/status && break
		sleep 1
	done
	ubus call mlvpn.tunnel status || cat /tmp/why /tmp/procd.log
}
may() {
	ubus call session access "{\"ubus_rpc_session\":\"$1\",\"scope\":\"$2\",\"object\":\"$3\",\"function\":\"$4\"}" | jsonfilter -e @.access
}
"""

# The first of the user's commands as they stand; the others with what a tunnel needs besides, and its server on this machine.
COMMANDS = r"""
say update opkg update
say install opkg install mlvpn luci-app-mlvpn
secret=$(mlvpn gensecret)
uci set mlvpn.tunnel=tunnel; uci set mlvpn.tunnel.enabled='1'; uci commit mlvpn
say incomplete /etc/init.d/mlvpn check
uci set mlvpn.tunnel.server=127.0.0.1:5080; uci set mlvpn.tunnel.secret="$secret"; uci set mlvpn.tunnel.ip4=10.42.42.2/24
uci set mlvpn.wan=link; uci set mlvpn.wan.device=lo; uci set mlvpn.wan.tunnel=tunnel
uci set mlvpn.far=tunnel; uci set mlvpn.far.enabled=1; uci set mlvpn.far.mode=server; uci set mlvpn.far.device=mlvpn9
uci set mlvpn.far.secret="$secret"
uci set mlvpn.any=link; uci set mlvpn.any.tunnel=far; uci set mlvpn.any.device=lo; uci commit mlvpn
say mode stat -c %a /etc/config/mlvpn
mkdir -p /etc/hotplug.d/mlvpn
echo 'echo "$ACTION $DEVICE $LINK" >>/tmp/hotplug' >/etc/hotplug.d/mlvpn/10-note
say start /etc/init.d/mlvpn start
say status status
say any ubus call mlvpn status
say services ubus call service list '{"name":"mlvpn"}'
say sentence /etc/init.d/mlvpn status
say methods ubus -v list mlvpn

# LuCI's page: who may see, and what uhttpd hands on.
uci set rpcd.viewer=login; uci set rpcd.viewer.username=viewer; uci set rpcd.viewer.password='$p$root'
uci add_list rpcd.viewer.read=luci-app-mlvpn-status; uci commit rpcd
viewer=$(ubus call session login '{"username":"viewer","password":""}' | jsonfilter -e @.ubus_rpc_session)
say viewer-status may "$viewer" ubus mlvpn status
say viewer-keygen may "$viewer" ubus mlvpn keygen
say viewer-uci may "$viewer" uci mlvpn read
say viewer-link may "$viewer" ubus mlvpn link
if [ -x /usr/sbin/uhttpd ]; then
	uhttpd -h /www -u /ubus -p 127.0.0.1:80
	sleep 1
	ask() { wget -q -O - --header 'Content-Type: application/json' --post-data "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"call\",\"params\":[\"$1\",\"mlvpn\",\"$2\",{}]}" http://127.0.0.1/ubus; }
	say polled ask "$viewer" status
	say refused ask "$viewer" keygen
fi

# A change that takes no restart, by procd's own trigger: the same process goes on.
before=$(ubus call service list '{"name":"mlvpn"}' | jsonfilter -e "@.mlvpn.instances.tunnel.pid")
# This notes how the configurations are, the new package's among them, and sees what changed the next time.
reload_config
uci set mlvpn.wan.rate_up=10mbit; uci commit mlvpn; reload_config
for each in 1 2 3 4 5; do ubus call mlvpn.tunnel links | grep -q 1250000 || sleep 1; done
say same test "$before" = "$(ubus call service list '{"name":"mlvpn"}' | jsonfilter -e "@.mlvpn.instances.tunnel.pid")"
say links ubus call mlvpn.tunnel links
sleep 1
say hotplug cat /tmp/hotplug
say stop /etc/init.d/mlvpn stop
left() { ps | grep '[m]lvpnd'; }
for each in 1 2 3 4 5 6; do ! left >/dev/null || sleep 1; done
say left left
say remove opkg remove luci-app-mlvpn mlvpn
say kept cat /etc/config/mlvpn
say gone test ! -e /usr/sbin/mlvpnd
"""


def why_not():
    if not OPENWRT_ROOT:
        return "OPENWRT_ROOT names no OpenWrt"
    if os.getuid() != 0 or platform.machine() != "x86_64":
        return "this is not root on x86-64"
    if not MLVPND.is_file():
        return f"there is no {MLVPND}: run cross/build.sh x86_64-unknown-linux-musl, or name it as MLVPND"
    return None


@unittest.skipIf(why_not(), why_not())
class FourCommands(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        place = pathlib.Path(folder.name)
        cls.root = place / "root"
        subprocess.run(["cp", "-a", OPENWRT_ROOT, cls.root], check=True)
        subprocess.run([sys.executable, ROOT / "cross/package.py", "--out", place / "feed", f"x86_64={MLVPND}"],
                       env={**os.environ, "APK": ""}, check=True, capture_output=True)
        shutil.copytree(place / "feed/x86_64", cls.root / "feed")
        (cls.root / "etc/opkg.conf").write_text(
            "dest root /\nlists_dir ext /var/opkg-lists\nsrc/gz mlvpn file:///feed\narch all 1\narch noarch 1\narch x86_64 10\n")
        cls.pretend_installed("libc", "kmod-tun", "luci-base")
        devices = [("null", 1, 3), ("zero", 1, 5), ("random", 1, 8), ("urandom", 1, 9), ("console", 5, 1), ("net/tun", 10, 200)]
        (cls.root / "dev/net").mkdir(parents=True, exist_ok=True)
        for name, major, minor in devices:
            path = cls.root / "dev" / name
            path.unlink(missing_ok=True)
            subprocess.run(["mknod", "-m", "666", path, "c", str(major), str(minor)], check=True)
        (cls.root / "commands").write_text(BOOT + COMMANDS)
        done = subprocess.run(
            ["unshare", "-m", "-p", "-n", "-u", "-i", "-f", "--kill-child", "chroot", cls.root, "/bin/busybox", "ash", "/commands"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
        cls.log = done.stdout
        cls.said = {name: (text, int(code)) for name, text, code in
                    re.findall(r"^=== (\S+)\n(.*?)\n?^=== \1 ended (\d+)$", cls.log, re.M | re.S)}

    @classmethod
    def pretend_installed(cls, *names):
        """What an image has, and a root put together from sources may lack in opkg's books."""
        info = cls.root / "usr/lib/opkg/info"
        info.mkdir(parents=True, exist_ok=True)
        status = info.parent / "status"
        known = status.read_text() if status.exists() else ""
        with status.open("a") as file:
            for name in names:
                if f"Package: {name}\n" not in known:
                    (info / f"{name}.list").touch()
                    file.write(f"Package: {name}\nVersion: 1\nStatus: install user installed\nArchitecture: all\n\n")

    def told(self, name, code=0):
        self.assertIn(name, self.said, self.log)
        text, ended = self.said[name]
        self.assertEqual(ended, code, f"{name}: {text}\n{self.log}")
        return text.strip()

    def test_opkg_installs_them_and_their_user_and_start_script(self):
        self.told("update")
        text = self.told("install")
        for name in ("Configuring mlvpn.", "Configuring luci-app-mlvpn."):
            self.assertIn(name, text)
        self.assertRegex((self.root / "etc/passwd").read_text(), r"(?m)^mlvpn:")

    def test_what_uci_was_not_told_is_said(self):
        self.assertIn("server", self.told("incomplete", 1))
        self.assertEqual(self.told("mode"), "600")

    def test_the_tunnel_starts_under_procd_and_comes_up(self):
        self.told("start")
        instances = json.loads(self.told("services"))["mlvpn"]["instances"]
        self.assertEqual({name: each["running"] for name, each in instances.items()},
                         {"tunnel": True, "far": True, "hotplug-events": True})
        status = json.loads(self.told("status"))
        self.assertEqual((status["state"], status["device"], status["protocol"]), ("up", "mlvpn0", "2"), self.log)
        self.assertEqual(json.loads(self.told("any"))["state"], "up")
        self.assertIn("tunnel: up: ", self.told("sentence"))
        for method in ("status", "links", "peers", "history", "reload", "link", "keygen"):
            self.assertIn(f'"{method}":', self.told("methods"))

    def test_rpcd_lets_a_reader_see_the_page_and_no_keys(self):
        granted = {name: self.told(f"viewer-{name}") for name in ("status", "keygen", "uci", "link")}
        self.assertEqual(granted, {"status": "true", "keygen": "false", "uci": "false", "link": "false"})

    def test_uhttpd_hands_the_page_what_it_polls(self):
        if not (self.root / "usr/sbin/uhttpd").exists():
            self.skipTest("this root has no uhttpd")
        code, status = json.loads(self.told("polled"))["result"]
        self.assertEqual((code, status["state"]), (0, "up"))
        self.assertIn("error", json.loads(self.told("refused")))

    def test_a_change_is_followed_without_a_restart_and_events_reach_hotplug(self):
        self.told("same")
        self.assertEqual(json.loads(self.told("links"))["links"][0]["rate_bytes_per_sec"], 1_250_000)
        told = self.told("hotplug").splitlines()
        self.assertEqual(sorted(line for line in told if "link" in line), ["link-up mlvpn0 wan", "link-up mlvpn9 client.0"])
        self.assertEqual(sorted(line for line in told if "tunnel" in line), ["tunnel-up mlvpn0 ", "tunnel-up mlvpn9 "])

    def test_a_stop_leaves_nothing_and_a_removal_keeps_the_configuration(self):
        self.told("stop")
        self.assertEqual(self.told("left", 1), "")
        self.told("remove")
        self.assertIn("option enabled '1'", self.told("kept"))
        self.told("gone")


if __name__ == "__main__":
    unittest.main()
