# SPDX-License-Identifier: MIT
"""What an installation consists of, and shell completions: every option, each with the right kind of value.

The build folder is $BUILD_DIR (default: build).
"""
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("BUILD_DIR") or ROOT / "build").resolve()

PROGRAMS = ["passt", "pesto", "qrap"]
WANTED = {
    "bin": [*PROGRAMS, "pasta"],
    "libexec": ["vhost-user-passt"],
    "share/bash-completion/completions": ["passt", "pasta", "pesto"],
    "share/zsh/site-functions": ["_passt", "_pasta", "_pesto"],
    "share/fish/vendor_completions.d": ["passt.fish", "pasta.fish", "pesto.fish"],
    "share/qemu/vhost-user": ["50-passt.json"],
    "share/man/man1": ["passt.1", "pasta.1", "pesto.1", "qrap.1"],
    "lib/systemd/system": ["passt@.service"],
}


def options():
    """Of the build folder, {name: value}."""
    said = subprocess.run(["meson", "introspect", "--buildoptions", BUILD], capture_output=True, text=True, check=True).stdout
    return {o["name"]: o["value"] for o in json.loads(said)}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The prefix of an installation, below a folder of ours."""
    dest = tmp_path_factory.mktemp("dest")
    done = subprocess.run(["meson", "install", "--no-rebuild", "-C", BUILD, "--destdir", dest], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return dest / options()["prefix"].lstrip("/")


def test_files(tree):
    there = {str(p.relative_to(tree)) for p in tree.rglob("*") if not p.is_dir()}
    wanted = {f"{folder}/{name}" for folder, names in WANTED.items() for name in names}
    if not shutil.which("scdoc"):
        wanted = {w for w in wanted if "/man/" not in w}
    assert there == wanted


def test_programs(tree):
    assert os.readlink(tree / "bin/pasta") == "passt"
    prefix = options()["prefix"]
    assert os.readlink(tree / "libexec/vhost-user-passt") == f"{prefix}/bin/passt"
    for name in ["passt", "pasta", "pesto"]:
        said = subprocess.run([tree / "bin" / name, "--version"], capture_output=True, text=True, check=True)
        assert re.match(rf"{name} \d", said.stdout) and said.stderr == ""
    assert f"ExecStart={prefix}/bin/passt " in (tree / "lib/systemd/system/passt@.service").read_text()
    assert json.loads((tree / "share/qemu/vhost-user/50-passt.json").read_text())["binary"] == f"{prefix}/libexec/vhost-user-passt"


# Completions.


def names(tree, program):
    said = subprocess.run([tree / "bin" / program, "--help"], capture_output=True, text=True, check=True).stdout
    return re.findall(r"^  (?:-(.), |    )--([a-z0-9-]+)", said, re.M)


def bash(tree, *words):
    """What bash offers for the last of the words of a command line."""
    script = ('. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); "_$1"; printf "%s\\n" "${COMPREPLY[@]}"')
    path = tree / "share/bash-completion/completions" / words[0]
    done = subprocess.run(["bash", "-c", script, "bash", path, *words], capture_output=True, text=True, check=False, cwd=tree)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize("program", ["passt", "pasta", "pesto"])
def test_every_option(tree, program):
    offered = bash(tree, program, "-")
    zsh = (tree / f"share/zsh/site-functions/_{program}").read_text()
    fish = (tree / f"share/fish/vendor_completions.d/{program}.fish").read_text()
    assert zsh.startswith(f"#compdef {program}\n")
    assert len(names(tree, program)) > 10
    for letter, name in names(tree, program):
        assert f"--{name}" in offered and f"--{name}" in zsh and f" -l {name} " in fish
        if letter:
            assert f"-{letter}" in offered and f"{{-{letter},--{name}" in zsh and f" -s {letter} -l {name} " in fish


@pytest.mark.parametrize(
    "words,offered",
    [
        (["passt", "--map-"], ["--map-host-loopback", "--map-guest-addr"]),
        (["passt", "--interface", "l"], ["lo"]),
        (["passt", "-i", "l"], ["lo"]),
        (["passt", "--outbound-if4", "=", "l"], ["lo"]),
        (["passt", "--mtu", ""], []),
        (["passt", "-l", "sha"], ["share"]),
        (["passt", "-q", "sha"], []),
        (["pesto", "fl"], ["flows"]),
        (["pesto", "flows", "--wa"], ["--watch"]),
        (["pesto", "-C", "H"], ["HOST"]),
        (["pesto", "flows", "sha"], ["share"]),
    ],
    ids=lambda v: " ".join(v),
)
def test_bash(tree, words, offered):
    assert bash(tree, *words) == offered


def test_bash_command(tree):
    assert "true" in bash(tree, "pasta", "--config-net", "tru")
