"""The promises of the splits: stable, and never straddled by duplicates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaebalance.data.splits import assign_splits, choose_subset, uniforms

digests = st.lists(st.binary(min_size=32, max_size=32), max_size=40)
seeds = st.integers(0, 2**63 - 1)
fractions = st.floats(0, 0.5, exclude_max=True)


@given(digests, digests, seeds, fractions, fractions)
def test_adding_pictures_moves_no_other(
    old: list[bytes], new: list[bytes], seed: int, validation: float, test: float
) -> None:
    before = assign_splits(old, seed, validation, test)
    after = assign_splits(new + old, seed, validation, test)
    assert after[len(new) :] == before


@given(digests, seeds, fractions, fractions, st.randoms())
def test_order_counts_for_nothing_and_duplicates_stay_together(
    pictures: list[bytes], seed: int, validation: float, test: float, random: object
) -> None:
    pictures = pictures + pictures[: len(pictures) // 2]
    before = dict(zip(pictures, assign_splits(pictures, seed, validation, test), strict=True))
    random.shuffle(pictures)  # type: ignore[attr-defined]
    after = assign_splits(pictures, seed, validation, test)
    assert after == [before[picture] for picture in pictures]


@given(digests, seeds, fractions, fractions, fractions)
def test_one_fraction_leaves_the_other_split_as_it_is(
    pictures: list[bytes], seed: int, validation: float, other: float, test: float
) -> None:
    first = assign_splits(pictures, seed, validation, test)
    second = assign_splits(pictures, seed, other, test)
    assert [s == "test" for s in first] == [s == "test" for s in second]
    third = assign_splits(pictures, seed, validation, other)
    assert [s == "validation" for s in first] == [s == "validation" for s in third]


@pytest.mark.parametrize(("validation", "test"), [(0.1, 0.2), (0.0, 0.0), (0.5, 0.01)])
def test_fractions_are_right_to_within_four_standard_deviations(
    validation: float, test: float
) -> None:
    count = 20_000
    splits = assign_splits([i.to_bytes(32, "big") for i in range(count)], 3, validation, test)
    for name, fraction in (("validation", validation), ("test", test)):
        tolerance = 4 * np.sqrt(fraction * (1 - fraction) / count)
        assert abs(splits.count(name) / count - fraction) <= tolerance


def test_seeds_and_purposes_draw_independently() -> None:
    keys = [i.to_bytes(32, "big") for i in range(5000)]
    one, two, other = uniforms(0, "split", keys), uniforms(1, "split", keys), uniforms(0, "b", keys)
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.06
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.06
    assert one.min() >= 0
    assert one.max() < 1


def test_a_published_test_set_stays_whole() -> None:
    keys = [i.to_bytes(32, "big") for i in range(1000)]
    published = np.arange(1000) >= 900
    splits = assign_splits(keys, 0, 0.2, 0.9, published)
    assert [s == "test" for s in splits] == published.tolist()


@given(st.sets(st.text(max_size=5), max_size=30), st.text(min_size=6), seeds, st.integers(1, 20))
def test_a_new_picture_pushes_at_most_one_out_of_a_subset(
    names: set[str], added: str, seed: int, largest: int
) -> None:
    old = sorted(names)
    new = sorted(names | {added})
    before = {old[i] for i in choose_subset(old, seed, largest)}
    after = {new[i] for i in choose_subset(new, seed, largest)}
    assert len(before) == min(largest, len(old))
    assert len(before - after) <= 1
    assert after <= before | {added}


def test_a_subset_is_of_each_published_part() -> None:
    names = [str(i) for i in range(100)]
    chosen = choose_subset(names, 0, 15, np.arange(100) >= 90)
    assert (chosen < 90).sum() == 15
    assert (chosen >= 90).sum() == 10
    assert (np.diff(chosen) > 0).all()
