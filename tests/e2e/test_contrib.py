# SPDX-License-Identifier: MIT
"""Profiles for AppArmor, SELinux and systemd: the tools that load them find nothing wrong."""
import os
import subprocess

from lab.program import ROOT

CONTRIB = os.path.join(ROOT, "contrib")


def check(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_apparmor():
    folder = os.path.join(CONTRIB, "apparmor")
    out = check("/sbin/apparmor_parser", "--skip-kernel-load", "--skip-cache", "--base", "/etc/apparmor.d", "--Include", folder, "--debug",
                os.path.join(folder, "usr.bin.passt"))
    assert "passt" in out and "/{passt,pasta}{,.avx2}" in out


def test_selinux(tmp_path):
    folder = os.path.join(CONTRIB, "selinux")
    check("checkmodule", "-M", "-m", "-o", tmp_path / "passt.mod", os.path.join(folder, "passt.te"))
    check("semodule_package", "-o", tmp_path / "passt.pp", "-m", tmp_path / "passt.mod", "-f", os.path.join(folder, "passt.fc"))
    assert (tmp_path / "passt.pp").stat().st_size > 1000


def test_systemd(tmp_path):
    """It looks for the program, too; it says what it does not understand, and goes on."""
    with open(os.path.join(CONTRIB, "systemd", "passt@.service.in"), encoding="ascii") as f:
        text = f.read()
    unit = tmp_path / "passt@one.service"
    unit.write_text(text.replace("@BINDIR@/passt", "/bin/true"))
    out = check("systemd-analyze", "verify", "--man=no", unit)
    assert not [line for line in out.splitlines() if "passt@one" in line], out
