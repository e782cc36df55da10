# SPDX-License-Identifier: BSD-2-Clause
"""The metrics as an independent parser reads them, and the files that use them."""

import json
import os
import re
import unittest
from pathlib import Path

import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

HERE = Path(__file__).parent
FILES = HERE.parent.parent / "port-linux" / "monitoring"
# Prometheus's functions and words that look like names of metrics, and none of which begins like one of ours.
OURS = re.compile(r"\bmlvpn_[a-z0-9_]+")
NAME = re.compile(r"[a-z_:][a-z0-9_:]*")


def samples(families):
    return {sample.name: sample for family in families for sample in family.samples}


class Metrics(unittest.TestCase):
    def setUp(self):
        self.plain = (HERE / "metrics.prom").read_text()
        self.open = (HERE / "metrics.openmetrics").read_text()

    def test_both_forms_are_what_they_say(self):
        plain, opened = list(prometheus(self.plain)), list(openmetrics(self.open))
        self.assertEqual(set(samples(plain)), set(samples(opened)))
        self.assertEqual(len(plain), len({family.name for family in plain}), "each metric once")
        for family in plain + opened:
            self.assertTrue(family.documentation, family.name)
            self.assertTrue(family.samples, family.name)
            self.assertTrue(NAME.fullmatch(family.name), family.name)

    def test_types_are_told(self):
        types = {family.name: family.type for family in openmetrics(self.open)}
        self.assertEqual(types["mlvpn_link_sent_bytes"], "counter")
        self.assertEqual(types["mlvpn_link_rtt_seconds"], "gauge")
        self.assertEqual(types["sentbytes"], "unknown")

    def test_values_and_labels_come_back(self):
        found = {(s.name, s.labels.get("link")): s.value for f in openmetrics(self.open) for s in f.samples}
        self.assertAlmostEqual(found["mlvpn_link_rtt_seconds", "dsl"], 0.01045)
        self.assertEqual(found["mlvpn_link_disconnects_total", 'l"2\\'], 1)

    def test_what_a_daemon_told_is_read_too(self):
        """With LIVE naming a file that `curl` filled."""
        live = os.environ.get("LIVE")
        if not live:
            self.skipTest("LIVE names no answer of a daemon")
        text = Path(live).read_text()
        read = openmetrics if text.endswith("# EOF\n") else prometheus
        self.assertIn("mlvpn_tunnel_up", samples(read(text)))


class Files(unittest.TestCase):
    def setUp(self):
        self.known = set(samples(prometheus((HERE / "metrics.prom").read_text())))

    def hold(self, expressions):
        self.assertTrue(expressions)
        for expression in expressions:
            used = OURS.findall(expression)
            self.assertTrue(used, f"no metric of ours in {expression}")
            for name in used:
                self.assertIn(name, self.known, expression)

    def test_the_dashboard_uses_metrics_there_are(self):
        board = json.loads((FILES / "grafana.json").read_text())
        panels = board["panels"]
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
        self.hold([target["expr"] for panel in panels for target in panel["targets"]])
        queries = [variable["query"]["query"] for variable in board["templating"]["list"] if variable["type"] == "query"]
        self.hold(queries)
        names = {variable["name"] for variable in board["templating"]["list"]} | {"__rate_interval", "__all"}
        for used in re.findall(r"\$\{?(\w+)", json.dumps(board)):
            self.assertIn(used, names)

    def test_the_rules_load_and_use_metrics_there_are(self):
        rules = [rule for group in yaml.safe_load((FILES / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
        self.hold([rule["expr"] for rule in rules])
        self.assertEqual(len({rule["alert"] for rule in rules}), len(rules))
        for rule in rules:
            self.assertIn("summary", rule["annotations"])
            self.assertIn("severity", rule["labels"])


if __name__ == "__main__":
    unittest.main()
