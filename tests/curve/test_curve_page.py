"""The curve page's description of its numbers."""

from vaebalance.curve.trace import trace
from vaebalance.pages.slider import curve_page as shown
from vaebalance.pages.slider.saved_states import FILE, load_states


def test_it_says_where_not_all_test_images_were_measured(
    conditioned, digits, curve_settings, tmp_path, monkeypatch
):
    spec = curve_settings().evaluate.replace(sample_images=0)
    rows = list(trace(conditioned, conditioned.betas(3), digits, "validation", spec, 0))
    monkeypatch.setattr(shown, "STATES", 5)
    words = {}
    count = len(digits.images("test"))
    for measured in (50, count):
        monkeypatch.setattr(shown, "MEASURED", measured)
        shown.show(tmp_path, conditioned, rows, digits, 0)
        words[measured] = load_states(tmp_path / FILE).facts.models
    assert words[50] == f"{words[count]} D and R are measured on 50 of {count} test images."
