# SPDX-License-Identifier: BSD-2-Clause
"""The page Status, MLVPN."""

import unittest

import browser
import router

EVIL = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>&amp;"

STATES = {
    "up": "up", "lossy": "loses packets", "slow": "too slow", "silent": "silent", "connecting": "connecting",
    "listening": "listening", "no_socket": "no socket", "interface_down": "interface is down", "disabled": "taken out",
}


class Status(browser.PageTest):
    view = "mlvpn/status"

    def cells(self, page, row):
        return [" ".join(cell.split()) for cell in page.locator(".mlvpn-links tr").nth(row).locator("td").all_inner_texts()]

    def test_the_tunnel_and_its_links_are_told_in_words_and_figures(self):
        page = self.open()
        self.assertEqual(page.inner_text(".mlvpn-state"), "The tunnel is up, but not every link carries traffic.")
        text = page.inner_text(".mlvpn-facts")
        for fact in ("mlvpn0, MTU 1420", "2, chacha20-poly1305", "2 h 3 min", "9.68 Mbit/s (812 MB)", "3 packets"):
            self.assertIn(fact, text)
        self.assertEqual(self.cells(page, 1), [
            "wan wan, eth0", "up", "7.28 Mbit/s 612 MB of 9.92 Mbit/s", "39.3 Mbit/s 8.12 GB", "10 ms", "6.1 ms", "0 %", "-",
            "1492", "Take out"])
        lte = self.cells(page, 2)
        self.assertEqual(lte[1], "loses packets it loses 14 % of its packets; tier 2; costs money; its quota is used up: a backup")
        self.assertEqual(lte[5:8], ["25 ms", "14 %", "this month: 16.2 GB of 20.0 GB"])
        self.assertIn("4711 packets", text)

    def test_a_quota_that_is_used_up_is_told_with_what_ends_that(self):
        link = self.router.status["links"][1]
        link["policy"]["stop"] = "hard"
        link["policy"]["quota"].update(day_soft_bytes=10_000_000, day_hard_bytes=300_000_000)
        page = self.open()
        self.assertEqual(self.cells(page, 2)[7], "today: 310 MB of 300 MB this month: 16.2 GB of 20.0 GB")
        self.assertIn("lte: its quota is used up: it carries no data It is used again when the next day or month begins",
                      " ".join(page.inner_text(".mlvpn-advice").split()))

    def test_every_state_of_a_link_has_a_word_and_what_is_wrong_a_remedy(self):
        self.router.status["links"] = [
            {**self.router.status["links"][1], "name": f"link_{state}", "state": state, "reason": f"reason of {state}"}
            for state in STATES
        ]
        page = self.open()
        for row, (state, word) in enumerate(STATES.items(), start=1):
            self.assertTrue(self.cells(page, row)[1].startswith(word), self.cells(page, row))
        advice = page.inner_text(".mlvpn-advice")
        for state in STATES:
            told = f"link_{state}: reason of {state}" in advice
            self.assertEqual(told, state not in ("up", "listening", "disabled"), state)
        for remedy in ("loss_tolerance", "latency_tolerance", "UDP to it is not blocked", "exists and has an address"):
            self.assertIn(remedy, advice)

    def test_the_states_of_the_tunnel_have_sentences(self):
        for state, sentence in [("up", "The tunnel is up."), ("down", "The tunnel is down."), ("odd", "does not know: odd")]:
            self.router.status["state"] = state
            self.assertIn(sentence, self.open().inner_text(".mlvpn-state"))

    def test_one_of_several_tunnels_is_chosen_and_asked_by_its_own_name(self):
        page = self.open()
        self.assertEqual(page.locator(".cbi-tabmenu").count(), 0, "there is nothing to choose")
        self.router.service["instances"]["office"] = {"running": True}
        self.router.others["office"] = {**self.router.status, "state": "down", "device": "mlvpn1", "links": [
            {**self.router.status["links"][0], "name": EVIL}]}
        page = self.open()
        self.assertEqual(page.locator(".cbi-tabmenu a").all_inner_texts(), ["office", "tunnel"])
        self.assertEqual(page.inner_text(".mlvpn-state"), "The tunnel is down.")
        self.picture(page, "several-tunnels")
        page.click("button[data-link]")
        self.eventually(page, "() => document.querySelector('button[data-link]').textContent == 'Put back'")
        self.assertEqual([link["state"] for link in self.router.others["office"]["links"]], ["disabled"])
        self.assertNotIn("disabled", [link["state"] for link in self.router.status["links"]])
        page.click("a[data-tunnel=tunnel]")
        self.eventually(page, "() => document.querySelector('.mlvpn-facts').textContent.includes('mlvpn0')")
        self.assertEqual(page.inner_text(".cbi-tab"), "tunnel")

    def test_a_failed_handshake_and_drops_are_told_with_a_remedy(self):
        self.router.status.update(trouble="the peer does not know this key", drops={"unauthentic": 100_000_000, "replayed": 9})
        advice = self.open().inner_text(".mlvpn-advice")
        self.assertIn("The other end does not agree: the peer does not know this key", advice)
        self.assertIn("100000000 packets were dropped (unauthentic).", advice)
        self.assertNotIn("replayed", advice)

    def test_nothing_is_wrong_when_nothing_is(self):
        self.router.status["links"].pop()
        page = self.open()
        self.assertEqual(page.locator(".mlvpn-advice").count(), 0)

    def test_the_graph_stacks_the_links_and_its_line_is_their_sum(self):
        page = self.open()
        graphs = page.locator("svg.mlvpn-graph")
        self.assertEqual(graphs.count(), 2)
        self.assertEqual(graphs.first.get_attribute("aria-label").split(":")[0], "Received")
        points = page.evaluate("""() => {
            const read = text => text.split(' ').map(point => point.split(',').map(Number));
            const svg = document.querySelector('svg.mlvpn-graph');
            return [...svg.querySelectorAll('polygon'), svg.querySelector('polyline')].map(shape => read(shape.getAttribute('points')));
        }""")
        wan, lte, total = points
        count = len(total)
        self.assertEqual((count, len(wan), len(lte)), (300, 600, 600))
        # A band begins on the one below, and the sum is the upper edge of the last.
        self.assertEqual(list(reversed(lte[count:])), wan[:count])
        self.assertEqual(total, lte[:count])
        # Against the figures: the newest sample of both links, in the scale that the axis names.
        links = self.router.history["links"]
        top = 60_000_000 / 8
        newest = sum(link["received_bytes_per_sec"][-1] for link in links)
        self.assertIn("60.0 Mbit/s", page.locator("svg text").all_text_contents())
        self.assertAlmostEqual((194 - total[-1][1]) / (194 - 10), newest / top, places=2)
        # The younger link's missing past is nothing.
        self.assertEqual(lte[0], wan[0])
        self.assertEqual(page.locator(".mlvpn-legend li").all_inner_texts(), ["wan", "lte", "all links"])

    def test_the_page_follows_the_tunnel(self):
        page = self.open()
        self.router.status.update(state="up", links=[{**link, "state": "up"} for link in self.router.status["links"]])
        self.router.history["links"][0]["received_bytes_per_sec"].append(9_000_000)
        self.eventually(page, "() => document.querySelector('.mlvpn-state').textContent == 'The tunnel is up.'")
        self.assertIn("80.0 Mbit/s", page.locator("svg text").all_text_contents())
        self.assertGreaterEqual(len(self.router.asked("mlvpn.status")), 2)

    def test_a_link_is_taken_out_and_put_back(self):
        page = self.open()
        page.click("button[data-link=lte]")
        self.eventually(page, "() => document.querySelector('button[data-link=lte]').textContent == 'Put back'")
        page.click("button[data-link=lte]")
        self.eventually(page, "() => document.querySelector('button[data-link=lte]').textContent == 'Take out'")
        self.assertEqual(self.router.asked("mlvpn.link"), [{"name": "lte", "action": "down"}, {"name": "lte", "action": "up"}])

    def test_a_change_that_fails_says_why(self):
        page = self.open()
        self.router.status["links"].pop()
        page.click("button[data-link=lte]")
        self.assertIn("lte was not changed", page.inner_text(".alert-message"))

    def test_who_may_only_read_can_change_nothing(self):
        self.router.may_write = False
        page = self.open()
        self.assertTrue(all(button.is_disabled() for button in page.locator("button[data-link]").all()))
        self.assertEqual(page.locator("button[data-link]").count(), 2)
        self.assertEqual(page.locator(".cbi-page-actions button").count(), 0)

    def test_a_missing_daemon_is_told_with_what_to_do_and_comes_back(self):
        self.router.bus = "absent"
        self.router.service = None
        page = self.open()
        self.assertIn("/etc/init.d/mlvpn start", page.inner_text(".mlvpn-advice"))
        self.router.service = {"instances": {"tunnel": {"running": False, "exit_code": 1}}}
        self.eventually(page, "() => /ended with status 1/.test(document.querySelector('.mlvpn-advice').textContent)")
        self.assertIn("/etc/init.d/mlvpn check", page.inner_text(".mlvpn-advice"))
        self.router.service = {"instances": {"tunnel": {"running": True}}}
        self.eventually(page, "() => /not on the bus yet/.test(document.querySelector('.mlvpn-advice').textContent)")
        self.router.bus = "there"
        page.wait_for_selector("svg.mlvpn-graph")

    def test_a_refusal_by_rpcd_or_ubusd_is_no_missing_daemon(self):
        for bus in ("denied", router.PERMISSION_DENIED):
            self.router.bus = bus
            self.assertIn("may not see the tunnel", self.open().inner_text(".mlvpn-advice"))
        self.router.bus = 7
        self.assertIn("does not answer", self.open().inner_text(".mlvpn-advice"))

    def test_an_answer_without_history_still_shows_the_links(self):
        self.router.history = {"interval_ms": 1000, "links": []}
        page = self.open()
        self.assertEqual(page.locator("svg").count(), 0)
        self.assertEqual(page.locator(".mlvpn-links tr").count(), 3)

    def test_a_server_shows_its_peers(self):
        self.router.status.update(mode="server", summary="1 of 2 peers connected")
        page = self.open()
        rows = page.locator(".mlvpn-links").nth(1)
        text = " ".join(rows.inner_text().split())
        self.assertIn("router", text)
        self.assertIn("10.42.42.2/32, 192.168.7.0/24", text)
        self.assertIn("cabin", text)
        self.assertEqual(self.router.asked("mlvpn.peers")[0], {"first": 0, "count": 100})

    def test_more_peers_than_are_shown_are_told(self):
        self.router.status["mode"] = "server"
        self.router.peers["total"] = 2000
        self.assertIn("The first 2 of 2000 peers are shown", self.open().inner_text("#view"))

    def test_names_that_look_like_markup_are_text(self):
        link = self.router.status["links"][0]
        link.update(name=EVIL, interface=EVIL, device=EVIL, reason=EVIL, state="silent")
        self.router.status.update(mode="server", summary=EVIL, device=EVIL, trouble=EVIL, server=EVIL)
        self.router.history["links"][0]["name"] = EVIL
        self.router.peers["peers"][0].update(name=EVIL, public_key=EVIL, allowed=[EVIL])
        self.router.peers["peers"][0]["links"][0].update(remote=EVIL, reason=EVIL)
        page = self.open()
        page.wait_for_timeout(300)
        self.assertEqual(page.title(), "MLVPN")
        self.assertEqual(page.locator("#view img, #view script").count(), 0)
        self.assertGreaterEqual(page.inner_text("#view").count(EVIL), 10)

    def test_a_message_that_looks_like_markup_is_text(self):
        page = self.open()
        self.router.status["links"][1]["name"] = EVIL
        self.eventually(page, "evil => [...document.querySelectorAll('button[data-link]')].some(b => b.dataset.link == evil)", EVIL)
        self.router.status["links"].pop()
        page.locator("button[data-link]").nth(1).click()
        self.assertIn(EVIL, page.inner_text(".alert-message"))
        self.assertEqual((page.title(), page.locator("img").count()), ("MLVPN", 0))

    def test_a_phone_needs_no_sideways_scrolling(self):
        self.router.status["mode"] = "server"
        self.router.status["links"][0]["name"] = "a_link_whose_name_is_as_long_as_the_engine_lets_it_be_" + "x" * 10
        page = self.open(width=360)
        self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), 360)
        widths = page.locator(".mlvpn-links td, svg.mlvpn-graph").evaluate_all(
            "all => all.map(one => one.getBoundingClientRect().right)")
        self.assertLessEqual(max(widths), 360)
        self.assertGreaterEqual(page.locator("svg text").first.bounding_box()["height"], 9, "legible")

    def test_text_and_marks_can_be_told_from_the_ground_in_both_themes(self):
        for dark in (False, True):
            page = self.open(dark=dark)
            for selector, least in [
                (".mlvpn-state, .mlvpn-advice strong, .mlvpn-advice span, .mlvpn-facts dd, .mlvpn-links td small, svg text", 4.5),
                (".mlvpn-mark, .mlvpn-swatch:not(.mlvpn-swatch-sum), svg polygon", 3),
            ]:
                # All at once, since the page draws itself anew meanwhile.
                found = page.locator(selector).evaluate_all(
                    f"all => all.map(one => [({browser.CONTRAST})(one), one.outerHTML.slice(0, 80)])")
                self.assertGreater(len(found), 3)
                for contrast, what in found:
                    self.assertGreaterEqual(contrast, least, (dark, what))

    def test_every_colour_of_the_graph_can_be_told_from_both_grounds(self):
        self.router.history["links"] = [{**self.router.history["links"][0], "name": f"l{n}"} for n in range(8)]
        for dark in (False, True):
            swatches = self.open(dark=dark).locator(".mlvpn-swatch:not(.mlvpn-swatch-sum)")
            self.assertEqual(swatches.count(), 8)
            # All at once, since the page draws itself anew meanwhile.
            found = swatches.evaluate_all(f"all => all.map({browser.CONTRAST})")
            self.assertGreaterEqual(min(found), 3, (dark, found))

    def test_the_page_speaks_german(self):
        self.router.language = "de"
        page = self.open()
        self.assertEqual(page.inner_text(".mlvpn-state"), "Der Tunnel steht, aber nicht über jede Leitung fließen Daten.")
        self.assertIn("Umlaufzeit", page.inner_text(".mlvpn-links"))
        self.assertIn("2 Std. 3 Min.", page.inner_text(".mlvpn-facts"))


if __name__ == "__main__":
    unittest.main()
