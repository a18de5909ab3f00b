"""DVC stage `slider` (curve/dvc.yaml): the curve to its page with the slider, and an animation."""

from vaebalance.base.process import run_stage
from vaebalance.pages.slider.curve_page import draw_prepared


def main() -> None:
    """Draw the curve's pages and print where they are."""
    print(f"{draw_prepared()} has the curve under a slider.")


if __name__ == "__main__":
    run_stage(main)
