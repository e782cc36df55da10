#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Packs what cross/build.sh built for OpenWrt, without its SDK: .ipk for opkg with an index, and .apk where apk's tool is.

    cross/package.py [--out FOLDER] [ARCHITECTURE=PROGRAM ..]

Without programs those in target/cross are packed. The same input gives the same bytes: times are the last commit's, or
SOURCE_DATE_EPOCH's; everything belongs to root. APK names an apk-tools 3 program.
"""

import argparse
import gzip
import hashlib
import io
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGES = ROOT / "openwrt-package"
sys.path.insert(0, str(PACKAGES))
import i18n  # noqa: E402

# What OpenWrt's build puts into every package: users, services and uci-defaults are the affair of base-files.
SCRIPT = """#!/bin/sh
[ "${IPKG_NO_SCRIPT}" = "1" ] && exit 0
[ -s "${IPKG_INSTROOT}/lib/functions.sh" ] || exit 0
. "${IPKG_INSTROOT}/lib/functions.sh"
%s "$0" "$@"
"""

LANGUAGES = {"de": "Deutsch (German)"}


class Tree:
    """Files by their path below the root: mode, and content or the link's target."""

    def __init__(self):
        self.entries = {}

    def add(self, path, content, mode=0o644):
        self.entries[path] = (mode, content.encode() if isinstance(content, str) else content)

    def link(self, path, target):
        self.entries[path] = (0o777, pathlib.PurePosixPath(target))

    def add_folder(self, folder, below=""):
        """Every file, executable for all if it is for its owner; git keeps no other modes."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
                self.add(str(pathlib.PurePosixPath(below) / path.relative_to(folder).as_posix()), path.read_bytes(), mode)

    def size(self):
        return sum(len(content) for _, content in self.entries.values() if isinstance(content, bytes))

    def folders(self):
        return sorted({str(parent) for path in self.entries for parent in pathlib.PurePosixPath(path).parents} - {"."})

    def tar(self, time):
        """A gzip'd tar whose names begin with `./`, folders before what is in them."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
            for path in [""] + sorted([*self.folders(), *self.entries]):
                info = tarfile.TarInfo(f"./{path}")
                info.uname = info.gname = "root"
                info.mtime = time
                mode, content = self.entries.get(path, (0o755, None))
                info.mode = mode
                if content is None:
                    info.type = tarfile.DIRTYPE
                elif isinstance(content, pathlib.PurePosixPath):
                    info.type, info.linkname = tarfile.SYMTYPE, str(content)
                else:
                    info.size = len(content)
                archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
        return gzip.compress(out.getvalue(), mtime=0)

    def write(self, folder):
        for path, (mode, content) in self.entries.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                place.write_bytes(content)
                place.chmod(mode)
            else:
                place.symlink_to(content)


def facts(name):
    """What a feed Makefile says: its variables, and the paragraphs it defines."""
    text = (PACKAGES / name / "Makefile").read_text()
    found = dict(re.findall(r"^\s*([A-Z_]+):=(.*)$", text, re.M))
    for key, body in re.findall(rf"^define Package/{name}/(\w+)\n(.*?)^endef", text, re.M | re.S):
        found[key] = body
    return found


def dependencies(text):
    # Those with `+` are packages; the others are conditions of the build.
    return ["libc", *re.findall(r"\+([\w.-]+)", text)]


