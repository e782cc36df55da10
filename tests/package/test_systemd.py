# SPDX-License-Identifier: BSD-2-Clause
"""The unit under a real systemd: this machine's, started as process 1 of a machine that is thrown away (boot.sh)."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from test_debian import LINUX, PROGRAM, run

# A wait for what takes moments, in seconds; long enough that a busy machine makes no difference.
LONG = 300
# A watchdog for the test of it, in seconds; the unit's own takes half a minute.
WATCHDOG = 3

# Enough for a service, and not what else this machine would start.
TARGET = """[Unit]
Requires=basic.target
After=basic.target
"""

# Two ends on one machine, with everything that takes rights: devices, addresses, routes, rules, translation.
SERVER = """[general]
protocol = 2
mode = "server"
private_key = "{server}"
interface_name = "office"
ip4 = "10.42.42.1/24"
nat = yes
port_forwards = tcp/8080:10.42.42.2:80
control_bind_port = 1040

[peer router]
public_key = "{client_public}"
allowed_ips = "10.42.42.2/32, 192.168.7.0/24"

[port]
bindport = 5080
"""
CLIENT = """[general]
protocol = 2
mode = "client"
private_key = "{client}"
interface_name = "router"
ip4 = "10.42.42.2/24"
remote_networks = 10.99.0.0/16
kill_switch = yes
quota_file = "/var/lib/mlvpn/usage"

[peer office]
public_key = "{server_public}"
remotehost = "127.0.0.1"
remoteport = 5080

[dsl]
bindhost = "127.0.0.2"
quota_month_hard = 20GB

