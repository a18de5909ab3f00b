"""States -> one HTML page with the slider, that needs no other file and no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vaebalance.base.files import replacing
from vaebalance.pages.kit.page import content_policy, look, templates
from vaebalance.pages.slider.body import body, script, style
from vaebalance.pages.slider.examples import Shown
from vaebalance.pages.slider.facts import CurveFacts
from vaebalance.pages.slider.states import CurveState


def write_curve_page(
    path: Path, states: Sequence[CurveState], shown: Shown, facts: CurveFacts
) -> None:
    """Write the page, all or nothing; the same arguments give the same bytes.

    Args:
        path: of the HTML file.
        states: from `curve_states`, in ascending order of β.
        shown: from `shown_images`, of the same data set and seed.
        facts: what the curve is of.

    Raises:
        UserError: a mark is not within the curve.
    """
    page = render(states, shown, facts)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")


def render(states: Sequence[CurveState], shown: Shown, facts: CurveFacts) -> str:
    """The page, at the middle state."""
    from markupsafe import Markup

    moved = body(states, shown, facts, first=len(states) // 2)
    assert moved is not None  # at the smallest side, a picture takes less than a kilobyte
    return (
        templates(__package__)
        .get_template("slider.html")
        .render(
            facts=facts,
            body=moved,
            style=Markup(look() + style()),
            script=Markup(script()),
            policy=content_policy(script(), compiles=False),
        )
    )