class Package:
    """One package: its tree, and what its manager is told of it."""

    def __init__(self, name, architecture, maker, title, depends):
        self.name, self.architecture, self.tree, self.conffiles = name, architecture, Tree(), []
        self.version = f"{maker['PKG_VERSION']}-r{maker['PKG_RELEASE']}"
        self.maker, self.title, self.depends, self.user, self.has_scripts = maker, title, depends, None, True

    def control(self, time):
        fields = {
            "Package": self.name, "Version": self.version, "Depends": ", ".join(self.depends),
            "Source": f"feeds/packages/net/{self.name}", "SourceName": self.name, "License": self.maker["PKG_LICENSE"],
            "Section": self.maker.get("SECTION", "luci"), "Require-User": self.user, "SourceDateEpoch": str(time),
            "Maintainer": self.maker["PKG_MAINTAINER"], "Architecture": self.architecture,
            "Installed-Size": str(self.tree.size()), "Description": self.title,
        }
        return "".join(f"{name}: {value}\n" for name, value in fields.items() if value)

    def ipk(self, time):
        control, outer = Tree(), Tree()
        control.add("control", self.control(time))
        if self.conffiles:
            control.add("conffiles", "".join(f"{path}\n" for path in self.conffiles))
        for name in ("postinst", "prerm"):
            control.add(name, SCRIPT % f"default_{name}", 0o755)
        # opkg reads them in this order.
        outer.add("debian-binary", "2.0\n")
        outer.add("data.tar.gz", self.tree.tar(time))
        outer.add("control.tar.gz", control.tar(time))
        return outer

    def write_ipk(self, out, time):
        place = out / f"{self.name}_{self.version}_{self.architecture}.ipk"
        body = io.BytesIO()
        with tarfile.open(fileobj=body, mode="w", format=tarfile.GNU_FORMAT) as archive:
            for path, (_, content) in self.ipk(time).entries.items():
                info = tarfile.TarInfo(f"./{path}")
                info.uname = info.gname = "root"
                info.mtime, info.size = time, len(content)
                archive.addfile(info, io.BytesIO(content))
        place.write_bytes(gzip.compress(body.getvalue(), mtime=0))
        return place

    def write_apk(self, apk, out, time):
        """By apk's own tool, with the lists that OpenWrt's scripts look for."""
        place = out / f"{self.name}-{self.version}.apk"
        with tempfile.TemporaryDirectory() as folder:
            root, scripts = pathlib.Path(folder) / "root", pathlib.Path(folder) / "scripts"
            scripts.mkdir()
            lists = f"lib/apk/packages/{self.name}"
            files = [f"/{path}\n" for path in sorted(self.tree.entries)]
            conffiles = [path for path in self.conffiles if path.lstrip("/") in self.tree.entries]
            whole = Tree()
            whole.entries.update(self.tree.entries)
            whole.add(f"{lists}.list", "".join(files))
            if self.conffiles:
                digests = [f"{path} {hashlib.sha256(self.tree.entries[path.lstrip('/')][1]).hexdigest()}\n" for path in conffiles]
                whole.add(f"{lists}.conffiles", "".join(f"{path}\n" for path in self.conffiles))
                whole.add(f"{lists}.conffiles_static", "".join(digests))
            if self.user:
                whole.add(f"{lists}.rusers", f"{self.user}\n")
            whole.write(root)
            for name, function in (("post-install", "default_postinst"), ("pre-deinstall", "default_prerm")):
                (scripts / name).write_text(SCRIPT % f"export root=\"${{IPKG_INSTROOT}}\" pkgname={self.name}; {function}")
            info = {
                "name": self.name, "version": self.version, "description": self.title, "arch": self.apk_architecture(),
                "license": self.maker["PKG_LICENSE"], "maintainer": self.maker["PKG_MAINTAINER"], "depends": " ".join(self.depends),
            }
            words = [word for name, value in info.items() for word in ("--info", f"{name}:{value}")]
            subprocess.run([apk, "mkpkg", *words, "--script", f"post-install:{scripts / 'post-install'}", "--script",
                            f"pre-deinstall:{scripts / 'pre-deinstall'}", "--files", root, "--output", place],
                           env={**os.environ, "SOURCE_DATE_EPOCH": str(time)}, check=True)
        return place

    def apk_architecture(self):
        return "noarch" if self.architecture == "all" else self.architecture


def daemon(architecture, program):
    maker = facts("mlvpn")
    package = Package("mlvpn", architecture, maker, one_line(maker["description"]), dependencies(maker["DEPENDS"]))
    package.tree.add_folder(PACKAGES / "mlvpn/files")
    package.tree.add("etc/config/mlvpn", (PACKAGES / "mlvpn/files/etc/config/mlvpn").read_bytes(), 0o600)
    package.tree.add("usr/sbin/mlvpnd", loaded(program.read_bytes()), 0o755)
    package.tree.link("usr/sbin/mlvpn", "mlvpnd")
    package.conffiles = maker["conffiles"].split()
    package.user = maker["USERID"]
    return package


