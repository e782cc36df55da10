# SPDX-License-Identifier: BSD-2-Clause
"""The package's scripts under busybox ash, against stand-ins that record what they are called with; UCI names a real uci."""

import os
import pathlib
import shutil
import stat
import subprocess
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
FILES = HERE.parent.parent / "openwrt-package/mlvpn/files"
KEY = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo="

ONE_TUNNEL = f"""
config tunnel 'tunnel'
	option enabled '1'
	option server 'vpn.example.net:5080'
	option private_key '{KEY}'
	option ip4 '10.42.42.2/24'
	option ip6 'fd00::2/64'
	option ip4_gateway '10.42.42.1'
	list ip4_routes 'default'
	list ip4_routes '10.7.0.0/16,192.0.2.1'
	list ip6_routes 'fd01::/16'
config link 'wan'
config link 'lte'
	option interface 'wwan'
"""

OPENMPTCPROUTER = """
config mlvpn 'general'
	option enable '1'
	option password 'q3Zt8uW1xYk5rPz9vNc2'
	option host '192.0.2.1'
	option interface_name 'omr0'
"""

# Says what it was asked, and refuses the tunnel called `bad`.
DAEMON = """#!/bin/sh
record mlvpnd "$@"
[ "$2" != bad ] || { echo "mlvpn:3: server: not given; say where the server is" >&2; exit 1; }
"""


@unittest.skipUnless(shutil.which("busybox"), "busybox is not installed: its ash is what runs these scripts on a router")
class ScriptTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name) / "root"
        self.answers = pathlib.Path(folder.name) / "answers"
        self.answers.mkdir()
        shutil.copytree(FILES, self.root)
        shutil.copytree(HERE / "root", self.root, dirs_exist_ok=True)
        for path in ("usr/sbin", "var/run", "etc/mlvpn", "tmp"):
            (self.root / path).mkdir(parents=True, exist_ok=True)
        for path in ("etc/passwd", "etc/group", "etc/resolv.conf"):
            (self.root / path).touch()
        daemon = self.root / "usr/sbin/mlvpnd"
        daemon.write_text(DAEMON)
        daemon.chmod(0o755)
        self.calls = pathlib.Path(folder.name) / "calls"
        self.calls.touch()
        self.config("mlvpn", ONE_TUNNEL)
        self.config("network", "config interface 'wan'\n\toption proto 'dhcp'\n")
        self.config("firewall", "config zone 'lan_zone'\n\toption name 'lan'\n")

    def config(self, name, text):
        (self.root / "etc/config" / name).write_text(text)

    def run_script(self, *command, code=0, **variables):
        environment = {
            "PATH": f"{HERE / 'bin'}:{os.environ['PATH']}", "IPKG_INSTROOT": str(self.root), "CALLS": str(self.calls),
            "ANSWERS": str(self.answers), "TMPDIR": str(self.answers), **variables,
        }
        done = subprocess.run(["busybox", "ash", *map(str, command)], env=environment, capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, code, done)
        return done

    def take_calls(self):
        """What was called since, with the root's folder left out."""
        told = self.calls.read_text().replace(str(self.root), "").splitlines()
        self.calls.write_text("")
        return told

    def init(self, *words, **more):
        return self.run_script(self.root / "etc/rc.common", self.root / "etc/init.d/mlvpn", *words, **more)


