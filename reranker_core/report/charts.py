"""Charts as SVG in a page: no script, and colours that follow the page's (light, dark, print)."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from reranker_core.output.attempts import Attempt
from reranker_core.output.distribution import Distribution
from reranker_core.report.shard_scores import Shard

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Written into the SVG in place of these colours, so that CSS decides.
_INK, _LINE, _ACCENT, _WARN = "#010101", "#020202", "#030303", "#040404"
_VARIABLES = {_INK: "ink", _LINE: "line", _ACCENT: "accent", _WARN: "warn"}
_BINS = 48
_LONGEST_NAME = 32
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "text.parse_math": False,  # names may hold a dollar sign
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "text.color": _INK,
    "grid.color": _LINE,
    "grid.linewidth": 0.5,
}


def rates(attempts: Sequence[Attempt]) -> tuple[str, ...]:
    """Pairs per second over the working time, attempt after attempt."""
    times: list[float] = []
    values: list[float] = []
    borders: list[float] = []
    before = 0.0
    for attempt in attempts:
        samples = np.array([[0.0, 0.0], *attempt.samples])
        steps = np.diff(samples, axis=0)
        steps_of = np.flatnonzero(steps[:, 0] > 0)
        for index in steps_of:
            times += [before + samples[index, 0], before + samples[index + 1, 0]]
            values += [steps[index, 1] / steps[index, 0]] * 2
        before += attempt.seconds
        borders.append(before)
    if len(times) < 4:
        return ()

    def draw(axes: Axes) -> None:
        unit, name = (3600, "hours") if before > 7200 else (60, "minutes")
        axes.fill_between(np.array(times) / unit, values, color=_ACCENT, alpha=0.25, linewidth=0)
        axes.plot(np.array(times) / unit, values, color=_ACCENT, linewidth=1.5)
        for border in borders[:-1]:
            axes.axvline(border / unit, color=_WARN, linewidth=1, linestyle="--")
        axes.set_xlabel(f"{name} of work; dashed: a new attempt" if borders[1:] else name)
        axes.set_ylabel("pairs per second")
        axes.set_ylim(bottom=0)
        axes.set_xlim(left=0)

    return (_svg("Pairs per second over time", draw),)


def histogram(scores: Distribution) -> tuple[str, ...]:
    """Density of all scores, from the quantiles of the parts."""
    points, shares = scores.cumulative()
    if len(points) < 2:
        return ()
    edges = np.linspace(points[0], points[-1], _BINS + 1)
    heights = np.diff(np.interp(edges, points, shares), prepend=0.0)
    heights[1] += heights[0]  # the smallest score itself

    def draw(axes: Axes) -> None:
        axes.bar(edges[:-1], 100 * heights[1:], np.diff(edges), align="edge", color=_ACCENT)
        axes.set_xlabel("score")
        axes.set_ylabel("% of the scores")

    return (_svg("Distribution of scores", draw),)


def by_shard(shards: Sequence[Shard]) -> tuple[str, ...]:
    """5 % to 95 %, the middle half and the median of each shard."""
    if not shards:
        return ()

    def draw(axes: Axes) -> None:
        for row, shard in enumerate(shards):
            color = _WARN if shard.is_unlike else _ACCENT
            values = (shard.p05, shard.p25, shard.p50, shard.p75, shard.p95)
            _range(axes, row, values, color)
        axes.set_yticks(range(len(shards)), [_short(shard.name) for shard in shards])
        axes.invert_yaxis()
        axes.set_xlabel("score: 5 % to 95 %, middle half, median")

    return (_svg("Scores by shard", draw, height=0.9 + 0.24 * len(shards), grid="x"),)


def before_and_after(quantiles: Mapping[str, Sequence[float]]) -> tuple[str, ...]:
    """5, 25, 50, 75 and 95 % of the scores of two outputs."""
    if len(quantiles) < 2:
        return ()

    def draw(axes: Axes) -> None:
        names = {"before": "earlier", "after": "now"}
        for row, (when, (p05, p25, p50, p75, p95)) in enumerate(quantiles.items()):
            color = _ACCENT if when == "after" else _INK
            _range(axes, row, (p05, p25, p50, p75, p95), color)
        axes.set_yticks(range(len(quantiles)), [names[when] for when in quantiles])
        axes.invert_yaxis()
        axes.set_xlabel("score: 5 % to 95 %, middle half, median")

    return (_svg("Scores, earlier and now", draw, height=1.5, grid="x"),)


def _range(axes: Axes, row: int, values: Sequence[float], color: str) -> None:
    p05, p25, p50, p75, p95 = values
    axes.plot([p05, p95], [row, row], color=color, linewidth=1)
    axes.plot([p25, p75], [row, row], color=color, linewidth=5, alpha=0.5)
    axes.plot([p50], [row], "o", color=color, markersize=4)


def _svg(
    title: str, draw: Callable[[Axes], None], height: float = 2.4, grid: Literal["x", "y"] = "y"
) -> str:
    """The chart that `draw` draws, 7 inches wide, as an `svg` element."""
    # Late: it takes half a second, and few commands draw.
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # Ids in the page must differ from chart to chart, and stay the same from run to run.
    with mpl.rc_context({**_STYLE, "svg.hashsalt": title}):
        figure = Figure(figsize=(7, height), layout="constrained", facecolor="none")
        axes = figure.add_subplot()
        axes.set_facecolor("none")
        axes.grid(visible=True, axis=grid)
        axes.set_axisbelow(True)
        draw(axes)
        file = io.StringIO()
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Creator": None})
    drawn = file.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    for color, name in _VARIABLES.items():
        drawn = drawn.replace(color, f"var(--{name})")
    return drawn.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else "…" + name[1 - _LONGEST_NAME :]
