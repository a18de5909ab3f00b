"""The Vega scripts, taken from the installed vl-convert without a download."""

from __future__ import annotations

from functools import cache


@cache
def vega_bundle() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script that sets `window.vegaEmbed`.

    The script is cached: bundling takes half a second, and a page with a slider is rendered twice.

    Raises:
        ValueError: the script contains text that would end a script tag.
    """
    import vl_convert

    bundle: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]
    if "</script" in bundle.lower() or "<!--" in bundle:
        raise ValueError("the Vega bundle contains </script or <!--, which a script tag forbids")
    return bundle
