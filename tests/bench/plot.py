"""The picture: CPU of one sample over the number of sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Mapping, Sequence

import matplotlib
from matplotlib.figure import Figure

STYLES = {
    "agent SDK": ("AWS agent SDK", "#b5485d", "s", "-"),
    "psutil": ("psutil.net_connections", "#c98a2b", "^", "-"),
    "baseline": ("the baseline build", "#7a4fa3", "x", ":"),
    "connector": ("this connector", "#1f6fb4", "o", "-"),
    "floor": ("floor: only reading the kernel's tables", "#707070", "", "--"),
}


def plot(sizes: Sequence[int], seconds: Mapping[str, Sequence[float]], path: Path) -> None:
    """Draw the CPU seconds of a sample, by tool, over the sizes, both axes logarithmic."""
    matplotlib.rcParams.update({"svg.hashsalt": "bench", "font.size": 11})  # the same figures give the same file
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    axes = figure.add_subplot()
    for tool, (label, color, marker, line) in STYLES.items():
        if tool not in seconds:
            continue
        milliseconds = [1000 * value for value in seconds[tool]]
        width = 2.4 if tool == "connector" else 1.6
        axes.plot(sizes, milliseconds, label=label, color=color, marker=marker, linestyle=line, linewidth=width)
        if tool != "floor":
            ratio = seconds[tool][-1] / seconds["floor"][-1]
            text = f"{ratio:,.{1 if ratio < 10 else 0}f}x the floor"
            axes.annotate(
                text, (sizes[-1], milliseconds[-1]), (8, 0), textcoords="offset points", va="center", color=color
            )
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(sizes[0] * 0.7, sizes[-1] * 6),
        xlabel="established TCP sockets",
        ylabel="CPU of one sample, ms",
    )
    axes.grid(visible=True, which="major", color="#dddddd")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False, loc="upper left")
    figure.savefig(path, metadata={"Date": None})
