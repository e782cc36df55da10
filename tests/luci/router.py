# SPDX-License-Identifier: BSD-2-Clause
"""A router for the browser: serves the application's files and LuCI's runtime, and answers as rpcd does.

The runtime is the stand-in in `runtime`, or LuCI itself where the variable LUCI names a checkout of it. Both ask the same
questions over JSON-RPC, so that both run the same tests.
"""

import copy
import http.server
import json
import mimetypes
import os
import pathlib
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
APP = HERE.parent.parent / "openwrt-package" / "luci-app-mlvpn"
sys.path.insert(0, str(APP.parent))
import i18n  # noqa: E402

LUCI = os.environ.get("LUCI")

# What ubus says, by number (enum ubus_msg_status).
OK, INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED = 0, 2, 4, 6


def answers(name):
    """A typed answer of the daemon's, to be changed at will."""
    return json.loads((HERE / "answers" / f"{name}.json").read_text())


class Config:
    """The files of /etc/config, as rpcd's uci object shows and changes them."""

    def __init__(self, packages):
        self.packages = {package: list(map(dict, sections)) for package, sections in packages.items()}
        self.changed = []

    def values(self, package):
        return {
            section[".name"]: {".anonymous": False, ".index": at, **section}
            for at, section in enumerate(self.packages[package])
        }

    def find(self, package, name):
        return next((section for section in self.packages[package] if section[".name"] == name), None)

    def call(self, method, arguments):
        package = arguments.get("config")
        if method in ("apply", "confirm", "changes", "rollback"):
            return OK, {"changes": {}} if method == "changes" else {}
        if package not in self.packages:
            return NOT_FOUND, None
        if method == "get":
            return OK, {"values": self.values(package)}
        if method not in ("add", "set", "delete", "order"):
            return INVALID_ARGUMENT, None
        self.changed.append((method, arguments))
        section = self.find(package, arguments.get("section"))
        if method == "add":
            name = arguments.get("name") or f"cfg{len(self.packages[package]):02x}"
            self.packages[package].append({".name": name, ".type": arguments["type"], **arguments.get("values", {})})
            return OK, {"section": name}
        if method == "set":
            section.update(arguments["values"])
        elif method == "delete":
            for option in arguments.get("options") or [arguments.get("option")]:
                section.pop(option, None) if option else self.packages[package].remove(section)
        return OK, {}


USUAL_CONFIG = {
    "mlvpn": [
        {".name": "tunnel", ".type": "tunnel", "enabled": "1", "server": "vpn.example.net:5080",
         "private_key": "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=", "ip4": "10.42.42.2/24"},
        {".name": "wan", ".type": "link", "rate_up": "10mbit"},
        {".name": "lte", ".type": "link", "interface": "wwan", "backup": "1"},
    ],
    "network": [
        {".name": "loopback", ".type": "interface", "proto": "static", "device": "lo"},
        {".name": "lan", ".type": "interface", "proto": "static", "device": "br-lan"},
        {".name": "wan", ".type": "interface", "proto": "dhcp", "device": "eth0"},
        {".name": "wwan", ".type": "interface", "proto": "dhcp", "device": "wwan0"},
    ],
    "firewall": [{".name": "lan_zone", ".type": "zone", "name": "lan", "network": ["lan"]}],
    "luci": [],
    "wireless": [],
    "dhcp": [],
}

KEYS = {
    "private_key": "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=",
    "public_key": "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=",
}