class Init(ScriptTest):
    def test_a_start_asks_procd_for_the_tunnel_in_its_jail_and_for_the_listener(self):
        self.init("start")
        calls = self.take_calls()
        digest = [call for call in calls if "MLVPN_RESTART" in call]
        self.assertEqual(len(digest), 1)
        self.assertRegex(digest[0], r"^procd_set_param\|env\|MLVPN_RESTART_IF_CHANGED=[0-9a-f]{16}$")
        calls.remove(digest[0])
        self.assertEqual(calls, [
            "mlvpnd|--tunnel|tunnel|check|/etc/config/mlvpn",
            "procd_open_instance|tunnel",
            "procd_set_param|command|/usr/sbin/mlvpnd|--tunnel|tunnel",
            "procd_set_param|respawn|3600|5|0",
            "procd_set_param|stdout|1",
            "procd_set_param|stderr|1",
            "procd_set_param|capabilities|/etc/capabilities/mlvpn.json",
            "procd_set_param|no_new_privs|1",
            "procd_add_jail|mlvpn-tunnel|log|procfs",
            "procd_add_jail_mount|/etc/config",
            "procd_add_jail_mount|/etc/group",
            "procd_add_jail_mount|/etc/mlvpn",
            "procd_add_jail_mount|/etc/passwd",
            "procd_add_jail_mount|/etc/resolv.conf",
            "procd_add_jail_mount_rw|/dev/net/tun",
            "procd_close_instance",
            "procd_open_instance|hotplug-events",
            "procd_set_param|command|/usr/lib/mlvpn/events",
            "procd_set_param|respawn|3600|5|0",
            "procd_set_param|stderr|1",
            "procd_close_instance",
            "procd_add_reload_trigger|mlvpn",
            "procd_add_interface_trigger|interface.*|wan|/etc/init.d/mlvpn|reload",
            "procd_add_interface_trigger|interface.*|wwan|/etc/init.d/mlvpn|reload",
        ])

    def test_the_default_file_starts_nothing_and_follows_its_own_changes(self):
        shutil.copy(FILES / "etc/config/mlvpn", self.root / "etc/config/mlvpn")
        self.init("start")
        self.assertEqual(self.take_calls(), [
            "procd_add_reload_trigger|mlvpn", "procd_add_interface_trigger|interface.*|wan|/etc/init.d/mlvpn|reload"])

    def test_the_users_commands_start_it(self):
        shutil.copy(FILES / "etc/config/mlvpn", self.root / "etc/config/mlvpn")
        # uci set mlvpn.tunnel=...; uci set mlvpn.tunnel.enabled='1'; uci commit mlvpn
        # As it is installed; git keeps no such mode.
        (self.root / "etc/config/mlvpn").chmod(0o600)
        for words in (["set", "mlvpn.tunnel=tunnel"], ["set", "mlvpn.tunnel.enabled=1"], ["commit", "mlvpn"]):
            subprocess.run([HERE / "bin/uci", *words], env={**os.environ, "IPKG_INSTROOT": str(self.root)}, check=True)
        self.assertEqual(stat.S_IMODE((self.root / "etc/config/mlvpn").stat().st_mode), 0o600)
        self.init("start")
        self.assertIn("procd_open_instance|tunnel", self.take_calls())

    def test_a_wrong_tunnel_is_not_started_and_the_log_says_why_and_the_others_are(self):
        self.config("mlvpn", ONE_TUNNEL + "config tunnel 'bad'\n\toption enabled '1'\n")
        done = self.init("start")
        self.assertIn("server: not given", done.stderr)
        calls = self.take_calls()
        self.assertEqual([call for call in calls if call.startswith("procd_open")], ["procd_open_instance|tunnel", "procd_open_instance|hotplug-events"])
        self.assertIn("logger|-t|mlvpn|-p|daemon.err|tunnel bad is not started: mlvpn:3: server: not given; say where the server is", calls)

    def test_openmptcprouters_tunnel_is_started_and_follows_the_network(self):
        self.config("mlvpn", OPENMPTCPROUTER)
        self.init("start")
        calls = self.take_calls()
        self.assertIn("procd_set_param|command|/usr/sbin/mlvpnd|--tunnel|general", calls)
        self.assertIn("procd_add_reload_trigger|network|openmptcprouter", calls)

    def test_files_of_keys_are_in_the_jail_wherever_they_are(self):
        self.config("mlvpn", ONE_TUNNEL + "config peer 'p'\n\toption secret_file '/root/peer.key'\n")
        with (self.root / "etc/config/mlvpn").open("a") as file:
            file.write("config peer 'q'\n\toption secret_file '/etc/mlvpn/q.key'\n")
        self.init("start")
        mounts = [call for call in self.take_calls() if call.startswith("procd_add_jail_mount|")]
        self.assertIn("procd_add_jail_mount|/root/peer.key", mounts)
        self.assertNotIn("procd_add_jail_mount|/etc/mlvpn/q.key", mounts)

    def test_the_file_of_quotas_is_made_and_may_be_written_in_the_jail(self):
        quotas = self.root / "usage"
        self.config("mlvpn", ONE_TUNNEL.replace("option ip6", f"option quota_file '{quotas}'\n\toption ip6"))
        self.init("start")
        self.assertIn("procd_add_jail_mount_rw|/usage", self.take_calls())
        self.assertEqual((quotas.read_bytes(), quotas.stat().st_mode & 0o777), (b"", 0o600))
        quotas.write_bytes(b"kept")
        self.init("start")
        self.assertEqual(quotas.read_bytes(), b"kept")

    def test_only_options_that_need_it_restart_the_daemon_and_no_key_is_told_to_procd(self):
        digests = []
        for text in (ONE_TUNNEL, ONE_TUNNEL.replace("vpn.example.net", "other.example.net"),
                     ONE_TUNNEL.replace(KEY, "x"), ONE_TUNNEL.replace("option ip6", "option device 'vpn0'\n\toption ip6")):
            self.config("mlvpn", text)
            self.init("start")
            calls = self.take_calls()
            self.assertFalse(any(KEY in call for call in calls))
            digests.append(next(call for call in calls if "MLVPN_RESTART" in call))
        self.assertEqual(digests[0], digests[1])
        self.assertEqual(len(set(digests)), 3)

    def test_a_reload_has_running_tunnels_read_their_file_and_starts_the_others(self):
        self.config("mlvpn", ONE_TUNNEL + "config tunnel 'second'\n\toption enabled '1'\n\toption device 'mlvpn1'\n")
        self.init("reload", RUNNING="tunnel")
        calls = self.take_calls()
        self.assertEqual(calls[0], "procd_send_signal|mlvpn|tunnel|HUP")
        self.assertEqual([call for call in calls if call.startswith("procd_send_signal")], calls[:1])
        self.assertEqual([call for call in calls if call.startswith("procd_open")],
                         ["procd_open_instance|tunnel", "procd_open_instance|second", "procd_open_instance|hotplug-events"])

    def test_the_status_is_a_sentence(self):
        (self.answers / "status").write_text('{"state": "degraded", "summary": "1 of 2 links are well connected"}')
        self.assertEqual(self.init("status").stdout, "tunnel: degraded: 1 of 2 links are well connected\n")
        self.config("mlvpn", ONE_TUNNEL + "config tunnel 'second'\n\toption enabled '1'\n")
        self.assertIn("second: not running; the log may say why: logread -e mlvpn", self.init("status", code=3).stdout)
        (self.answers / "second.status").write_text('{"state": "up", "summary": "all of 2 links are connected"}')
        self.assertEqual(self.init("status").stdout.splitlines()[1], "second: up: all of 2 links are connected")
        (self.answers / "status").unlink()
        self.assertIn("tunnel: not running", self.init("status", code=3).stdout)

    def test_the_links_of_every_tunnel_are_shown(self):
        (self.answers / "links").write_text('{"links": []}')
        self.assertEqual(self.init("links").stdout, '{"links": []}')

    def test_the_check_judges_every_enabled_tunnel(self):
        self.init("check")
        self.assertEqual(self.take_calls(), ["mlvpnd|--tunnel|tunnel|check|/etc/config/mlvpn"])
        self.config("mlvpn", ONE_TUNNEL + "config tunnel 'bad'\n\toption enabled '1'\n")
        self.init("check", code=1)
        self.config("mlvpn", "")
        self.assertIn("no tunnel is enabled", self.init("check").stdout)


