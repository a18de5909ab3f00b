"""The slider as one HTML page that needs no other file and no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vaebalance.base.files import replacing
from vaebalance.pages.kit.page import content_policy, look, templates
from vaebalance.pages.slider.body import body, script, style
from vaebalance.pages.slider.examples import ShownImages
from vaebalance.pages.slider.facts import CurveFacts
from vaebalance.pages.slider.states import CurveState


def write_curve_page(
    path: Path, states: Sequence[CurveState], shown: ShownImages, facts: CurveFacts
) -> None:
    """Write the page, all or nothing; the same arguments give the same bytes.

    Args:
        path: path of the HTML file.
        states: states from `curve_states`, in ascending order of β.
        shown: images from `shown_images`, with the same data set and seed.
        facts: description of the curve.

    Raises:
        UserError: a mark is outside the curve.
    """
    page = render(states, shown, facts)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")


def render(states: Sequence[CurveState], shown: ShownImages, facts: CurveFacts) -> str:
    """Render the page, with the slider at the middle state."""
    from markupsafe import Markup

    markup = body(states, shown, facts, first=len(states) // 2)
    assert markup is not None  # at the smallest side, a picture takes less than a kilobyte
    return (
        templates(__package__)
        .get_template("slider.html")
        .render(
            facts=facts,
            body=markup,
            style=Markup(look() + style()),
            script=Markup(script()),
            policy=content_policy(script(), compiles=False),
        )
    )
