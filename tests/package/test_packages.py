# SPDX-License-Identifier: BSD-2-Clause
"""The packages, read by tar and by opkg (OPKG names one; without it they are unpacked as opkg would), not by what made them."""

import gzip
import hashlib
import json
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FILES = ROOT / "openwrt-package/mlvpn/files"
sys.path.insert(0, str(ROOT / "cross"))
import package  # noqa: E402
EPOCH = 1_750_000_000
ORDER = ["Package", "Version", "Depends", "Conflicts", "Provides", "Source", "SourceName", "License", "Section", "Require-User",
         "SourceDateEpoch", "URL", "Maintainer", "Architecture", "Installed-Size", "Description"]
OPKG = os.environ.get("OPKG") or shutil.which("opkg")
APK = os.environ.get("APK") or shutil.which("apk")

# Stands for the cross-built program, whose bytes are another test's matter.
PROGRAM = b"no ELF" + bytes(range(256)) * 40


class Packages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.place = pathlib.Path(cls.folder.name)
        (cls.place / "mlvpnd").write_bytes(PROGRAM)
        cls.feed = cls.build("first") / "mips_24kc"

    @classmethod
    def build(cls, name, **variables):
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH), "APK": "", **variables}
        subprocess.run([sys.executable, ROOT / "cross/package.py", "--out", cls.place / name, f"mips_24kc={cls.place / 'mlvpnd'}"],
                       env=environment, check=True, capture_output=True)
        return cls.place / name

    def package(self, name):
        return next(self.feed.glob(f"{name}_*.ipk"))

    def unpack(self, package, part):
        """A part of a package in a folder of its own, and what tar tells of it."""
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.place))
        subprocess.run(["tar", "-xzf", package, "-C", folder], check=True)
        archive, out = folder / f"{part}.tar.gz", folder / part
        out.mkdir()
        subprocess.run(["tar", "-xpzf", archive, "-C", out], check=True)
        listed = subprocess.run(["tar", "--full-time", "--utc", "-tvzf", archive], check=True, capture_output=True, text=True)
        return out, [line.split(None, 5) for line in listed.stdout.splitlines()]

    def test_the_same_input_gives_the_same_bytes(self):
        old = os.umask(0o077)
        try:
            other = self.build("second", TZ="Asia/Tokyo", LC_ALL="C.UTF-8", PYTHONHASHSEED="7") / "mips_24kc"
        finally:
            os.umask(old)
        names = sorted(path.name for path in self.feed.iterdir())
        self.assertEqual(names, sorted(path.name for path in other.iterdir()))
        self.assertEqual(len([name for name in names if name.endswith(".ipk")]), 3)
        for name in names:
            self.assertEqual((self.feed / name).read_bytes(), (other / name).read_bytes(), name)

    def test_of_a_program_what_is_loaded_is_packed_and_runs(self):
        for name in ("true", "busybox"):
            whole = pathlib.Path(shutil.which(name)).read_bytes()
            cut = package.loaded(whole)
            self.assertLess(len(cut), len(whole))
            self.assertEqual(package.loaded(cut), cut)
            place = self.place / "true"
            place.write_bytes(cut)
            place.chmod(0o755)
            subprocess.run([place], check=True)

    def test_a_package_is_a_gzipped_tar_of_three_parts(self):
        for package in self.feed.glob("*.ipk"):
            listed = subprocess.run(["tar", "-tzf", package], check=True, capture_output=True, text=True)
            self.assertEqual(listed.stdout.split(), ["./debian-binary", "./data.tar.gz", "./control.tar.gz"])
            told = subprocess.run(["tar", "-xzOf", package, "./debian-binary"], check=True, capture_output=True)
            self.assertEqual(told.stdout, b"2.0\n")

    def test_the_fields_stand_in_opkgs_order(self):
        for package in self.feed.glob("*.ipk"):
            control, _ = self.unpack(package, "control")
            fields = dict(line.split(": ", 1) for line in (control / "control").read_text().splitlines())
            self.assertEqual(list(fields), [name for name in ORDER if name in fields])
            self.assertEqual((fields["License"], fields["SourceDateEpoch"]), ("BSD-2-Clause", str(EPOCH)))
            for script, function in (("postinst", "default_postinst"), ("prerm", "default_prerm")):
                self.assertEqual(stat.S_IMODE((control / script).stat().st_mode), 0o755)
                self.assertIn(function, (control / script).read_text())
                # The image builder has no functions.sh at this place: the script must cope.
                done = subprocess.run(["busybox", "ash", control / script], env={"IPKG_INSTROOT": str(self.place)}) \
                    if shutil.which("busybox") else None
                self.assertEqual(done.returncode if done else 0, 0)

    def test_the_daemons_package_says_what_it_needs(self):
        control, _ = self.unpack(self.package("mlvpn"), "control")
        text = (control / "control").read_text()
        for line in ("Package: mlvpn", "Depends: libc, kmod-tun", "Require-User: mlvpn=:mlvpn=", "Architecture: mips_24kc"):
            self.assertIn(f"{line}\n", text)
        self.assertEqual((control / "conffiles").read_text(), "/etc/config/mlvpn\n")

    def test_files_are_roots_with_their_modes_where_openwrt_looks_for_them(self):
        data, listed = self.unpack(self.package("mlvpn"), "data")
        self.assertEqual({entry[1] for entry in listed}, {"root/root"})
        self.assertEqual({f"{entry[3]} {entry[4]}" for entry in listed}, {"2025-06-15 15:06:40"})
        names = [entry[5].split(" -> ")[0] for entry in listed]
        self.assertEqual(names, sorted(names))
        self.assertTrue(all(name.startswith("./") for name in names))
        modes = {entry[5]: entry[0] for entry in listed}
        for path, mode in {
            "./etc/config/mlvpn": "-rw-------", "./etc/init.d/mlvpn": "-rwxr-xr-x", "./etc/uci-defaults/50-mlvpn": "-rwxr-xr-x",
            "./etc/capabilities/mlvpn.json": "-rw-r--r--", "./etc/hotplug.d/net/30-mlvpn": "-rw-r--r--",
            "./lib/netifd/proto/mlvpn.sh": "-rwxr-xr-x", "./lib/functions/mlvpn.sh": "-rw-r--r--",
            "./lib/upgrade/keep.d/mlvpn": "-rw-r--r--", "./usr/share/acl.d/mlvpn.json": "-rw-r--r--",
            "./usr/lib/mlvpn/events": "-rwxr-xr-x", "./usr/lib/mlvpn/firewall": "-rwxr-xr-x", "./usr/sbin/mlvpnd": "-rwxr-xr-x",
            "./usr/sbin/mlvpn -> mlvpnd": "lrwxrwxrwx", "./etc/": "drwxr-xr-x",
        }.items():
            self.assertEqual(modes.get(path), mode, path)
        files = [path for path in FILES.rglob("*") if path.is_file()]
        self.assertEqual(len([name for name in names if not name.endswith("/")]), len(files) + 2)
        self.assertEqual((data / "usr/sbin/mlvpnd").read_bytes(), PROGRAM)

    def test_the_pages_are_where_luci_looks_for_them(self):
        data, _ = self.unpack(self.package("luci-app-mlvpn"), "data")
        for path in ("www/luci-static/resources/view/mlvpn/status.js", "www/luci-static/resources/mlvpn/options.json",
                     "usr/share/luci/menu.d/luci-app-mlvpn.json", "usr/share/rpcd/acl.d/luci-app-mlvpn.json"):
            self.assertTrue((data / path).is_file(), path)
        self.assertEqual(list(data.rglob("*.po*")), [])
        german, _ = self.unpack(self.package("luci-i18n-mlvpn-de"), "data")
        self.assertTrue((german / "usr/lib/lua/luci/i18n/mlvpn.de.lmo").is_file())

    def test_no_path_of_the_building_machine_is_inside(self):
        for package in self.feed.glob("*.ipk"):
            for part in ("control", "data"):
                folder, _ = self.unpack(package, part)
                for path in folder.rglob("*"):
                    if path.is_file():
                        content = path.read_bytes()
                        for place in (str(ROOT), str(self.place), str(pathlib.Path.home()) + "/"):
                            self.assertNotIn(place.encode(), content, path)

    def test_the_index_makes_the_folder_a_feed(self):
        text = (self.feed / "Packages").read_text()
        self.assertEqual(gzip.decompress((self.feed / "Packages.gz").read_bytes()).decode(), text)
        entries = [dict(re.findall(r"^([\w-]+): (.*)$", entry, re.M)) for entry in text.split("\n\n")]
        self.assertEqual([entry["Package"] for entry in entries], ["luci-app-mlvpn", "luci-i18n-mlvpn-de", "mlvpn"])
        for entry in entries:
            content = (self.feed / entry["Filename"]).read_bytes()
            self.assertEqual((entry["Size"], entry["SHA256sum"]), (str(len(content)), hashlib.sha256(content).hexdigest()))

    def stand_ins(self):
        """Packages that a router has already, empty, so that opkg's own resolution of dependencies has its say."""
        text = ""
        for name in ("libc", "kmod-tun", "luci-base"):
            folder = pathlib.Path(tempfile.mkdtemp(dir=self.place))
            control = f"Package: {name}\nVersion: 1\nArchitecture: all\nInstalled-Size: 0\nDescription: stand-in\n"
            for part in ("data", "control"):
                (folder / part).mkdir()
            (folder / "control/control").write_text(control)
            (folder / "debian-binary").write_text("2.0\n")
            for part in ("data", "control"):
                subprocess.run(["tar", "-czf", folder / f"{part}.tar.gz", "-C", folder / part, "."], check=True)
            place = self.feed / f"{name}_1_all.ipk"
            subprocess.run(["tar", "-czf", place, "-C", folder, "./debian-binary", "./data.tar.gz", "./control.tar.gz"], check=True)
            self.addCleanup(place.unlink)
            text += control.replace("Description", f"Filename: {place.name}\nSize: {place.stat().st_size}\nDescription") + "\n"
        return text

    def check_root(self, root):
        self.assertEqual(stat.S_IMODE((root / "etc/config/mlvpn").stat().st_mode), 0o600)
        self.assertEqual((root / "usr/sbin/mlvpn").readlink(), pathlib.Path("mlvpnd"))
        self.assertTrue(os.access(root / "etc/init.d/mlvpn", os.X_OK))
        json.loads((root / "usr/share/acl.d/mlvpn.json").read_text())
        self.assertTrue((root / "www/luci-static/resources/view/mlvpn/config.js").is_file())

    def test_the_users_first_command_installs_them_into_a_root(self):
        root = self.place / "root"
        root.mkdir()
        if not OPKG:
            # No opkg here: what follows is what it does with the data, by tar, and says nothing of dependencies.
            for name in ("mlvpn", "luci-app-mlvpn"):
                data, _ = self.unpack(self.package(name), "data")
                shutil.copytree(data, root, symlinks=True, dirs_exist_ok=True)
            self.check_root(root)
            self.skipTest("no opkg (OPKG names one): unpacked by tar instead, dependencies not resolved")
        feed = self.place / "feed"
        stand_ins = self.stand_ins()
        shutil.copytree(self.feed, feed)
        with gzip.open(feed / "Packages.gz", "wt") as file:
            file.write(stand_ins + (self.feed / "Packages").read_text())
        for path in ("usr/lib/opkg", "var/lock", "tmp", "etc"):
            (root / path).mkdir(parents=True)
        conf = self.place / "opkg.conf"
        conf.write_text(f"dest root /\nlists_dir ext /var/opkg-lists\nsrc/gz mlvpn file://{feed}\n"
                        "arch all 1\narch noarch 1\narch mips_24kc 10\n")
        opkg = [OPKG, "-o", root, "-f", conf]
        subprocess.run([*opkg, "update"], check=True, capture_output=True)
        done = subprocess.run([*opkg, "install", "mlvpn", "luci-app-mlvpn"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done)
        self.check_root(root)
        installed = subprocess.run([*opkg, "list-installed"], capture_output=True, text=True, check=True).stdout
        for name in ("mlvpn - 0.1.0-r1", "luci-app-mlvpn - 0.1.0-r1", "kmod-tun - 1"):
            self.assertIn(name, installed)
        # A changed configuration survives a removal and what belongs to the package does not.
        (root / "etc/config/mlvpn").write_text("config tunnel 'mine'\n")
        subprocess.run([*opkg, "remove", "luci-app-mlvpn", "mlvpn"], check=True, capture_output=True)
        self.assertEqual((root / "etc/config/mlvpn").read_text(), "config tunnel 'mine'\n")
        self.assertFalse((root / "usr/sbin/mlvpnd").exists())

    def test_apks_tool_is_asked_for_what_openwrt_expects(self):
        # A stand-in that keeps what it is given, for where apk-tools 3 is not: Debian has none.
        apk = self.place / "apk"
        apk.write_text('#!/bin/sh\nprintf "%s\\n" "$@" >> "$0.calls"\nwhile [ $# -gt 1 ]; do\n'
                       '\tcase "$1" in --files) cp -R "$2" "$0.root.$$" ;; --output) : >"$2" ;; esac\n\tshift\ndone\n')
        apk.chmod(0o755)
        self.build("third", APK=str(apk))
        calls = apk.with_suffix(".calls").read_text()
        for word in ("mkpkg", "name:mlvpn", "version:0.1.0-r1", "arch:mips_24kc", "arch:noarch", "depends:libc kmod-tun"):
            self.assertIn(f"{word}\n", calls)
        root = next(path for path in self.place.glob("apk.root.*") if (path / "usr/sbin/mlvpnd").exists())
        lists = root / "lib/apk/packages"
        self.assertIn("/etc/init.d/mlvpn\n", (lists / "mlvpn.list").read_text())
        digest = hashlib.sha256((FILES / "etc/config/mlvpn").read_bytes()).hexdigest()
        self.assertEqual((lists / "mlvpn.conffiles_static").read_text(), f"/etc/config/mlvpn {digest}\n")
        self.assertEqual((lists / "mlvpn.rusers").read_text(), "mlvpn=:mlvpn=\n")


    @unittest.skipUnless(APK and os.getuid() == 0, "there is no apk-tools 3 (APK names one), or this is not root")
    def test_the_users_first_command_works_with_apk(self):
        feed, again = (self.build(name, APK=APK) / "mips_24kc" for name in ("apk-feed", "apk-feed-again"))
        made = sorted(feed.glob("*.apk"))
        self.assertEqual([place.name for place in made], [
            "luci-app-mlvpn-0.1.0-r1.apk", "luci-i18n-mlvpn-de-0.1.0-r1.apk", "mlvpn-0.1.0-r1.apk"])
        for place in [*made, feed / "packages.adb"]:
            self.assertEqual(place.read_bytes(), (again / place.name).read_bytes(), place.name)
        for name in ("libc", "kmod-tun", "luci-base"):
            words = [word for fact in (f"name:{name}", "version:1", "arch:noarch") for word in ("--info", fact)]
            subprocess.run([APK, "mkpkg", *words, "--output", feed / f"{name}-1.apk"], check=True, capture_output=True)
        index = feed / "packages.adb"
        subprocess.run([APK, "mkndx", "--allow-untrusted", "--output", index, *feed.glob("*.apk")], check=True, capture_output=True)
        root = self.place / "apk-root"
        apk = [APK, "--root", root, "--arch", "mips_24kc", "--allow-untrusted"]
        change = [*apk, "--no-scripts", "--repository", index]
        done = subprocess.run([*change, "--initdb", "add", "mlvpn", "luci-app-mlvpn"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done)
        self.check_root(root)
        told = subprocess.run([*apk, "info", "--verbose"], capture_output=True, text=True, check=True).stdout
        self.assertIn("mlvpn-0.1.0-r1\n", told)
        self.assertEqual((root / "lib/apk/packages/mlvpn.rusers").read_text(), "mlvpn=:mlvpn=\n")
        subprocess.run([*change, "del", "luci-app-mlvpn", "mlvpn"], check=True, capture_output=True)
        self.assertFalse((root / "usr/sbin/mlvpnd").exists())


class FeedMakefiles(unittest.TestCase):
    def test_they_say_what_the_workspace_says(self):
        version = re.search(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.M)[1]
        for name in ("mlvpn", "luci-app-mlvpn"):
            text = (ROOT / "openwrt-package" / name / "Makefile").read_text()
            self.assertIn(f"PKG_VERSION:={version}\n", text)
            self.assertIn("PKG_LICENSE:=BSD-2-Clause\n", text)

    def test_the_daemons_parses_and_installs_with_openwrts_words(self):
        """GNU make reads the Makefile, with OpenWrt's includes and macros replaced by what shows their arguments."""
        if not shutil.which("make"):
            self.skipTest("make is not installed")
        with tempfile.TemporaryDirectory() as folder:
            top = pathlib.Path(folder)
            for path, text in {
                "rules.mk": "INSTALL_DIR:=mkdir -p\nINSTALL_BIN:=install -m 755\nCP:=cp -fpR\nLN:=ln -sf\nPKG_INSTALL_DIR:=$(TOPDIR)/built\n",
                "include/package.mk": "define BuildPackage\n$(eval all: ; $$(call Package/$(1)/install,$$(TOPDIR)/out))\nendef\n",
                "feeds/packages/lang/rust/rust-package.mk": "RustBinPackage=\nRUST_ARCH_DEPENDS:=@rust\n",
            }.items():
                (top / path).parent.mkdir(parents=True, exist_ok=True)
                (top / path).write_text(text)
            (top / "built/bin").mkdir(parents=True)
            (top / "built/bin/mlvpnd").write_bytes(PROGRAM)
            (top / "out").mkdir()
            done = subprocess.run(["make", "-C", ROOT / "openwrt-package/mlvpn", f"TOPDIR={top}", f"INCLUDE_DIR={top}/include", "all"],
                                  capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            installed = {path.relative_to(top / "out").as_posix() for path in (top / "out").rglob("*") if not path.is_dir()}
            wanted = {path.relative_to(FILES).as_posix() for path in FILES.rglob("*") if path.is_file()}
            self.assertEqual(installed, wanted | {"usr/sbin/mlvpn", "usr/sbin/mlvpnd"})
            self.assertEqual(stat.S_IMODE((top / "out/etc/config/mlvpn").stat().st_mode), 0o600)


if __name__ == "__main__":
    unittest.main()
