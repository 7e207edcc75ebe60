"""The page's charts, drawn by Vega: what is drawn where; `charts.js` adds the data and what the axes are called."""

import functools
from typing import Any

from mnet_jax.errors import UserError
from mnet_jax.report.page import look
from mnet_jax.report.styles import COLORS, MARKERS

_LINE, _AREA = 1.6, 0.15
_POINT, _RING = 80, 300  # square pixels
_INK, _PAPERS = "#808080", "#808080"

_Json = dict[str, Any]


def find_libraries():
    """Altair, where all that the page needs is installed.

    Raises:
      UserError: it is not.
    """
    try:
        import altair
        import vl_convert  # noqa: F401
    except ImportError as error:
        raise UserError('the page needs Altair and vl-convert: pip install -e ".[html]"') from error
    return altair


@functools.cache
def libraries() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, which sets `vegaEmbed`; it takes three seconds to make."""
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


def specifications() -> _Json:
    """The charts of Vega-Lite by name, without data; and the "palette" of the trials in the curves."""
    palette = [
        {"color": look.color(ink), "dark": look.on_dark(ink), "shape": look.shape(marker)}
        for ink, marker in zip(COLORS, MARKERS, strict=False)
    ]
    return {"tradeoff": _trade_off(), "curves": _curves(), "palette": palette}


def _trade_off() -> _Json:
    """Data sets: "bands", "laws", "papers", "lines", "front", "bars", "twins", "cells"; of a ring: pinned."""
    alt = find_libraries()
    x = alt.X("x:Q", scale=alt.Scale(type="log", nice=False, padding=24))
    y = alt.Y("y:Q", scale=alt.Scale(zero=False, padding=16))
    ink = {"color": alt.Color("color:N", scale=None)}
    dashed = {"strokeDash": alt.StrokeDash("dash:N", scale=None), "detail": "line:N"}
    shown = {"shape": alt.Shape("shape:N", scale=None)}
    told = {"tooltip": "tip:N", "description": "said:N"}

    def layer(name: str):
        return alt.Chart(alt.NamedData(name))

    layers = (
        layer("bands").mark_area(opacity=_AREA, aria=False).encode(x, y, y2="y2:Q", detail="line:N", **ink),
        layer("laws").mark_line(strokeWidth=_LINE, aria=False).encode(x, y, **ink, **dashed),
        layer("papers").mark_line(color=_PAPERS, strokeDash=[2, 3], aria=False).encode(x, y, detail="line:N"),
        layer("papers").mark_point(color=_PAPERS, size=40).encode(x, y, **told),
        layer("lines").mark_line(strokeWidth=_LINE, aria=False).encode(x, y, **ink, **dashed),
        layer("front").mark_line(interpolate="step-after", color=_INK, strokeWidth=5, opacity=0.3, aria=False)
        .encode(x, y, detail="line:N"),
        layer("bars").mark_rule(strokeWidth=_LINE, aria=False).encode(x, y, y2="y2:Q", **ink),
        layer("cells").mark_point(size=_RING, color=_INK, strokeWidth=2.5, aria=False)
        .encode(x, y, opacity=alt.Opacity("ring:Q", scale=None)),
        layer("twins").mark_point(size=_POINT, strokeWidth=_LINE).encode(x, y, **ink, **shown, **told),
        layer("cells").mark_point(size=_POINT, filled=True, opacity=1, cursor="pointer")
        .encode(x, y, **ink, **shown, **told),
    )  # fmt: skip
    return _finished(alt.layer(*layers).properties(width="container", height=400), "Accuracy against cost")


def _curves() -> _Json:
    """Data sets: "lines", of which those that are not dashed have no markers, and "marks"."""
    alt = find_libraries()
    x = alt.X("x:Q", title="epoch", scale=alt.Scale(zero=False, nice=False))
    y = alt.Y("y:Q", scale=alt.Scale(zero=False))
    ink = {"color": alt.Color("color:N", scale=None)}
    dash = alt.StrokeDash("dash:N", scale=None)
    lines = alt.Chart(alt.NamedData("lines")).mark_line(strokeWidth=_LINE, aria=False)
    marks = alt.Chart(alt.NamedData("marks")).mark_point(size=36, filled=True, opacity=1)
    shape = alt.Shape("shape:N", scale=None)
    chart = alt.layer(
        lines.encode(x, y, strokeDash=dash, detail="line:N", **ink),
        marks.encode(x, y, shape=shape, tooltip="tip:N", description="said:N", **ink),
    )
    return _finished(chart.properties(width="container", height=220), "Learning curves")


def _finished(chart, title: str) -> _Json:
    alt = find_libraries()
    chart = chart.properties(description=title, autosize=alt.AutoSizeParams(type="fit", contains="padding"))
    axis = {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "titlePadding": 8}
    found = chart.configure(background="transparent").configure_view(stroke=None).configure_axis(**axis).to_dict()
    return {key: value for key, value in found.items() if key != "$schema"}