[lte]
bindhost = "127.0.0.3"
"""


def keys():
    private = run(PROGRAM, "keygen").strip()
    return private, run(PROGRAM, "pubkey", input=private + "\n").strip()


@unittest.skipUnless(hasattr(os, "geteuid") and os.geteuid() == 0, "only root can boot a machine")
@unittest.skipUnless(os.path.exists("/lib/systemd/systemd") and shutil.which("nft"), "there is no systemd, or no nft")
@unittest.skipUnless(os.path.exists("/dev/net/tun"), "there is no /dev/net/tun")
@unittest.skipUnless(shutil.which("dpkg-deb") and shutil.which("objdump"), "there is no dpkg-deb, or no objdump")
@unittest.skipUnless(PROGRAM.exists(), f"there is no {PROGRAM}: cargo build")
class Systemd(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.place = pathlib.Path(folder.name)
        etc = cls.place / "etc"
        (etc / "systemd/system/mlvpn@.service.d").mkdir(parents=True)
        (etc / "systemd/system/enough.target").write_text(TARGET)
        (etc / "systemd/system/mlvpn@.service.d/quick.conf").write_text("[Service]\nRestartSec=100ms\n")
        package = run(LINUX / "debian/build.sh", PROGRAM, etc).strip()
        cls.boot()
        cls.inside("dpkg", "--force-depends", "--force-unsafe-io", "--install", f"/etc/{pathlib.Path(package).name}")
        (client, client_public), (server, server_public) = keys(), keys()
        for name, text in (("server", SERVER), ("client", CLIENT)):
            text = text.format(client=client, client_public=client_public, server=server, server_public=server_public)
            cls.configure(name, text)

    @classmethod
    def configure(cls, name, text):
        cls.inside("sh", "-c", f"umask 077; cat > /etc/mlvpn/{name}.conf", input=text)

    @classmethod
    def boot(cls):
        script = pathlib.Path(__file__).parent / "boot.sh"
        machine = subprocess.Popen([script, cls.place, "enough.target"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        cls.addClassCleanup(cls.shut_down, machine)
        # unshare's child is the machine's process 1.
        children = pathlib.Path(f"/proc/{machine.pid}/task/{machine.pid}/children")
        deadline = time.monotonic() + LONG
        while time.monotonic() < deadline and machine.poll() is None:
            found = children.read_text().split() if children.exists() else []
            cls.first = int(found[0]) if found else 0
            if cls.first and cls.try_inside("systemctl", "is-system-running").stdout.strip() == "running":
                return
            time.sleep(0.1)
        said = machine.stdout.read() if machine.poll() is not None else ""
        if machine.poll() == 77:
            raise unittest.SkipTest(f"no machine can be booted here: {said}")
        raise AssertionError(f"systemd does not come up: {said}")

    @classmethod
    def shut_down(cls, machine):
        if machine.poll() is None and getattr(cls, "first", 0):
            with contextlib.suppress(ProcessLookupError):
                os.kill(cls.first, signal.SIGKILL)
        machine.wait(LONG)
        machine.stdout.close()
        group = cls.place / "group"
        if group.exists():
            for folder, _, _ in os.walk(group.read_text().strip(), topdown=False):
                os.rmdir(folder)

    @classmethod
    def try_inside(cls, *command, **options):
        enter = ["nsenter", f"--target={cls.first}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"]
        return subprocess.run([*enter, *command], capture_output=True, text=True, timeout=LONG, **options)

    @classmethod
    def inside(cls, *command, **options):
        done = cls.try_inside(*command, **options)
        if done.returncode != 0:
            journal = cls.try_inside("journalctl", "--no-pager", "-n", "60").stdout
            raise AssertionError(f"{command}: {done.returncode}: {done.stdout}{done.stderr}\n{journal}")
        return done.stdout

    def until(self, what, *command, says=None):
        """Waits until a command in the machine says what is wanted."""
        deadline = time.monotonic() + LONG
        while time.monotonic() < deadline:
            said = self.try_inside(*command).stdout
            if says(said):
                return said
            time.sleep(0.1)
        raise AssertionError(f"{what}: {said}\n{self.journal()}")

    def journal(self):
        return self.try_inside("journalctl", "--no-pager", "--output=cat", "--unit=mlvpn@*").stdout

    def show(self, name, field):
        return self.inside("systemctl", "show", "--value", f"--property={field}", f"mlvpn@{name}").strip()

    def processes(self, name):
        """The monitor and its worker."""
        monitor = self.show(name, "MainPID")
        return monitor, self.inside("cat", f"/proc/{monitor}/task/{monitor}/children").strip()

    def connected(self):
        def says(text):
            tunnels = json.loads(text)["tunnels"] if text else []
            return len(tunnels) == 2 and all(tunnel["state"] == "up" for tunnel in tunnels)

        self.until("both ends are up", "/usr/sbin/mlvpn", "show", "--json", says=says)

    def has_everything(self):
        self.assertIn("mlvpn_office", self.inside("nft", "list", "tables"))
        self.assertIn("masquerade", self.inside("nft", "list", "ruleset"))
        self.assertIn("dnat", self.inside("nft", "list", "ruleset"))
        self.assertIn("10.99.0.0/16 dev router", self.inside("ip", "route", "show", "table", "all"))
        self.assertIn("default dev router", self.inside("ip", "route", "show", "table", "all"))
        self.assertIn("10.42.42.1/24", self.inside("ip", "address", "show", "dev", "office"))

    def has_nothing(self):
        self.assertEqual(self.inside("nft", "list", "tables").strip(), "")
        # 109 is what marks our own routes.
        self.assertNotIn("proto 109", self.inside("ip", "route", "show", "table", "all"))
        self.assertEqual(len(self.inside("ip", "rule").strip().splitlines()), 3)
        self.assertNotIn("office", self.inside("ip", "link"))
        self.assertNotIn("router", self.inside("ip", "link"))

    def setUp(self):
        # Type=notify: this returns when both are ready.
        self.inside("systemctl", "start", "mlvpn@server", "mlvpn@client")
        self.connected()

    def tearDown(self):
        self.inside("systemctl", "stop", "mlvpn@server", "mlvpn@client")
        self.inside("systemctl", "reset-failed")
        self.has_nothing()

    def test_it_starts_with_few_rights_carries_reloads_and_takes_everything_back(self):
        self.has_everything()
        # Nobody answers, for both addresses are this machine's; but the packets go in here and come out there.
        self.try_inside("bash", "-c", "for packet in 1 2 3; do echo $packet > /dev/udp/10.99.0.1/7; done")
        self.until("packets are carried", "/usr/sbin/mlvpn", "show", "--json", says=lambda text: self.carried(text) >= 3)
        user = self.inside("id", "--user", "mlvpn").strip()
        for name in ("server", "client"):
            monitor, worker = self.processes(name)
            status = self.inside("cat", f"/proc/{worker}/status")
            for line in (f"Uid:\t{user}\t{user}\t{user}\t{user}\n", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"):
                self.assertIn(line, status)
            # The hardening is systemd's for the monitor, too.
            self.assertIn("Seccomp:\t2", self.inside("cat", f"/proc/{monitor}/status"))
        ask = "exec 3<>/dev/tcp/127.0.0.1/1040; printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
        self.assertIn("mlvpn_peer_up", self.inside("bash", "-c", ask))
        before = self.journal().count("reload: done")
        self.inside("systemctl", "reload", "mlvpn@server")
        self.until("it read its file again", "true", says=lambda _: self.journal().count("reload: done") == before + 1)
        # All at once, by the unit for that.
        self.inside("systemctl", "start", "mlvpn")
        before = self.journal().count("reload: done")
        self.inside("systemctl", "reload", "mlvpn")
        self.until("both did", "true", says=lambda _: self.journal().count("reload: done") == before + 2)
        self.inside("systemctl", "stop", "mlvpn")
        for name in ("server", "client"):
            ask = ["systemctl", "show", "--value", "--property=ActiveState", f"mlvpn@{name}"]
            self.until("it is part of the unit for all", *ask, says=lambda said: said.strip() == "inactive")
        self.has_nothing()
        self.assertIn("mlvpn usage", self.inside("cat", "/var/lib/mlvpn/usage"))

    def carried(self, text):
        """Packets that the client's end took from its device."""
        return next(tunnel["work"]["packets_out"] for tunnel in json.loads(text)["tunnels"] if tunnel["mode"] == "client")

    def assert_restarts(self, name, kill):
        before = self.processes(name)
        restarts = int(self.show(name, "NRestarts"))
        kill(*before)
        self.until("systemd restarts it", "systemctl", "show", "--value", "--property=NRestarts", f"mlvpn@{name}", says=lambda said: int(said) > restarts)
        self.until("it is ready", "systemctl", "is-active", f"mlvpn@{name}", says=lambda said: said.strip() == "active")
        self.assertNotEqual(self.processes(name)[1], before[1])
        self.connected()
        self.has_everything()

    def test_a_killed_worker_or_monitor_is_replaced_and_leaves_nothing(self):
        self.assert_restarts("server", lambda _, worker: self.inside("kill", "-9", worker))
        self.assert_restarts("client", lambda monitor, _: self.inside("kill", "-9", monitor))

    def test_a_worker_that_hangs_is_found_by_the_watchdog_and_replaced(self):
        folder = "/run/systemd/system/mlvpn@server.service.d"
        self.inside("sh", "-c", f"mkdir -p {folder}; cat > {folder}/quick.conf", input=f"[Service]\nWatchdogSec={WATCHDOG}\n")
        self.inside("systemctl", "daemon-reload")
        self.inside("systemctl", "restart", "mlvpn@server")
        self.connected()
        self.assert_restarts("server", lambda _, worker: self.inside("kill", "-STOP", worker))
        said = "mlvpn@server.service: Watchdog timeout"
        self.until("systemd says why", "journalctl", "--no-pager", "--output=cat", says=lambda text: said in text)
        self.inside("rm", "-r", folder)
        self.inside("systemctl", "daemon-reload")

    def test_a_file_with_an_error_keeps_it_from_starting_and_says_the_line(self):
        self.configure("broken", "[general]\nmode = sideways\n")
        self.assertNotEqual(self.try_inside("systemctl", "start", "mlvpn@broken").returncode, 0)
        told = self.inside("journalctl", "--no-pager", "--output=cat", "--unit=mlvpn@broken")
        self.assertIn("/etc/mlvpn/broken.conf:2", told)
        self.inside("systemctl", "stop", "mlvpn@broken")

    def test_the_examples_of_the_package_run_with_their_status_command(self):
        self.inside("systemctl", "stop", "mlvpn@server", "mlvpn@client")
        server, client = ((LINUX / f"debian/examples/{name}.conf").read_text() for name in ("server", "client"))
        for old, new in (("vpn.example.net", "127.0.0.1"), ("mlvpn0", "mlvpn1"), ('"eth0"', '"lo"'), ('"wwan0"', '"lo"')):
            client = client.replace(old, new)
        self.configure("example", server)
        self.configure("caller", client)
        self.inside("systemctl", "start", "mlvpn@example", "mlvpn@caller")
        for device, address in (("mlvpn0", "10.42.42.1/24"), ("mlvpn1", "10.42.42.2/24")):
            self.until("the status command ran", "ip", "address", "show", "dev", device, says=lambda said: address in said)
        self.inside("systemctl", "stop", "mlvpn@example", "mlvpn@caller")

    def test_systemd_finds_nothing_to_complain_of(self):
        told = self.try_inside("systemd-analyze", "verify", "mlvpn@server.service", "mlvpn.service")
        ours = [line for line in (told.stdout + told.stderr).splitlines() if "mlvpn" in line]
        self.assertEqual(ours, [])
        print(self.inside("systemd-analyze", "security", "--no-pager", "mlvpn@server").strip().splitlines()[-1].strip("→ "))


if __name__ == "__main__":
    unittest.main()
