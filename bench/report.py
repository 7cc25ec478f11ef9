# SPDX-License-Identifier: MIT
"""Results as JSON, as tables and as plots."""
import json
import os
import re
import statistics

import plot
import targets
from nets import DIRECT
from rows import METRICS


def number(value, metric):
    return f"{value:,.{METRICS[metric][2]}f}"


def line(got):
    """One measurement in a line."""
    if "error" in got:
        return "failed: " + " ".join(got["error"].split())[:160]
    return ", ".join(f"{number(v, k)} {METRICS[k][1] or k}" for k, v in got.items() if k in METRICS)


class Results:
    """about: machine and run. Every measurement is kept; tables show medians over the rounds."""

    def __init__(self, about, labels):
        self.about = about
        self.labels = labels
        self.groups = {}
        self._samples = {}

    def add(self, n, row, name, got):
        self.groups.setdefault(row.group, {})[row.name] = row
        self._samples.setdefault((row.name, name), []).append({"round": n + 1, **got})

    def values(self, row, name, metric):
        return [s[metric] for s in self._samples.get((row, name), []) if metric in s]

    def median(self, row, name, metric):
        values = self.values(row, name, metric)
        return statistics.median(values) if values else None

    def worst(self, row, name, metric):
        return max(self.values(row, name, metric), default=None)

    def failures(self, row, name):
        return [s["error"] for s in self._samples.get((row, name), []) if "error" in s]

    def failed(self, names):
        """Whether a measurement of one of these failed."""
        return any("error" in s for (_, name), samples in self._samples.items() if name in names for s in samples)

    def metrics(self, group):
        """Those that rows of the group have, the first one first."""
        found = {m: None for (row, _), samples in self._samples.items() if row in self.groups[group] for s in samples for m in s if m in METRICS}
        return list(found)

    def names(self, group, metric):
        """Candidates that a table has columns for."""
        return [n for n in self.labels if any(self.values(r, n, metric) or self.failures(r, n) for r in self.groups[group])]

    def as_json(self):
        samples = [{"row": row, "candidate": name, "samples": got} for (row, name), got in self._samples.items()]
        return {"about": self.about, "targets": target_list(self), "results": samples}


def target_list(results):
    out = []
    for t in targets.TARGETS:
        reached = t.reached(results)
        entry = {"figure": t.figure, "must reach": t.words(), "reached": None, "good": None}
        if reached:
            entry.update({"reached": round(reached[0], 3), "row": reached[1], "good": t.good(reached[0])})
        out.append(entry)
    return out


def markdown(header, body):
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *body]) + "\n"


def target_table(results):
    body = []
    for t in target_list(results):
        verdict = "not measured" if t["good"] is None else "yes" if t["good"] else f"no, {t['row']}" if "/" in t["row"] else "no"
        body.append([t["figure"], t["must reach"], "" if t["reached"] is None else f"{t['reached']:g}", verdict])
    return markdown(["figure", "must reach", "reached", "good"], body)


def cell(results, row, name, metric):
    value, base = results.median(row, name, metric), results.median(row, DIRECT, metric)
    if value is None:
        return "failed" if results.failures(row, name) else ""
    ratio = f" ({value / base:.2f})" if base and name != DIRECT and metric not in ("retransmissions", "lost") else ""
    return number(value, metric) + ratio + (" (some failed)" if results.failures(row, name) else "")


def group_tables(results, group):
    out = []
    for metric in results.metrics(group):
        names = results.names(group, metric)
        rows = [r for r in results.groups[group] if any(results.values(r, n, metric) for n in names)]
        title, unit, _ = METRICS[metric]
        header = [title + (f", {unit}" if unit else "")] + [results.labels[n] for n in names]
        out.append(markdown(header, [[r] + [cell(results, r, n, metric) for n in names] for r in rows]))
    return out


def text(results):
    """The whole report."""
    parts = ["# Results of the bench\n", markdown(["", ""], [[k, str(v)] for k, v in results.about.items()])]
    parts.append("Medians over the rounds. In parentheses: divided by the direct path of the same run. Client, server and the program\n"
                 f"shared {results.about['processors']} processors; so did client and server on the direct path.\n")
    if results.about["load before"] > 0.5:
        parts.append(f"**The machine was busy with other things when this began (load {results.about['load before']}): rough figures.**\n")
    parts += ["## Targets\n", target_table(results)]
    for group in results.groups:
        parts += [f"## {group}\n", f"![{group}]({plot_name(group)})\n", *group_tables(results, group)]
    return "\n".join(parts)


def plot_name(group):
    return re.sub(r"[^a-z0-9]+", "-", group.lower()) + ".svg"


def write(results, folder):
    with open(os.path.join(folder, "results.json"), "w", encoding="utf-8") as f:
        json.dump(results.as_json(), f, indent=1)
        f.write("\n")
    with open(os.path.join(folder, "results.md"), "w", encoding="utf-8") as f:
        f.write(text(results))
    for group, rows in results.groups.items():
        metrics = results.metrics(group)
        if not metrics:
            continue
        names = results.names(group, metrics[0])
        bars = {r: {n: results.median(r, n, metrics[0]) for n in names} for r in rows}
        title, unit, _ = METRICS[metrics[0]]
        with open(os.path.join(folder, plot_name(group)), "w", encoding="utf-8") as f:
            f.write(plot.bars(f"{group}: {title}, {unit}", bars, {n: results.labels[n] for n in names}))
