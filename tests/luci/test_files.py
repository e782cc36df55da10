# SPDX-License-Identifier: BSD-2-Clause
"""What needs no browser: access lists, menu, translations, and that the typed answers are the daemon's."""

import json
import os
import pathlib
import re
import unittest

import router
from router import i18n

ROOT = router.APP.parent.parent
RESOURCES = router.APP / "htdocs/luci-static/resources"
# Of LuCI's own sfh_hash (modules/luci-base/src/lib/lmo.c), compiled and asked.
HASHES = {
    "a": 0x115ea782,
    "up": 0xabd6e2a9,
    "now": 0xcf2c4dfc,
    "Link": 0x9c0e750d,
    "State": 0x25285c6f,
    "übrig": 0x2e5a6584,
    "The tunnel is up.": 0xa857bced,
    "Fuß": 0xe22cd483,
}

DECLARED = re.compile(r"object: '([\w.]+)', method: '(\w+)'")


def load(path):
    return json.loads((router.APP / path).read_text())


class Files(unittest.TestCase):
    acl = load("root/usr/share/rpcd/acl.d/luci-app-mlvpn.json")
    menu = load("root/usr/share/luci/menu.d/luci-app-mlvpn.json")

    def allowed(self, group, kind):
        ubus = self.acl[group].get(kind, {}).get("ubus", {})
        return {(name, method) for name, methods in ubus.items() for method in methods}

    def test_the_pages_may_call_what_they_call_and_nothing_changes_by_reading(self):
        for group, view in (("luci-app-mlvpn-status", "status"), ("luci-app-mlvpn", "config")):
            called = set(DECLARED.findall((RESOURCES / f"view/mlvpn/{view}.js").read_text()))
            self.assertTrue(called)
            self.assertEqual(called - self.allowed(group, "read") - self.allowed(group, "write"), set(), view)
        reading = self.allowed("luci-app-mlvpn-status", "read") | self.allowed("luci-app-mlvpn", "read")
        self.assertEqual(reading & {("mlvpn", "link"), ("mlvpn", "reload")}, set())
        self.assertNotIn("uci", self.acl["luci-app-mlvpn-status"]["read"], "who only looks sees no keys")

    def test_the_menu_names_views_that_exist_and_access_that_is_defined(self):
        for entry in self.menu.values():
            self.assertTrue((RESOURCES / "view" / f"{entry['action']['path']}.js").is_file())
            self.assertTrue(set(entry["depends"]["acl"]) <= set(self.acl))
        named = {group for entry in self.menu.values() for group in entry["depends"]["acl"]}
        self.assertEqual(named, set(self.acl))

    def test_the_template_is_up_to_date_and_german_is_complete(self):
        files, missing = i18n.wanted()
        self.assertEqual([str(path) for path, text in files.items() if path.read_text() != text], [], "run openwrt-package/i18n.py")
        self.assertEqual(missing, [])
        for key, said in i18n.read(i18n.PO / "de/mlvpn.po").items():
            self.assertEqual(re.findall("%[sd%]", key[1]), re.findall("%[sd%]", said), key)

    def test_a_compiled_catalogue_holds_every_translation_under_its_hash(self):
        # Known answers of SuperFastHash as LuCI has it, of every length modulo 4.
        for text, number in HASHES.items():
            self.assertEqual(i18n.hash_of(text.encode()), number, text)
        data = i18n.compiled("de")
        start = int.from_bytes(data[-4:], "big")
        entries = [[int.from_bytes(data[at + 4 * n:at + 4 * n + 4], "big") for n in range(4)] for at in range(start, len(data) - 4, 16)]
        self.assertEqual([entry[0] for entry in entries], sorted(entry[0] for entry in entries))
        told = {entry[0]: data[entry[2]:entry[2] + entry[3]].decode() for entry in entries}
        self.assertEqual(told[i18n.hash_of(b"The tunnel is up.")], "Der Tunnel steht.")
        self.assertEqual(told[i18n.hash_of(b"days\x01d")], "T")


class Answers(unittest.TestCase):
    """The typed answers against the daemon's own structures (port-linux/src/status.rs), or a router's real answers."""

    source = pathlib.Path(os.environ.get("MLVPN_STATUS", ROOT / "port-linux/src/status.rs"))

    def structures(self):
        """Every structure's fields: name, whether it may be absent, and the structure it holds."""
        found = {}
        texts = [self.source.read_text(), *(path.read_text() for path in sorted(self.source.with_suffix("").glob("*.rs")))]
        for name, body in re.findall(r"pub struct (\w+) \{\n(.*?)\n\}", "\n".join(texts), re.S):
            found[name] = {
                field: (kind.startswith("Option<"), re.sub(r"^(?:Option|Vec)<(.*)>$", r"\1", kind))
                for field, kind in re.findall(r"^    pub (\w+): (.*),$", body, re.M)
            }
        return found

    def check(self, value, name, structures, place):
        fields = structures[name]
        self.assertEqual(set(value) - set(fields), set(), f"{place} has what the daemon does not tell")
        needed = {field for field, (may_be_absent, _) in fields.items() if not may_be_absent}
        self.assertEqual(needed - set(value), set(), f"{place} lacks what the daemon always tells")
        for field, inner in value.items():
            kind = fields[field][1]
            if kind in structures and kind != "DropCounts":
                for one in inner if isinstance(inner, list) else [inner]:
                    self.check(one, kind, structures, f"{place}.{field}")

    def test_the_typed_answers_have_the_daemons_fields(self):
        if not self.source.exists():
            self.skipTest(f"{self.source} is not there: the daemon's status is not in this tree yet")
        structures = self.structures()
        for answer, name in (("status", "Status"), ("history", "History"), ("peers", "Peers")):
            self.check(router.answers(answer), name, structures, answer)
        states = set(re.findall(r'=> "(\w+)"', self.source.read_text()))
        advice = (RESOURCES / "mlvpn/advice.js").read_text()
        words = set(re.findall(r"^\t(\w+): _", re.search(r"LINK_STATES = \{(.*?)\}", advice, re.S)[1], re.M))
        self.assertEqual(words, states, "the page's words for the states of a link")


if __name__ == "__main__":
    unittest.main()
