"""The plots: SVG, for light and for dark pages, with the name of each line beside it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullLocator

from benchmarks.compare.labels import spread
from benchmarks.compare.results import OURS, Measured
from benchmarks.compare.study import CONTENDERS
from benchmarks.load import ROOT

PICTURES = ROOT / "docs" / "pictures"

_LEAST_GAP = 0.058
"""Between two names, as a part of the height of the axes."""

Curves = dict[str, dict[float, float]]
"""For each contender its figures over what grows."""


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of a page, and of each contender on it."""

    name: str
    page: str
    ink: str
    grid: str
    lines: dict[str, str]


_LIGHT = Theme(
    "light",
    "#ffffff",
    "#1f2328",
    "#d8dee4",
    {
        OURS: "#cf222e",
        "nats": "#0969da",
        "ngircd": "#1a7f37",
        "mosquitto": "#8250df",
        "textbook": "#9a6700",
        "bare": "#57606a",
        "bare-alone": "#8c959f",
    },
)
_DARK = Theme(
    "dark",
    "#0d1117",
    "#e6edf3",
    "#30363d",
    {
        OURS: "#ff7b72",
        "nats": "#58a6ff",
        "ngircd": "#3fb950",
        "mosquitto": "#bc8cff",
        "textbook": "#d29922",
        "bare": "#8b949e",
        "bare-alone": "#6e7681",
    },
)
THEMES = (_LIGHT, _DARK)
_SHORT = {each.name: each.short for each in CONTENDERS}
_OPEN = {each.name for each in CONTENDERS if not each.encrypts}


def draw(measured: Measured, folder: Path = PICTURES, suffix: str = "svg") -> list[Path]:
    """Make all plots, in both themes; says which files."""
    made = []
    for theme in THEMES:
        with mpl.rc_context(_style(theme)):
            for name, drawn in _PLOTS.items():
                path = folder / f"compare-{name}-{theme.name}.{suffix}"
                metadata = {"Date": None} if suffix == "svg" else {}
                drawn(measured, theme).savefig(path, metadata=metadata)
                made.append(path)
    return made


def _style(theme: Theme) -> dict[str, object]:
    return {
        "svg.hashsalt": "chat",
        "figure.facecolor": theme.page,
        "axes.facecolor": theme.page,
        "savefig.facecolor": theme.page,
        "text.color": theme.ink,
        "axes.labelcolor": theme.ink,
        "axes.edgecolor": theme.grid,
        "axes.titlecolor": theme.ink,
        "xtick.color": theme.ink,
        "ytick.color": theme.ink,
        "grid.color": theme.grid,
        "font.size": 12,
        "axes.titlesize": 13,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "lines.solid_capstyle": "round",
    }


# -- one plot each -----------------------------------------------------------------------------


def _delivery(measured: Measured, theme: Theme) -> Figure:
    figure = _figure(2)
    for axes, work, title in zip(
        figure.axes, ("flood", "paced"), ("in a flood", "at a steady pace"), strict=True
    ):
        _lines(axes, theme, _over_members(measured, work))
        axes.set_title(f"CPU of a delivery {title}, µs", loc="left")
        axes.set_xlabel("members")
    return figure


def _join(measured: Measured, theme: Theme) -> Figure:
    figure = _figure(1)
    _lines(figure.axes[0], theme, _over_members(measured, "join"))
    figure.axes[0].set_title("CPU of a join into a room of so many, ms", loc="left")
    figure.axes[0].set_xlabel("members")
    return figure


def _idle(measured: Measured, theme: Theme) -> Figure:
    figure = _figure(1)
    _lines(figure.axes[0], theme, _over_members(measured, "idle"))
    figure.axes[0].set_title("memory of an idle member, KiB", loc="left")
    figure.axes[0].set_xlabel("members")
    return figure


def _delay(measured: Measured, theme: Theme) -> Figure:
    figure = _figure(2)
    members = max((delay.members for delay in measured.delays), default=0)
    for axes, which in zip(figure.axes, ("p50", "p99"), strict=True):
        curves: Curves = {}
        for delay in measured.delays:
            curves.setdefault(delay.contender, {})[delay.rate] = getattr(delay, which)
        _lines(axes, theme, curves)
        axes.set_title(f"delay, {which}, ms ({members:,} members)", loc="left")
        axes.set_xlabel("messages a second")
    return figure


_PLOTS: dict[str, Callable[[Measured, Theme], Figure]] = {
    "delivery": _delivery,
    "delay": _delay,
    "join": _join,
    "idle": _idle,
}


# -- what they share ---------------------------------------------------------------------------


def _figure(panels: int) -> Figure:
    """Between the panels there is room for the names."""
    figure = Figure(figsize=(5.8 * panels, 4.2))
    figure.subplots(1, panels)
    edge = 1 / panels
    figure.subplots_adjust(0.1 * edge, 0.14, 1 - 0.32 * edge, 0.9, 0.75)
    return figure


def _over_members(measured: Measured, work: str) -> Curves:
    curves = {name: measured.curve(name, work) for name in _SHORT}
    return {
        name: {float(n): figure for n, figure in curve.items()} for name, curve in curves.items()
    }


def _lines(axes: Axes, theme: Theme, curves: Curves) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    ends = {}
    for name, curve in curves.items():
        # A logarithm of 0 has no place.
        points = {x: y for x, y in sorted(curve.items()) if y > 0}
        if not points:
            continue
        axes.plot(
            list(points),
            list(points.values()),
            color=theme.lines[name],
            linewidth=3 if name == OURS else 1.6,
            linestyle="--" if name in _OPEN else "-",
            marker="o",
            markersize=5 if name == OURS else 3.5,
        )
        ends[name] = list(points.items())[-1]
    axes.grid(True, which="major", linewidth=0.8)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 3)))
        axis.set_minor_locator(NullLocator())
    # There is no room for 3,000 beside 10,000.
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    _names(axes, theme, ends)


def _names(axes: Axes, theme: Theme, ends: dict[str, tuple[float, float]]) -> None:
    """Write each name at the right of its line, none over another."""
    axes.autoscale_view()
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = {name: float(to_axes.transform(end)[1]) for name, end in ends.items()}
    for name, height in spread(heights, _LEAST_GAP).items():
        axes.annotate(
            _SHORT[name],
            xy=ends[name],
            xycoords="data",
            xytext=(1.05, height),
            textcoords="axes fraction",
            color=theme.lines[name],
            fontsize=12,
            fontweight="bold" if name == OURS else "normal",
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": theme.lines[name],
                "linewidth": 0.6,
                "relpos": (0, 0.5),
                "shrinkA": 1,
                "shrinkB": 3,
            },
        )