class Device(ScriptTest):
    def add(self, name="mlvpn0", action="add"):
        self.run_script(self.root / "etc/hotplug.d/net/30-mlvpn", ACTION=action, INTERFACE=name)
        return self.take_calls()

    def test_the_device_of_a_tunnel_gets_its_addresses_and_routes(self):
        self.assertEqual(self.add(), [
            "ip|link|set|dev|mlvpn0|up",
            "ip|-4|address|replace|10.42.42.2/24|dev|mlvpn0",
            "ip|-6|address|replace|fd00::2/64|dev|mlvpn0",
            "ip|-4|route|replace|default|via|10.42.42.1|dev|mlvpn0",
            "ip|-4|route|replace|10.7.0.0/16|via|10.42.42.1|dev|mlvpn0",
            "ip|-4|route|replace|192.0.2.1|via|10.42.42.1|dev|mlvpn0",
            "ip|-6|route|replace|fd01::/16|dev|mlvpn0",
        ])

    def test_other_devices_other_events_and_disabled_tunnels_are_left_alone(self):
        self.assertEqual(self.add("eth0"), [])
        self.assertEqual(self.add(action="remove"), [])
        self.config("mlvpn", ONE_TUNNEL.replace("enabled '1'", "enabled '0'"))
        self.assertEqual(self.add(), [])

    def test_openmptcprouters_device_is_only_set_up(self):
        self.config("mlvpn", OPENMPTCPROUTER)
        self.assertEqual(self.add("omr0"), ["ip|link|set|dev|omr0|up"])

    def test_what_netifd_looks_after_is_netifds(self):
        for tunnel, is_netifds in (("", True), ("tunnel", True), ("other", False)):
            named = f"\toption tunnel '{tunnel}'\n" if tunnel else ""
            self.config("network", f"config interface 'vpn'\n\toption proto 'mlvpn'\n{named}")
            self.assertEqual(self.add() == [], is_netifds, tunnel)


