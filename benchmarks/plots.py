"""Pictures of kept results, for docs/performance.md.

    python -m benchmarks.plots

Measures nothing: it draws what lies in `benchmarks/results/`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

RESULTS = Path(__file__).parent / "results"
PLOTS = Path(__file__).parents[1] / "docs/plots"


def main() -> None:
    """Draw all of them."""
    # Equal results give equal files.
    plt.rcParams.update({"svg.hashsalt": "batch-reranker", "font.size": 9, "axes.titlesize": 9})
    PLOTS.mkdir(exist_ok=True)
    _draw("size", plot_sizes, _read("memory-1m-2core"))
    peers = [_read(f"peers-{shape}-2core-no-amx") for shape in ("minilm", "gemma")]
    _draw("peers", plot_peers, *peers)


def plot_sizes(axes: list[Axes], result: dict[str, Any]) -> None:
    """Throughput and peak memory over the number of rows of an input."""
    sizes = result["sizes"]
    rows = [size["rows"] for size in sizes]
    rate, memory = axes
    rate.plot(rows, [size["pairs_per_second"] for size in sizes], "o-")
    rate.set(ylabel="pairs/s while scoring", title=f"Throughput ({_where(result)})")
    for who in ("driver", "replica"):
        peaks = [max(size[f"{who}_mib"].values()) for size in sizes]
        memory.plot(rows, peaks, "o-", label=who)
    memory.set(ylabel="MiB", title="Peak memory")
    memory.legend()
    for axis in axes:
        axis.set(xscale="log", xlabel="rows of the input")
        axis.set_ylim(bottom=0)


def plot_peers(axes: list[Axes], *results: dict[str, Any]) -> None:
    """The share of the rate of bare matrix products that each reaches, tokenizing included."""
    for axis, result in zip(axes, results, strict=True):
        contestants = result["contestants"]
        bars = axis.barh(
            list(contestants), [found["share_of_ceiling"] for found in contestants.values()]
        )
        axis.bar_label(
            bars, [f" {found['pairs_per_second']} pairs/s" for found in contestants.values()]
        )
        axis.set(xlim=(0, 1), xlabel="share of the rate of bare matrix products")
        axis.set_title(f"{result['shape']}, {result['dtype']} ({_where(result)})")
        axis.invert_yaxis()


def _draw(name: str, plot: Any, *results: dict[str, Any]) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(10, 3), layout="constrained")
    plot(list(axes), *results)
    figure.savefig(PLOTS / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


def _where(result: dict[str, Any]) -> str:
    amx = "with AMX" if result["amx_bf16"] else "no AMX"
    return f"{result['cores']} cores, {amx}, commit {result['commit']}"


def _read(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text())


if __name__ == "__main__":
    main()
