# SPDX-License-Identifier: BSD-2-Clause
"""The page VPN, MLVPN."""

import json
import unittest

import browser
import router

VALUES = router.APP.parent.parent / "uci/tests/values.json"
OPTIONS = router.APP / "htdocs/luci-static/resources/mlvpn/options.json"


class Config(browser.PageTest):
    view = "mlvpn/config"

    def field(self, page, section, option):
        return page.locator(f"#cbi-mlvpn-{section}-{option} input, #cbi-mlvpn-{section}-{option} select").last

    def tab(self, page, name):
        page.click(f'li[data-tab="{name}"] a')

    def save(self, page):
        """Presses Save, and waits until the page has nothing more to say to the router."""
        page.click(".cbi-page-actions .cbi-button-save")
        said = -1
        while said != len(self.router.calls):
            said = len(self.router.calls)
            page.wait_for_timeout(400)

    def section(self, name, package="mlvpn"):
        return self.router.config.find(package, name)

    def edit(self, page, kind, name):
        page.click(f'#cbi-mlvpn-{kind} tr[data-sid="{name}"] .cbi-button-edit')
        page.wait_for_selector("#modal_overlay .modal .cbi-value")
        return page.locator("#modal_overlay .modal")

    def test_the_file_is_shown(self):
        page = self.open()
        self.assertEqual(self.field(page, "tunnel", "server").input_value(), "vpn.example.net:5080")
        self.assertTrue(page.locator("#cbi-mlvpn-tunnel-enabled input[type=checkbox]").is_checked())
        links = page.locator("#cbi-mlvpn-link")
        rows = [" ".join(row.inner_text().split()) for row in links.locator("tr[data-sid]").all()]
        # A link that names no interface uses that of its own name.
        self.assertIn("wan 10mbit No", rows[0])
        self.assertIn("wwan", rows[1])
        self.assertIn("Yes", rows[1])

    def test_every_option_that_has_an_effect_is_on_the_page_and_no_other(self):
        page = self.open()
        table = json.loads(OPTIONS.read_text())
        for name, option in table["tunnel"].items():
            found = page.locator(f"#cbi-mlvpn-tunnel-{name}").count()
            self.assertEqual(found, 0 if option.get("later") else 1, name)
        shown = self.edit(page, "link", "lte")
        for name, option in table["link"].items():
            self.assertEqual(shown.locator(f"#cbi-mlvpn-lte-{name}").count(), 0 if option.get("later") else 1, name)
        acting = any(not option.get("later") for name, option in table["class"].items() if name not in ("enabled", "tunnel"))
        self.assertEqual(page.locator("#cbi-mlvpn-class").count(), int(acting))

    def test_a_changed_value_is_saved_and_an_emptied_one_goes(self):
        page = self.open()
        self.field(page, "tunnel", "server").fill("[2001:db8::1]:6000")
        self.tab(page, "addresses")
        self.field(page, "tunnel", "ip4").fill("")
        self.save(page)
        self.assertEqual(self.section("tunnel")["server"], "[2001:db8::1]:6000")
        self.assertNotIn("ip4", self.section("tunnel"))
        # What nobody touched is not written.
        self.assertNotIn("mtu", self.section("tunnel"))
        self.assertNotIn("mode", self.section("tunnel"))

    def test_a_wrong_value_says_what_is_expected_and_is_not_saved(self):
        page = self.open()
        server = self.field(page, "tunnel", "server")
        server.fill("vpn.example.net")
        server.dispatch_event("blur")
        self.assertIn("cbi-input-invalid", server.get_attribute("class"))
        self.assertIn("HOST:PORT, like vpn.example.net:5080", server.get_attribute("data-tooltip"))
        self.save(page)
        self.assertEqual(self.section("tunnel")["server"], "vpn.example.net:5080")
        self.assertEqual(self.router.config.changed, [])
        # LuCI itself tells the console of it, too.
        self.complaints[:] = [said for said in self.complaints if "contains an invalid input value" not in said]

    def test_lists_are_lists(self):
        page = self.open()
        self.tab(page, "addresses")
        add = page.locator("#cbi-mlvpn-tunnel-ip4_routes input[type=text]").last
        add.fill("192.168.7.0/24")
        add.press("Enter")
        self.save(page)
        self.assertEqual(self.section("tunnel")["ip4_routes"], ["192.168.7.0/24"])

    def test_links_are_picked_from_the_interfaces_there_are(self):
        page = self.open()
        modal = self.edit(page, "link", "wan")
        choices = modal.locator("#cbi-mlvpn-wan-interface option").evaluate_all("all => all.map(one => one.value)")
        self.assertEqual(choices, ["", "lan", "wan", "wwan"])
        modal.locator("#cbi-mlvpn-wan-interface select").select_option("wwan")
        rate = modal.locator("#cbi-mlvpn-wan-rate_up input")
        rate.fill("10 parsec")
        rate.dispatch_event("blur")
        self.assertIn("cbi-input-invalid", rate.get_attribute("class"))
        rate.fill("20mbit")
        rate.dispatch_event("blur")
        modal.locator(".cbi-button-positive").click()
        page.wait_for_selector("#modal_overlay .modal .cbi-value", state="hidden")
        self.save(page)
        self.assertEqual((self.section("wan").get("interface"), self.section("wan")["rate_up"]), ("wwan", "20mbit"))

    def test_an_interface_that_is_gone_stays_chosen(self):
        self.section("lte")["interface"] = "usb_stick"
        page = self.open()
        chosen = self.edit(page, "link", "lte").locator("#cbi-mlvpn-lte-interface select")
        self.assertEqual(chosen.input_value(), "usb_stick")

    def test_a_key_is_made_by_a_button_and_its_public_part_shown(self):
        page = self.open()
        self.tab(page, "secrets")
        self.assertIn(router.KEYS["public_key"], page.inner_text("#cbi-mlvpn-tunnel-_public_key"))
        self.assertEqual(self.router.asked("mlvpn.keygen"), [{"private_key": self.section("tunnel")["private_key"]}])
        page.click("#cbi-mlvpn-tunnel-_keygen button")
        page.wait_for_selector(".alert-message code")
        self.assertEqual(page.inner_text(".alert-message code"), router.KEYS["public_key"])
        self.assertNotIn(router.KEYS["private_key"], page.inner_text("body"))
        self.assertEqual(self.field(page, "tunnel", "private_key").get_attribute("type"), "password")
        self.save(page)
        self.assertEqual(self.section("tunnel")["private_key"], router.KEYS["private_key"])

    def test_without_the_daemon_the_button_says_how_to_make_a_key(self):
        self.router.bus = "absent"
        page = self.open()
        self.tab(page, "secrets")
        page.click("#cbi-mlvpn-tunnel-_keygen button")
        self.assertIn("By hand: mlvpn keygen", page.locator(".alert-message").inner_text())
        self.assertIn("none yet", page.inner_text("#cbi-mlvpn-tunnel-_public_key"))

    def test_a_server_has_a_port_and_a_client_a_server(self):
        page = self.open()
        server, port = page.locator("#cbi-mlvpn-tunnel-server"), page.locator("#cbi-mlvpn-tunnel-port")
        self.assertTrue(server.is_visible() and not port.is_visible())
        self.field(page, "tunnel", "mode").select_option("server")
        self.eventually(page, "() => document.querySelector('#cbi-mlvpn-tunnel-port').offsetHeight > 0")
        self.assertFalse(server.is_visible())

    def test_the_firewall_zone_is_made_and_removed(self):
        page = self.open()
        box = page.locator("#cbi-mlvpn-tunnel-_firewall input[type=checkbox]")
        self.assertFalse(box.is_checked())
        box.check()
        self.save(page)
        self.assertEqual(self.section("mlvpn", "firewall"), {
            ".name": "mlvpn", ".type": "zone", "name": "mlvpn", "device": ["mlvpn0"], "input": "REJECT", "output": "ACCEPT",
            "forward": "REJECT", "masq": "1", "mtu_fix": "1"})
        self.assertEqual((self.section("mlvpn_lan", "firewall")["src"], self.section("mlvpn_lan", "firewall")["dest"]), ("lan", "mlvpn"))
        page.locator("#cbi-mlvpn-tunnel-_firewall input[type=checkbox]").uncheck()
        self.save(page)
        self.assertIsNone(self.section("mlvpn", "firewall"))
        self.assertIsNone(self.section("mlvpn_lan", "firewall"))
        self.assertIsNotNone(self.section("lan_zone", "firewall"))

    def test_a_link_is_added_by_its_name(self):
        page = self.open()
        create = page.locator("#cbi-mlvpn-link .cbi-section-create")
        create.locator("input").fill("sat")
        create.locator("input").dispatch_event("keyup")
        create.locator(".cbi-button-add").click()
        page.wait_for_timeout(600)
        if page.locator("#modal_overlay .modal .cbi-button-positive").count():
            page.click("#modal_overlay .modal .cbi-button-positive")
            page.wait_for_timeout(300)
        self.save(page)
        self.assertEqual(self.section("sat")[".type"], "link")

    def test_who_may_only_read_sees_everything_and_changes_nothing(self):
        self.router.may_write = False
        page = self.open()
        self.assertEqual(self.field(page, "tunnel", "server").input_value(), "vpn.example.net:5080")
        enabled = page.locator("#view input:not([type=hidden]), #view select").evaluate_all(
            "all => all.filter(one => !one.disabled && !one.readOnly).length")
        self.assertEqual(enabled, 0)
        for selector in (".cbi-page-actions .cbi-button-save", ".cbi-section-create .cbi-button-add", "#cbi-mlvpn-tunnel-_keygen button"):
            self.assertTrue(all(one.is_disabled() for one in page.locator(selector).all()), selector)
            self.assertGreater(page.locator(selector).count(), 0)

    def test_openmptcprouters_section_is_shown_where_there_is_one(self):
        self.assertEqual(self.open().locator("#cbi-mlvpn-mlvpn").count(), 0)
        self.router.config.packages["mlvpn"] = [{".name": "general", ".type": "mlvpn", "enable": "1", "host": "192.0.2.1", "password": "p"}]
        page = self.open()
        self.assertEqual(self.field(page, "general", "host").input_value(), "192.0.2.1")

    def test_values_are_judged_as_the_daemon_judges_them(self):
        page = self.open()
        table, options = json.loads(VALUES.read_text()), json.loads(OPTIONS.read_text())
        asked = []
        for name, cases in table.items():
            section, option = name.split(".")
            for wanted, texts in ((True, cases["accept"]), (False, cases["refuse"])):
                asked += [(name, options[section][option], text, wanted) for text in texts]
        told = page.evaluate("""asked => L.require('mlvpn.values').then(values =>
            asked.map(([name, option, text]) => values.isValid(option, text)))""", asked)
        wrong = [(name, text, verdict) for (name, _, text, wanted), verdict in zip(asked, told) if verdict != wanted]
        self.assertEqual(wrong, [])
        kinds = {option["type"] for section in options.values() for option in section.values()}
        self.assertEqual(kinds - set(page.evaluate("() => L.require('mlvpn.values').then(values => values.kinds())")), set())
        # Each kind is among the cases.
        self.assertEqual(kinds - {option["type"] for _, option, _, _ in asked}, set())

    def test_a_phone_needs_no_sideways_scrolling(self):
        page = self.open(width=360)
        for tab in ("general", "secrets", "addresses", "advanced"):
            self.tab(page, tab)
            self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), 360, tab)

    def test_text_can_be_told_from_the_ground_in_both_themes(self):
        for dark in (False, True):
            page = self.open(dark=dark)
            found = [one for one in page.locator(".cbi-value-description, .cbi-value-title").all() if one.is_visible()]
            self.assertGreater(len(found), 6)
            self.assertTrue(all(one.evaluate(browser.CONTRAST) >= 3.9 for one in found), dark)

    def test_the_page_speaks_german(self):
        self.router.language = "de"
        page = self.open()
        self.assertIn("Bündelt mehrere Internetleitungen", page.inner_text("#view"))
        self.assertIn("Wer ruft wen", page.inner_text("#cbi-mlvpn-tunnel-mode"))
        server = self.field(page, "tunnel", "server")
        server.fill("x")
        server.dispatch_event("blur")
        self.assertIn("Erwartet: HOST:PORT, etwa", server.get_attribute("data-tooltip"))


if __name__ == "__main__":
    unittest.main()