class Events(ScriptTest):
    def hear(self, *events, interface=(), status=None):
        (self.answers / "events").write_text("".join(f"{event}\n" for event in events))
        if status:
            (self.answers / "status").write_text(status)
        self.run_script(self.root / "usr/lib/mlvpn/events", *interface)
        # What reads the events ends by itself when they end; it may still be at it.
        # Its output is the pipe that was read to its end above, which is when it has ended.
        calls = self.take_calls()
        self.assertIn("ubus|listen|mlvpn.tunnel|mlvpn.link", calls)
        self.assertEqual([path.name for path in self.answers.iterdir() if path.is_fifo()], [])
        return [call for call in calls if not call.startswith(("ubus|", "sleep|"))]

    UP = '{ "mlvpn.tunnel": {"up":true,"device":"mlvpn0"} }'
    DOWN = '{ "mlvpn.tunnel": {"up":false,"device":"mlvpn0"} }'

    def test_events_become_hotplug_calls(self):
        link = '{ "mlvpn.link": {"link":"wan","device":"mlvpn0","up":false,"state":"silent","reason":"its peer has not answered lately"} }'
        self.assertEqual(self.hear(self.UP, link, self.DOWN), [
            "hotplug-call|mlvpn|tunnel-up|mlvpn0|||",
            "hotplug-call|mlvpn|link-down|mlvpn0|wan|silent|its peer has not answered lately",
            "hotplug-call|mlvpn|tunnel-down|mlvpn0|||",
        ])

    def test_what_was_before_is_told_and_nothing_twice(self):
        status = '{"state": "up", "device": "mlvpn0"}'
        self.assertEqual(self.hear(self.UP, self.DOWN, status=status), [
            "hotplug-call|mlvpn|tunnel-up|mlvpn0|||", "hotplug-call|mlvpn|tunnel-down|mlvpn0|||"])
        self.assertEqual(self.hear(status='{"state": "down", "device": "mlvpn0"}'), [])

    def test_each_of_several_tunnels_is_told_of(self):
        self.config("mlvpn", ONE_TUNNEL + "config tunnel 'second'\n\toption enabled '1'\n\toption device 'mlvpn1'\n")
        (self.answers / "second.status").write_text('{"state": "degraded", "device": "mlvpn1"}')
        status = '{"state": "up", "device": "mlvpn0"}'
        self.assertEqual(self.hear(status=status), [
            "hotplug-call|mlvpn|tunnel-up|mlvpn0|||", "hotplug-call|mlvpn|tunnel-up|mlvpn1|||"])
        told = self.hear(status=status, interface=["vpn", "second"])
        self.assertEqual((told[0], told[-1]), ("proto_init_update|mlvpn1|1", "proto_send_update|vpn"))

    def test_each_devices_events_are_its_own_and_told_once(self):
        other = self.UP.replace("mlvpn0", "mlvpn1")
        link = '{ "mlvpn.link": {"link":"wan","device":"mlvpn0","up":true,"state":"up"} }'
        self.assertEqual(self.hear(self.UP, other, link, self.UP, self.DOWN, other, self.UP), [
            "hotplug-call|mlvpn|tunnel-up|mlvpn0|||",
            "hotplug-call|mlvpn|tunnel-up|mlvpn1|||",
            "hotplug-call|mlvpn|link-up|mlvpn0|wan|up|",
            "hotplug-call|mlvpn|tunnel-down|mlvpn0|||",
            "hotplug-call|mlvpn|tunnel-up|mlvpn0|||",
        ])

    def test_a_name_with_a_shells_words_in_it_is_text(self):
        evil = "$(touch /tmp/x); `id` \\\"'"
        link = '{ "mlvpn.link": {"link":"' + evil.replace('"', '"') + '","device":"mlvpn0","up":true,"state":"up"} }'
        self.assertEqual(self.hear(link), ["hotplug-call|mlvpn|link-up|mlvpn0|$(touch /tmp/x); `id` \"'|up|"])

    def test_netifd_is_told_of_the_tunnel_with_its_addresses_and_routes(self):
        self.assertEqual(self.hear(self.UP, self.DOWN, interface=["vpn", "tunnel"]), [
            "proto_init_update|mlvpn0|1",
            "proto_add_ipv4_address|10.42.42.2|24",
            "proto_add_ipv6_address|fd00::2|64",
            "proto_add_ipv4_route|0.0.0.0|0|10.42.42.1",
            "proto_add_ipv4_route|10.7.0.0|16|10.42.42.1",
            "proto_add_ipv4_route|192.0.2.1|32|10.42.42.1",
            "proto_add_ipv6_route|fd01::|16|",
            "proto_send_update|vpn",
            "proto_init_update|mlvpn0|0",
            "proto_send_update|vpn",
        ])

    def test_an_interface_of_another_tunnel_is_not_told(self):
        self.assertEqual(self.hear(self.UP, interface=["vpn", "other"]), [])


