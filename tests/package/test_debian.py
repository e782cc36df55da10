# SPDX-License-Identifier: BSD-2-Clause
"""The Debian package: what is in it, and that dpkg installs and removes it in a root of its own."""

import os
import pathlib
import shutil
import stat
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LINUX = ROOT / "port-linux"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
PROGRAM = TARGET / "debug/mlvpn"


def run(*command, **options):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True, **options).stdout


@unittest.skipUnless(shutil.which("dpkg-deb") and shutil.which("objdump"), "there is no dpkg-deb, or no objdump")
@unittest.skipUnless(PROGRAM.exists(), f"there is no {PROGRAM}: cargo build")
class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.place = pathlib.Path(folder.name)
        cls.package = cls.build("first")
        cls.files = cls.place / "files"
        run("dpkg-deb", "-R", cls.package, cls.files)

    @classmethod
    def build(cls, name, program=PROGRAM, **variables):
        (cls.place / name).mkdir()
        environment = {**os.environ, "SOURCE_DATE_EPOCH": "1750000000", **variables}
        built = run(LINUX / "debian/build.sh", program, cls.place / name, env=environment)
        return pathlib.Path(built.strip())

    def test_the_same_program_gives_the_same_bytes(self):
        # A small one: what it is does not matter.
        one = self.build("one", shutil.which("true"))
        old = os.umask(0o077)
        try:
            other = self.build("other", shutil.which("true"), TZ="Asia/Tokyo", LC_ALL="C.UTF-8")
        finally:
            os.umask(old)
        self.assertEqual(one.read_bytes(), other.read_bytes())

    def test_everything_is_roots_and_only_the_administrators_where_it_must_be(self):
        listed = [line.split(None, 5) for line in run("dpkg-deb", "-c", self.package).splitlines()]
        self.assertEqual({owner for _, owner, *_ in listed}, {"root/root"})
        modes = {path.removeprefix("./"): mode for mode, *_, path in listed}
        self.assertEqual(modes["usr/sbin/mlvpn"], "-rwxr-xr-x")
        self.assertEqual((modes["etc/mlvpn/"], modes["etc/mlvpn/updown.sh"]), ("drwx------", "-rwx------"))
        self.assertEqual(modes["usr/lib/systemd/system/mlvpn@.service"], "-rw-r--r--")

    def test_the_libraries_it_asks_for_are_those_the_program_needs(self):
        depends = run("dpkg-deb", "-f", self.package, "Depends")
        needed = run("objdump", "-p", PROGRAM)
        self.assertEqual("libc6 (>= " in depends, "libc.so.6" in needed, depends)
        self.assertEqual("libgcc-s1" in depends, "libgcc_s" in needed, depends)

    def test_the_example_pair_is_one_that_runs(self):
        """Of both nothing is said, and each holds the other's key."""
        keys, peers = {}, {}
        for name in ["server", "client"]:
            conf = self.place / f"{name}.conf"
            text = (LINUX / f"debian/examples/{name}.conf").read_text()
            conf.write_text(text)
            conf.chmod(0o600)
            checked = subprocess.run([PROGRAM, "check", conf], capture_output=True, text=True)
            self.assertEqual((checked.returncode, checked.stderr), (0, ""), checked.stdout)
            values = dict(line.split(" = ", 1) for line in text.splitlines() if " = " in line)
            keys[name] = run(PROGRAM, "pubkey", input=values["private_key"].strip('"') + "\n").strip()
            peers[name] = values["public_key"].strip('"')
        self.assertEqual((keys["server"], keys["client"]), (peers["client"], peers["server"]))

    def test_the_unit_runs_what_the_package_has(self):
        unit = (self.files / "usr/lib/systemd/system/mlvpn@.service").read_text()
        for line in unit.splitlines():
            if line.startswith(("ExecStart=", "ExecStartPre=")):
                self.assertTrue((self.files / line.split("=", 1)[1].split()[0].lstrip("/")).exists(), line)
        start = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
        options = run(PROGRAM, "--help")
        for word in start.split():
            if word.startswith("--"):
                self.assertIn(word, options)
        users = (self.files / "usr/lib/sysusers.d/mlvpn.conf").read_text()
        self.assertIn("\nu mlvpn ", users)
        self.assertIn("--user mlvpn", start)

    @unittest.skipUnless(shutil.which("systemd-analyze"), "there is no systemd-analyze")
    def test_systemd_takes_the_unit_and_finds_it_shut(self):
        unit = self.files / "usr/lib/systemd/system/mlvpn@.service"
        copy = self.place / "mlvpn@office.service"
        copy.write_text(unit.read_text())
        told = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", copy], capture_output=True, text=True)
        last = told.stdout.strip().splitlines()[-1]
        self.assertIn("Overall exposure level", last, told.stderr)
        exposure = float(last.split(": ")[1].split()[0])
        print(last.strip("→ "))
        # CAP_NET_ADMIN, setuid and the status command's /proc/sys cost the rest. An unconfined service has 9.6.
        self.assertLess(exposure, 4.5)
        self.assertNotIn("Unknown key", told.stderr)

    @unittest.skipUnless(shutil.which("lintian"), "there is no lintian")
    def test_lintian_finds_no_error(self):
        told = subprocess.run(["lintian", "--no-cfg", "--fail-on", "error", self.package], capture_output=True, text=True)
        print(told.stdout.strip())
        self.assertEqual(told.returncode, 0, told.stdout + told.stderr)

    @unittest.skipUnless(os.geteuid() == 0 if hasattr(os, "geteuid") else False, "dpkg installs as root only")
    def test_it_is_installed_and_removed_and_leaves_nothing_but_what_is_the_administrators(self):
        root = self.place / "root"
        for folder in ["var/lib/dpkg/updates", "var/lib/dpkg/info", "etc"]:
            (root / folder).mkdir(parents=True)
        (root / "var/lib/dpkg/status").touch()
        (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
        (root / "etc/group").write_text("root:x:0:\n")

        def dpkg(*arguments):
            # Nothing but this package is there, so what it depends on is not.
            forced = ["--force-depends", "--force-script-chrootless", "--force-bad-path"]
            return run("dpkg", f"--root={root}", f"--log={self.place}/dpkg.log", *forced, *arguments)

        dpkg("--install", self.package)
        self.assertIn("install ok installed", run("dpkg-query", f"--admindir={root}/var/lib/dpkg", "-s", "mlvpn"))
        self.assertTrue((root / "usr/sbin/mlvpn").exists())
        if shutil.which("systemd-sysusers"):
            self.assertIn("\nmlvpn:", (root / "etc/passwd").read_text())
        updown = root / "etc/mlvpn/updown.sh"
        self.assertEqual(stat.S_IMODE(updown.stat().st_mode), 0o700)
        # A change of the administrator's, and a tunnel of theirs.
        updown.write_text(updown.read_text() + "# mine\n")
        (root / "etc/mlvpn/office.conf").write_text("[general]\n")
        dpkg("--install", "--force-confold", self.package)
        self.assertIn("# mine", updown.read_text())
        dpkg("--remove", "mlvpn")
        self.assertTrue(updown.exists(), "conffiles stay until the package is purged")
        self.assertFalse((root / "usr/sbin/mlvpn").exists())
        dpkg("--purge", "mlvpn")
        left = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
        ours = {path for path in left if "mlvpn" in path and not path.startswith("var/lib/dpkg/")}
        self.assertEqual(ours, {"etc/mlvpn/office.conf"})


if __name__ == "__main__":
    unittest.main()
