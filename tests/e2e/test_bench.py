# SPDX-License-Identifier: MIT
"""
bench/run in small: every kind of row gives a figure, for pasta and for the direct path, and what comes out can be read. The figures
themselves are not judged here.
"""
import json
import os
import subprocess
import xml.etree.ElementTree

import pytest
from lab import netns
from lab.program import ROOT, binary

RUN = os.path.join(ROOT, "bench", "run")
ROWS = {
    "tcp/down/1/1500/v6": ["gbps", "retransmissions"],
    "loop/up/1/v4": ["gbps"],
    "udp/small/up/v4": ["kpps", "lost"],
    "udp/gso/up/v6": ["gbps", "lost"],
    "udp/bulk/down/v4": ["gbps", "lost"],
    "rr/tcp/v6": ["median_us", "p99_us"],
    "rr/udp/loop/v4": ["median_us", "p99_us"],
    "fair/up/v4": ["median_us", "alone_us"],
    "crr/v4": ["per_s"],
    "in/tcp/up/1/1500/v6": ["gbps", "retransmissions"],
    "in/crr/v4": ["per_s"],
    "calls/rr/tcp": ["calls"],
    "memory/1000": ["rss_mib", "idle_cpu"],
    "start/ready": ["ms"],
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The result of one run, as JSON, and its directory."""
    out = tmp_path_factory.mktemp("bench")
    argv = [netns.PYTHON, RUN, "--quick", "--rounds", "1", "--only", "direct,pasta,passt", "--rows", ",".join(ROWS), "--out", str(out)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False, env={**os.environ, "PASST": binary()})
    assert done.returncode == 0, done.stdout + done.stderr
    with open(out / "results.json", encoding="utf-8") as f:
        return json.load(f), out


@pytest.mark.usefixtures("tun")
def test_every_row_has_figures(results):
    got, _ = results
    measured = {(r["row"], r["candidate"]): r["samples"][0] for r in got["results"]}
    for row, metrics in ROWS.items():
        assert (row, "pasta") in measured
        for who in {"direct", "pasta", "passt"} & {c for r, c in measured if r == row}:
            sample = measured[row, who]
            assert all(isinstance(sample[m], (int, float)) for m in metrics), sample
            assert sample[metrics[0]] > 0
    assert {c for r, c in measured if r == "rr/tcp/v6"} == {"direct", "pasta"}
    assert {c for r, c in measured if r == "start/ready"} == {"pasta", "passt"}


@pytest.mark.usefixtures("tun")
def test_matrix(tmp_path):
    """bench/matrix: one case of it, and the table."""
    argv = [netns.PYTHON, os.path.join(ROOT, "bench", "matrix"), "--soak", "0", "--only", "gain_of_timestamps and v6", "--out", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False, env={**os.environ, "PASST": binary()})
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (tmp_path / "matrix.md").read_text().splitlines()
    assert [line.split("|")[1:3] for line in lines if line.startswith("| test_")] == [[" test_gain_of_timestamps[v6] ", " passed "]]


@pytest.mark.usefixtures("tun")
def test_targets(results):
    """Those that can be judged are, by the rows of this run; the others say that they were not measured."""
    got, out = results
    by = {t["figure"]: t for t in got["targets"]}
    calls = next(r["samples"][0]["calls"] for r in got["results"] if r["row"] == "calls/rr/tcp")
    judged = by["system calls per request-response"]
    assert judged["reached"] == pytest.approx(calls, abs=0.01) and judged["good"] == (calls <= 8)
    assert by["short connections per second"]["good"] is None
    assert "| short connections per second | 0.6 x direct |  | not measured |" in (out / "results.md").read_text()


@pytest.mark.usefixtures("tun")
def test_plots(results):
    """One for each group of rows, with a bar for each figure."""
    _, out = results
    plots = [f for f in os.listdir(out) if f.endswith(".svg")]
    assert "tcp.svg" in plots and "memory.svg" in plots
    for name in plots:
        assert f"({name})" in (out / "results.md").read_text()
        assert len(xml.etree.ElementTree.parse(out / name).findall(".//{*}rect")) >= 3


def test_wrong_usage():
    for argv, text in (["--rows", "nothing"], "no row"), (["--only", "nobody"], "no such candidate"):
        done = subprocess.run([netns.PYTHON, RUN, *argv], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode and text in done.stderr
