"""`vaebalance compare`: the page, or the list of runs."""

from __future__ import annotations

import tempfile
from pathlib import Path

from vaebalance import tracking
from vaebalance.base.errors import UserError
from vaebalance.data import Dataset, open_dataset
from vaebalance.pages.comparison.chosen_runs import choose, listed
from vaebalance.pages.comparison.compared_runs import read_compared_run
from vaebalance.pages.comparison.comparison_page import build
from vaebalance.pages.comparison.options import Options
from vaebalance.settings import ReportSettings, load

PREPARED = Path("data/prepared")
MOST_KNOWN = 5000  # runs, the newest, that can be named


def run(options: Options) -> None:
    """Do what was asked for.

    Raises:
        UserError: a run is not there, or not evaluated.
    """
    runs = tracking.runs(stage="train", limit=MOST_KNOWN)
    if options.list:
        print(f"runs:{listed(runs)}")
        return
    settings = load(ReportSettings)
    chosen, dataset = choose(options.runs, runs), _prepared()
    with tempfile.TemporaryDirectory(prefix="vaebalance-compare-") as temporary:
        contenders = []
        for place, summary in enumerate(chosen):
            folder = Path(temporary) / str(place)
            tracking.fetch(summary.run_id, folder)
            contenders.append(read_compared_run(place, summary.name, folder, dataset))
        page = build(contenders, settings.report, settings.seed, options.out)
    print(f"comparison: {page.resolve()}")


def _prepared() -> Dataset | None:
    """Open the prepared images; without them, the page has no pictures of images."""
    try:
        return open_dataset(PREPARED)
    except UserError as error:
        print(f"note: no reconstructions are compared ({error})")
        return None
