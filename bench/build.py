# SPDX-License-Identifier: MIT
"""The program that is measured."""
import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def build():
    """The release build of this tree, unless $PASST names a program."""
    if os.environ.get("PASST"):
        return
    folder = os.path.join(ROOT, "build-bench")
    quiet = {"check": True, "stdout": subprocess.DEVNULL}
    if not os.path.exists(os.path.join(folder, "build.ninja")):
        subprocess.run(["meson", "setup", folder, ROOT, "--buildtype=release", "-Dtests=false"], **quiet)
    subprocess.run(["ninja", "-C", folder], **quiet)
    os.environ["PASST"] = os.path.join(folder, "src", "bin", "passt")


def output(*argv):
    """What a command says, in one line; nothing if there is none."""
    try:
        return " ".join(subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT).stdout.split())
    except OSError:
        return ""


def version():
    return output("git", "describe", "--always", "--dirty", "--abbrev=10")