class Netifd(ScriptTest):
    def ask(self, call, **variables):
        self.run_script(self.root / "lib/netifd/proto/mlvpn.sh", call, "vpn", **variables)
        return self.take_calls()

    def test_the_protocol_needs_no_device_and_takes_a_tunnel(self):
        self.assertEqual(self.ask("init"), ["proto_config_add_string|tunnel", "proto_config_add_defaults", "no_device=1|available=1"])

    def test_setting_up_runs_the_listener_and_tearing_down_ends_it(self):
        self.assertEqual(self.ask("setup"), ["proto_run_command|vpn|/usr/lib/mlvpn/events|vpn"])
        self.assertEqual(self.ask("setup", NETIFD_TUNNEL="home"), ["proto_run_command|vpn|/usr/lib/mlvpn/events|vpn|home"])
        self.assertEqual(self.ask("teardown"), ["proto_kill_command|vpn"])


class Defaults(ScriptTest):
    def run_defaults(self):
        self.run_script(self.root / "etc/uci-defaults/50-mlvpn")
        return (self.root / "etc/config/firewall").read_text()

    def test_a_file_that_all_could_read_is_closed_and_its_text_stays(self):
        self.config("mlvpn", OPENMPTCPROUTER)
        path = self.root / "etc/config/mlvpn"
        path.chmod(0o644)
        self.run_defaults()
        self.run_defaults()
        self.assertEqual((stat.S_IMODE(path.stat().st_mode), path.read_text()), (0o600, OPENMPTCPROUTER))

    def test_the_firewall_is_changed_only_when_asked_and_only_once(self):
        before = self.run_defaults()
        self.assertNotIn("mlvpn", before)
        (self.root / "etc/mlvpn/firewall").touch()
        after = self.run_defaults()
        self.assertEqual(after.count("config zone 'mlvpn'"), 1)
        for line in ("list device 'mlvpn0'", "option masq '1'", "option mtu_fix '1'", "option input 'REJECT'",
                     "config forwarding 'mlvpn_lan'", "option src 'lan'", "option dest 'mlvpn'"):
            self.assertIn(line, after)
        self.assertIn("config zone 'lan_zone'", after)
        self.assertFalse((self.root / "etc/mlvpn/firewall").exists())
        self.assertEqual(self.run_defaults(), after)

    def test_the_zone_is_made_twice_as_once_and_removed(self):
        self.init("firewall", "add")
        once = (self.root / "etc/config/firewall").read_text()
        self.init("firewall", "add")
        self.assertEqual((self.root / "etc/config/firewall").read_text(), once)
        self.init("firewall", "remove")
        self.assertNotIn("mlvpn", (self.root / "etc/config/firewall").read_text())
        self.init("firewall", code=2)


if __name__ == "__main__":
    unittest.main()
