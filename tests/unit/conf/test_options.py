# SPDX-License-Identifier: MIT
"""The options of the program, of its help and of its manual page are the same; and what programs that start it look for in its output.

The program is $PASST, or passt in the build folder named by $BUILD_DIR (default: build).
"""
import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
PASST = pathlib.Path(os.environ.get("PASST") or ROOT / os.environ.get("BUILD_DIR", "build") / "src/bin/passt")
TABLE = ROOT / "src/conf/opt.c"
MAN = ROOT / "doc/passt.1.scd"


def run(*args):
    return subprocess.run([PASST, *args], capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)


def in_table(mode):
    """{long name: (letter or None, takes a value)} of the entries of the option table for a mode."""
    found = {}
    text = TABLE.read_text()
    for m in re.finditer(r'^\t\{ "([a-z0-9-]+)",\s+(0|\'.\'),\s+(IN_\w+)(,\s+"[^"]+")?', text, re.M):
        if m[3] in (mode, "IN_BOTH"):
            found[m[1]] = (None if m[2] == "0" else m[2][1], bool(m[4]))
    return found


def in_help():
    found = {}
    for m in re.finditer(r"^  (?:-(.), |    )--([a-z0-9-]+)( [A-Z]\S*)? ", run("--help").stdout, re.M):
        found[m[2]] = (m[1], bool(m[3]))
    return found


def in_man():
    found = {}
    options = MAN.read_text().split("# OPTIONS")[1].split("\n# ")[0]
    for line in options.splitlines():
        if not line.startswith("*-"):
            continue
        letter = None
        for m in re.finditer(r"\*--?([A-Za-z0-9-]+)\*(?: (_[^ ,]+))?", line):
            if len(m[1]) == 1:
                letter = m[1]
                continue
            found[m[1]] = (letter, bool(m[2]))
            letter = None
    return found


def test_same_everywhere():
    table = in_table("IN_PASST")
    assert len(table) > 40
    assert in_help() == table
    assert in_man() == table


def test_help_and_version():
    r = run("--help")
    assert (r.returncode, r.stderr) == (0, "")
    assert r.stdout.startswith("Usage: passt ")
    assert max(map(len, r.stdout.splitlines())) < 150
    assert run("-h").stdout == r.stdout
    r = run("--version")
    assert (r.returncode, r.stderr) == (0, "")
    assert re.fullmatch(r"passt \d\S*", r.stdout.splitlines()[0])


def test_unknown_option():
    r = run("--no-such-option", "--version")
    assert (r.returncode, r.stdout) == (1, "")
    assert "passt: unrecognized option '--no-such-option'\n" in r.stderr
    assert r.stderr.endswith(run("--help").stdout)


@pytest.mark.parametrize("name", sorted(set(in_table("IN_PASTA")) - set(in_table("IN_PASST"))))
def test_other_mode(name):
    value = ["1"] if in_table("IN_PASTA")[name][1] else []
    r = run(f"--{name}", *value)
    assert (r.returncode, r.stdout, r.stderr) == (1, "", f"--{name} is for pasta mode only\n")


@pytest.mark.parametrize(
    "args, message",
    [
        ("-a 10.0.0.300", "Invalid address: 10.0.0.300 (--address)"),
        ("-a 10.0.0.1/8 -n 8", "Redundant prefix length specification (--address, --netmask)"),
        ("-m 65522", "MTU 65522 too large (max 65521)"),
        ("--runas no-such-user", "Invalid --runas option: no-such-user"),
        ("--log-size 1", "Invalid --log-size: 1 (minimum 40960 bytes)"),
        ("-i no-such-dev", "Invalid interface name: no-such-dev (--interface): No such device"),
        ("word", "Extra non-option argument: word"),
        ("-4 -6", "Options --ipv4-only and --ipv6-only exclude each other"),
        ("--no-udp -u 53", "Port forwarding of UDP, but UDP is disabled: -u 53"),
    ],
)
def test_one_clear_line(args, message):
    r = run("-q", *args.split())
    assert (r.returncode, r.stdout, r.stderr) == (1, "", message + "\n")
