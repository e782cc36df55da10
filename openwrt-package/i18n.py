#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Writes the template of the pages' texts, brings the translations up to date with it, and compiles them as LuCI reads them.

    i18n.py            write po/templates/mlvpn.pot and merge it into every po/LANGUAGE/mlvpn.po
    i18n.py --check    say what of that would change, and what is not translated, and end with 1 if anything
"""

import json
import pathlib
import re
import struct
import sys

APP = pathlib.Path(__file__).resolve().parent / "luci-app-mlvpn"
RESOURCES = APP / "htdocs/luci-static/resources"
PO = APP / "po"
TEMPLATE = PO / "templates/mlvpn.pot"

STRING = r"'((?:[^'\\]|\\.)*)'"
CALL = re.compile(rf"\b_\(\s*{STRING}(?:\s*,\s*{STRING})?\s*\)")


def unescape(text):
    return re.sub(r"\\(.)", lambda found: {"n": "\n", "t": "\t"}.get(found[1], found[1]), text)


def escape(text):
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")


def sources():
    """Every text of the pages as (context, text), with the places that show it."""
    found = {}

    def add(text, place, context=""):
        found.setdefault((context, text), set()).add(place)

    for path in sorted(RESOURCES.rglob("*.js")):
        name = path.relative_to(APP).as_posix()
        for call in CALL.finditer(path.read_text()):
            add(unescape(call[1]), name, unescape(call[2] or ""))
    options = RESOURCES / "mlvpn/options.json"
    for section in json.loads(options.read_text()).values():
        for option in section.values():
            # What is not in effect yet is not shown.
            for field in ("help", "expected", "default_in_words"):
                if field in option and not option.get("later"):
                    add(option[field], options.relative_to(APP).as_posix())
    for path in sorted(APP.glob("root/usr/share/luci/menu.d/*.json")):
        for entry in json.loads(path.read_text()).values():
            add(entry["title"], path.relative_to(APP).as_posix())
    for path in sorted(APP.glob("root/usr/share/rpcd/acl.d/*.json")):
        for group in json.loads(path.read_text()).values():
            add(group["description"], path.relative_to(APP).as_posix())
    return found


def read(path):
    """The translations of a po file by (context, text)."""
    entries, field, entry = {}, None, {}
    for line in path.read_text().splitlines() + [""]:
        keyword = re.match(r'(msgctxt|msgid|msgstr)\s+(?=")', line)
        if keyword:
            field, line = keyword[1], line[keyword.end():]
            entry[field] = ""
        if line.startswith('"') and field:
            entry[field] += unescape(line[1:-1])
        elif not line.strip():
            if entry.get("msgid"):
                entries[entry.get("msgctxt", ""), entry["msgid"]] = entry.get("msgstr", "")
            field, entry = None, {}
    return entries


def header(path):
    """The head of a po file, which its translator keeps."""
    return path.read_text().split("\n\n", 1)[0] if path.exists() else None


def render(head, found, translated):
    parts = [head]
    for context, text in sorted(found, key=lambda key: (min(found[key]), key)):
        lines = [f"#: {place}" for place in sorted(found[context, text])]
        if context:
            lines.append(f'msgctxt "{escape(context)}"')
        lines += [f'msgid "{escape(text)}"', f'msgstr "{escape(translated.get((context, text), ""))}"']
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def wanted():
    """What each file should hold, and the texts that a language lacks."""
    found = sources()
    files = {TEMPLATE: render('msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8"', found, {})}
    missing = []
    for path in sorted(PO.glob("*/mlvpn.po")):
        translated = read(path)
        files[path] = render(header(path), found, translated)
        missing += [f"{path.parent.name}: {text}" for context, text in found if not translated.get((context, text))]
    return files, missing


def translations(language):
    """The texts as the stand-in runtime looks them up: a context stands before its text, with U+0004 between."""
    found = read(PO / language / "mlvpn.po")
    return {f"{context}\x04{text}" if context else text: said for (context, text), said in found.items() if said}


def hash_of(key):
    """SuperFastHash by Paul Hsieh, which LuCI's catalogues are looked up by."""
    if not key:
        return 0

    def signed(byte):
        return byte - 256 if byte > 127 else byte

    mask, value, at, rest = 0xFFFFFFFF, len(key), 0, len(key) & 3
    for _ in range(len(key) >> 2):
        low, high = struct.unpack_from("<HH", key, at)
        value = (value + low) & mask
        value = ((value << 16) ^ ((high << 11) & mask) ^ value) & mask
        value = (value + (value >> 11)) & mask
        at += 4
    if rest == 3:
        value = (value + struct.unpack_from("<H", key, at)[0]) & mask
        value = (value ^ (value << 16)) & mask
        value = (value ^ (signed(key[at + 2]) << 18)) & mask
        value = (value + (value >> 11)) & mask
    elif rest == 2:
        value = (value + struct.unpack_from("<H", key, at)[0]) & mask
        value = (value ^ (value << 11)) & mask
        value = (value + (value >> 17)) & mask
    elif rest == 1:
        value = (value + signed(key[at])) & mask
        value = (value ^ (value << 10)) & mask
        value = (value + (value >> 1)) & mask
    for left, right in ((3, 5), (4, 17), (25, 6)):
        value = (value ^ (value << left)) & mask
        value = (value + (value >> right)) & mask
    return value


def hashes(language):
    """The translations by the hash of what LuCI looks up: a context stands before its text, with U+0001 between."""
    for (context, text), said in read(PO / language / "mlvpn.po").items():
        key = hash_of((f"{context}\x01{text}" if context else text).encode())
        # LuCI's own compiler leaves out what says nothing new.
        if said and key != hash_of(said.encode()):
            yield key, said


def compiled(language):
    """A catalogue as LuCI reads it (`.lmo`): the texts, an index sorted by hash, and where that begins."""
    plural = re.search(r"Plural-Forms: ([^\\]*)", header(PO / language / "mlvpn.po"))
    entries = ([(0, 0, plural[1])] if plural else []) + [(key, 1, said) for key, said in hashes(language)]
    data, index = b"", []
    for key, count, said in entries:
        body = said.encode()
        index.append((key, count, len(data), len(body)))
        data += body + b"\0" * (-len(body) % 4)
    return data + b"".join(struct.pack(">IIII", *entry) for entry in sorted(index)) + struct.pack(">I", len(data))


def main():
    files, missing = wanted()
    if sys.argv[1:] == ["--check"]:
        old = [str(path) for path, text in files.items() if not path.exists() or path.read_text() != text]
        for line in [f"{path} is out of date: run i18n.py" for path in old] + [f"not translated: {line}" for line in missing]:
            print(line)
        return 1 if old or missing else 0
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    print(f"{len(sources())} texts, {len(missing)} not translated")
    return 0


if __name__ == "__main__":
    sys.exit(main())
