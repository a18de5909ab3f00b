"""The Vega scripts, from the installed vl-convert: nothing is downloaded."""

from __future__ import annotations

from functools import cache


@cache
def vega_bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that sets `window.vegaEmbed`.

    Kept: to put it together takes half a second, and a page with a slider is rendered twice.

    Raises:
        ValueError: the script cannot stand in a script tag as it is.
    """
    import vl_convert

    bundle: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]
    if "</script" in bundle.lower() or "<!--" in bundle:
        raise ValueError("the Vega bundle cannot stand in a script tag as it is")
    return bundle
