# SPDX-License-Identifier: BSD-2-Clause
"""One headless Chromium for all tests, and a router and a page for each.

CHROMIUM names the browser; without it the usual names are tried.
"""

import os
import shutil
import unittest

from playwright.sync_api import sync_playwright

import router

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")

_running = {}


def executable():
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


def browser():
    """Started by the first test that needs it."""
    if not _running:
        if executable() is None:
            raise RuntimeError(f"no browser: install one of {', '.join(NAMES)}, or name one in CHROMIUM")
        _running["playwright"] = sync_playwright().start()
        _running["browser"] = _running["playwright"].chromium.launch(executable_path=executable(), args=["--no-sandbox"])
    return _running["browser"]


def stop():
    if _running:
        _running["browser"].close()
        _running["playwright"].stop()
        _running.clear()


unittest.addModuleCleanup(stop)


class PageTest(unittest.TestCase):
    """A router, and pages of it that must not complain."""

    view = None

    def setUp(self):
        self.router = router.Router()
        self.addCleanup(self.router.close)
        self.complaints = []

    def open(self, width=1100, dark=False):
        context = browser().new_context(
            viewport={"width": width, "height": 900}, screen={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
        )
        self.addCleanup(context.close)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: (self.complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.goto(f"{self.router.url}/page/{self.view}")
        page.wait_for_selector("#view h2")
        self.picture(page, f"{self.id().rsplit('.', 1)[1]}-{width}")
        return page

    def picture(self, page, name):
        """For people to look at, in the folder that SCREENSHOTS names."""
        if os.environ.get("SCREENSHOTS"):
            page.screenshot(path=os.path.join(os.environ["SCREENSHOTS"], f"{name}.png"), full_page=True)

    def tearDown(self):
        self.assertEqual(self.complaints, [], "the browser's console")

    def eventually(self, page, condition, argument=None):
        page.wait_for_function(condition, arg=argument)


# Relative luminance and contrast as WCAG 2.2 defines them; the ground is that of the nearest ancestor that has one.
CONTRAST = """element => {
    const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
    let ground = element.parentElement;
    const of = node => parse(getComputedStyle(node).backgroundColor);
    while (ground && of(ground)[3] === 0) ground = ground.parentElement;
    const style = getComputedStyle(element);
    const isMark = element.matches('.mlvpn-mark, .mlvpn-swatch');
    const colour = element instanceof SVGElement ? parse(style.fill) : parse(isMark ? style.backgroundColor : style.color);
    const [a, b] = [light(colour), light(ground ? of(ground) : [255, 255, 255])].sort((a, b) => b - a);
    return (a + 0.05) / (b + 0.05);
}"""
