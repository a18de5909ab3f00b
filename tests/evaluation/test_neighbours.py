"""Precision, recall, density and coverage against their definitions and published values."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from vaebalance.evaluation import neighbours
from vaebalance.evaluation.neighbours import Overlap, overlap, radii


def points(count, dimensions, seed, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dimensions, generator=generator) + shift


def by_definition(reference, candidates, k):
    """Compute the numbers pair by pair with scikit-learn's neighbours."""

    def balls(x):
        distances, _ = NearestNeighbors(n_neighbors=k + 1).fit(x).kneighbors(x)
        return distances[:, k]

    real, fake = np.asarray(reference, float), np.asarray(candidates, float)
    real_radii, fake_radii = balls(real), balls(fake)
    inside = [
        [np.linalg.norm(r - f) < b for f in fake] for r, b in zip(real, real_radii, strict=True)
    ]
    recalled = [
        [np.linalg.norm(r - f) < b for f, b in zip(fake, fake_radii, strict=True)] for r in real
    ]
    inside, recalled = np.array(inside), np.array(recalled)
    return Overlap(
        precision=inside.any(0).mean(),
        recall=recalled.any(1).mean(),
        density=inside.sum() / (k * len(fake)),
        coverage=inside.any(1).mean(),
    )


@pytest.mark.parametrize("elements", [1, 500, 10**6])
@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_they_are_as_defined_however_they_are_blocked(monkeypatch, elements, shift):
    monkeypatch.setattr(neighbours, "BLOCK_ELEMENTS", elements)
    reference, candidates = points(60, 3, 0), points(45, 3, 1, shift)
    found, expected = overlap(reference, candidates, 4), by_definition(reference, candidates, 4)
    assert vars(found) == pytest.approx(vars(expected))


def test_equal_distributions_give_the_values_that_theory_expects():
    """Expect coverage 1 − Π_{i≤k} (N−i)/(2N−i) → 1 − 2⁻ᵏ and density 1 (Naeem et al. 2020)."""
    found = overlap(points(1500, 8, 0), points(1500, 8, 1))
    assert found.coverage == pytest.approx(1 - 2**-5, abs=0.015)
    assert found.density == pytest.approx(1, abs=0.05)


def test_sets_far_apart_have_nothing_in_common():
    found = overlap(points(50, 2, 0), points(50, 2, 1, 100.0))
    assert found == Overlap(0.0, 0.0, 0.0, 0.0)


def test_a_missing_mode_costs_recall_and_coverage_but_not_precision():
    reference = torch.cat([points(200, 2, 0), points(200, 2, 1, 50.0)])
    found = overlap(reference, points(200, 2, 2))
    assert found.precision > 0.9
    assert found.recall < 0.51
    assert found.coverage < 0.51


def test_radii_leave_the_point_itself_out():
    line = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    assert radii(line, 1).tolist() == [1.0, 1.0, 2.0, 4.0]
    assert radii(line, 2).tolist() == [3.0, 2.0, 3.0, 6.0]
    assert radii(torch.zeros(4, 2), 3).tolist() == [0.0] * 4


@pytest.mark.parametrize(("reference", "candidates"), [(1, 9), (9, 1)])
def test_a_single_point_has_no_neighbourhood(reference, candidates):
    assert overlap(points(reference, 2, 0), points(candidates, 2, 1)) is None


def test_fewer_points_than_neighbours_are_each_others_neighbours():
    found = overlap(points(2, 2, 0), points(3, 2, 1))
    assert all(value >= 0 for value in vars(found).values())


@given(st.integers(0, 2**32), st.floats(0.01, 100), st.integers(2, 40), st.integers(2, 40))
def test_order_scale_and_place_do_not_matter(seed, scale, count, others):
    generator = torch.Generator().manual_seed(seed)
    reference = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    candidates = torch.randn(others, 3, generator=generator, dtype=torch.float64) + 0.5
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    moved = [scale * (points @ turn) + 3 for points in (reference, candidates)]
    shuffled = [points[torch.randperm(len(points), generator=generator)] for points in moved]
    found = vars(overlap(reference, candidates))
    assert vars(overlap(*shuffled)) == pytest.approx(found)
    assert all(0 <= found[name] <= 1 for name in ("precision", "recall", "coverage"))
    assert 0 <= found["density"] <= count / min(5, count - 1, others - 1)


@given(st.integers(0, 2**32), st.integers(2, 30))
def test_a_set_covers_itself(seed, count):
    reference = torch.randn(count, 2, generator=torch.Generator().manual_seed(seed))
    found = overlap(reference, reference)
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)