class Router:
    """What the browser talks to. Tests change its attributes while a page is open."""

    def __init__(self):
        self.config = Config(USUAL_CONFIG)
        self.status = answers("status")
        self.history = answers("history")
        self.peers = answers("peers")
        self.service = {"instances": {"tunnel": {"running": True}, "hotplug-events": {"running": True}}}
        # What tunnels beside the first tell, by their names.
        self.others = {}
        # "there", "absent" (no such object), "denied" (by rpcd), or a status of ubus.
        self.bus = "there"
        self.may_write = True
        self.language = "en"
        self.calls = []
        self.lock = threading.Lock()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: Handler(self, *a))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def asked(self, name):
        """The arguments of every call of that method so far."""
        with self.lock:
            return [arguments for called, arguments in self.calls if called == name]

    # JSON-RPC

    def answer(self, message):
        reply = {"jsonrpc": "2.0", "id": message["id"]}
        if message["method"] != "call":
            return {**reply, "result": {}}
        _, name, method, arguments = message["params"]
        with self.lock:
            self.calls.append((f"{name}.{method}", copy.deepcopy(arguments)))
            if name == "mlvpn" and self.bus in ("absent", "denied"):
                code, text = {"absent": (-32000, "Object not found"), "denied": (-32002, "Access denied")}[self.bus]
                return {**reply, "error": {"code": code, "message": text}}
            code, data = self.call(name, method, arguments)
        return {**reply, "result": [code] if data is None else [code, data]}

    def call(self, name, method, arguments):
        if name in ("mlvpn", "mlvpn.tunnel"):
            return self.mlvpn(method, arguments, self.status)
        if name.startswith("mlvpn."):
            other = self.others.get(name.removeprefix("mlvpn."))
            return self.mlvpn(method, arguments, other) if other else (NOT_FOUND, None)
        if name == "uci":
            if method in ("add", "set", "delete", "order", "apply") and not self.may_write:
                return PERMISSION_DENIED, None
            return self.config.call(method, arguments)
        if name == "session" and method == "access":
            return OK, {"access": arguments["function"] == "read" or self.may_write}
        if name == "service":
            return OK, {"mlvpn": self.service} if self.service else {}
        known = {
            "network.interface.dump": {"interface": []},
            "network.get_proto_handlers": {},
            "luci.getFeatures": {},
            "luci-rpc.getNetworkDevices": {},
            "luci-rpc.getWirelessDevices": {},
            "luci-rpc.getHostHints": {},
            "luci-rpc.getBoardJSON": {},
        }
        return OK, known.get(f"{name}.{method}", {})

    def mlvpn(self, method, arguments, status):
        if self.bus != "there":
            return self.bus, None
        if method == "link":
            if not self.may_write:
                return PERMISSION_DENIED, None
            link = next((link for link in status["links"] if link["name"] == arguments["name"]), None)
            if link is None:
                return NOT_FOUND, None
            link["state"] = "disabled" if arguments["action"] == "down" else "up"
            return OK, None
        if method == "keygen":
            given = arguments.get("private_key")
            return OK, {"public_key": KEYS["public_key"]} if given else dict(KEYS)
        told = {"status": status, "history": self.history, "peers": self.peers}
        return (OK, copy.deepcopy(told[method])) if method in told else (3, None)

    # Files

    def page(self, view):
        environment = {
            "media": "/luci-static/theme", "resource": "/luci-static/resources", "scriptname": "/cgi-bin/luci",
            "pathinfo": "", "documentroot": "/www", "requestpath": view.split("/"), "dispatchpath": view.split("/"),
            "pollinterval": 5, "ubuspath": "/ubus/", "sessionid": "0" * 32, "token": "0" * 32,
            "nodespec": {"satisfied": True, "readonly": not self.may_write},
            "apply_rollback": 90, "apply_holdoff": 4, "apply_timeout": 5, "apply_display": 1.5,
        }
        cbi = '<script src="/luci-static/resources/cbi.js"></script>' if LUCI else ""
        return f"""<!DOCTYPE html><html lang="{self.language}"><head><meta charset="utf-8"><title>MLVPN</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<script>document.documentElement.setAttribute('data-darkmode', matchMedia('(prefers-color-scheme: dark)').matches)</script>
<link rel="stylesheet" href="/luci-static/theme/cascade.css">
<link rel="stylesheet" media="only screen and (max-device-width: 854px)" href="/luci-static/theme/mobile.css">
<script src="/translations"></script>{cbi}</head><body class="lang_{self.language}">
<header><ul id="topmenu"></ul><div id="indicators"></div></header><div id="maincontent" class="container">
<div id="tabmenu"></div><script src="/luci-static/resources/luci.js?v=1"></script>
<script>L = new LuCI({json.dumps(environment)});</script>
<div id="view"><div class="spinning">Loading</div><script>
L.require('ui').then(function(ui) {{ ui.instantiateView('{view}'); }});</script></div></div></body></html>"""

    def translations(self):
        if self.language == "en":
            return "window.TR = {};"
        # LuCI looks texts up by their hashes, the stand-in by themselves.
        found = {f"{key:08x}": said for key, said in i18n.hashes(self.language)} if LUCI else i18n.translations(self.language)
        return f"window.TR = {json.dumps(found)};"

    def file(self, path):
        runtime = pathlib.Path(LUCI) / "modules/luci-base/htdocs/luci-static/resources" if LUCI else HERE / "runtime"
        theme = pathlib.Path(LUCI) / "themes/luci-theme-bootstrap/htdocs/luci-static/bootstrap" if LUCI else HERE / "runtime/theme"
        for prefix, folder in [
            ("/luci-static/resources/", APP / "htdocs/luci-static/resources"),
            ("/luci-static/resources/", runtime),
            ("/luci-static/theme/", theme),
        ]:
            if path.startswith(prefix):
                found = folder / path[len(prefix):]
                if found.is_file() and ".." not in path:
                    return found
        return None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, router, *arguments):
        self.router = router
        super().__init__(*arguments)

    def log_message(self, *_):
        pass

    def send(self, body, kind, status=200):
        body = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        path = self.path.split("?")[0]
        if path.startswith("/page/"):
            return self.send(self.router.page(path[len("/page/"):]), "text/html; charset=utf-8")
        if path == "/translations":
            return self.send(self.router.translations(), "text/javascript")
        found = self.router.file(path)
        if found is None:
            return self.send("not found", "text/plain", 404)
        return self.send(found.read_bytes(), mimetypes.guess_type(found.name)[0] or "application/octet-stream")

    def do_POST(self):
        text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "ubus" not in self.path:
            return self.send("{}", "application/json")
        asked = json.loads(text)
        told = [self.router.answer(one) for one in asked] if isinstance(asked, list) else self.router.answer(asked)
        return self.send(json.dumps(told), "application/json")