def pages():
    maker = facts("luci-app-mlvpn")
    package = Package("luci-app-mlvpn", "all", maker, maker["LUCI_TITLE"], dependencies(maker["LUCI_DEPENDS"]))
    package.tree.add_folder(PACKAGES / "luci-app-mlvpn/htdocs", "www")
    package.tree.add_folder(PACKAGES / "luci-app-mlvpn/root")
    yield package
    for language, title in LANGUAGES.items():
        name = f"luci-i18n-mlvpn-{language}"
        package = Package(name, "all", maker, f"Translation for luci-app-mlvpn - {title}", ["libc", "luci-app-mlvpn"])
        package.tree.add(f"usr/lib/lua/luci/i18n/mlvpn.{language}.lmo", i18n.compiled(language))
        package.tree.add(f"etc/uci-defaults/{name}", f"uci set luci.languages.{language}='{title}'; uci commit luci\n", 0o755)
        yield package


def loaded(program):
    """What of an ELF file is loaded: without the table of sections and those that only debuggers read, as OpenWrt's sstrip
    leaves it. On MIPS `.pdr`, which strip keeps, is a tenth of the file."""
    if program[:4] != b"\x7fELF":
        return program
    wide, order = program[4] == 2, {1: "<", 2: ">"}[program[5]]
    # Offsets in the file's header: the table of segments, then that of sections, and the count of entries of each.
    tables, counts = (f"{order}QQ", 54) if wide else (f"{order}II", 42)
    segments, _ = struct.unpack_from(tables, program, 32 if wide else 28)
    length, count, _, _, _ = struct.unpack_from(f"{order}5H", program, counts)
    # Where a segment is in the file, and how much of it: the third and sixth word of 64 bits, the second and fifth of 32.
    entry = (f"{order}8xQ16xQ" if wide else f"{order}4xI8xI")
    ends = [sum(struct.unpack_from(entry, program, segments + at * length)) for at in range(count)]
    kept = bytearray(program[:max(*ends, segments + count * length)])
    struct.pack_into(f"{order}Q" if wide else f"{order}I", kept, 40 if wide else 32, 0)
    struct.pack_into(f"{order}3H", kept, counts + 4, 0, 0, 0)
    return bytes(kept)


def one_line(text):
    return " ".join(text.split())


def index(out, places, time, packages):
    """Packages and Packages.gz: with them the folder is a feed of opkg's."""
    entries = []
    for place, package in sorted(zip(places, packages), key=lambda pair: pair[0].name):
        content = place.read_bytes()
        head, tail = package.control(time).split("Description:", 1)
        entries.append(f"{head}Filename: {place.name}\nSize: {len(content)}\nSHA256sum: {hashlib.sha256(content).hexdigest()}\n"
                       f"Description:{tail}")
    text = "\n".join(entries)
    (out / "Packages").write_text(text)
    (out / "Packages.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


def built():
    """The programs of cross/build.sh by OpenWrt's architecture."""
    table = [line.split() for line in (ROOT / "cross/targets").read_text().splitlines() if line and not line.startswith("#")]
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    places = {row[4]: target / "cross" / row[0] / "router/mlvpnd" for row in table}
    return {architecture: place for architecture, place in places.items() if place.exists()}


def last_commit():
    told = subprocess.run(["git", "-C", ROOT, "log", "-1", "--format=%ct"], capture_output=True, text=True, check=True)
    return int(told.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "target/packages")
    parser.add_argument("programs", nargs="*", metavar="ARCHITECTURE=PROGRAM")
    options = parser.parse_args()
    programs = dict(word.split("=", 1) for word in options.programs) or built()
    if not programs:
        parser.error("no program is built: run cross/build.sh, or name one as ARCHITECTURE=PROGRAM")
    time = int(os.environ.get("SOURCE_DATE_EPOCH") or last_commit())
    apk = os.environ.get("APK") or shutil.which("apk")
    for architecture, program in sorted(programs.items()):
        out = options.out / architecture
        out.mkdir(parents=True, exist_ok=True)
        packages = [daemon(architecture, pathlib.Path(program)), *pages()]
        places = [package.write_ipk(out, time) for package in packages]
        index(out, places, time, packages)
        if apk:
            written = [package.write_apk(apk, out, time) for package in packages]
            subprocess.run([apk, "mkndx", "--allow-untrusted", "--output", out / "packages.adb", *written],
                           env={**os.environ, "SOURCE_DATE_EPOCH": str(time)}, check=True, stdout=subprocess.DEVNULL)
            places += written
        for place in places:
            print(f"{place.stat().st_size:9} {place}")
    if not apk:
        print("no .apk: apk-tools 3 is not here; APK=/path/to/apk names it", file=sys.stderr)


if __name__ == "__main__":
    main()
