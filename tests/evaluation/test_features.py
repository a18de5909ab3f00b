"""The feature network: it learns, is reproducible, and accepts every size and colour."""

import pytest
import torch

from vaebalance.evaluation import features
from vaebalance.evaluation.features import own_features
from vaebalance.evaluation.measured_images import MeasuredImages, measured_images

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _nothing_learned():
    """Forget the cached space, so that each test has its own settings."""
    features._learned.cache_clear()


@pytest.fixture
def quick(monkeypatch):
    """Shorten the training for tests that do not depend on it."""
    monkeypatch.setattr(features, "STEPS", 3)


def noise(count, shape, seed=0, binarisation="none"):
    generator = torch.Generator().manual_seed(seed)
    stored = torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)
    return MeasuredImages(stored, binarisation, 0)


@pytest.fixture(scope="module")
def digits_space(digits):
    """Learn the space from the digits' training split."""
    images = measured_images(digits, "train", 0)
    return own_features(images, digits.labels("train"), 0)


def test_the_classifiers_features_tell_new_digits_apart(digits, digits_space):
    from sklearn.neighbors import KNeighborsClassifier

    splits = {}
    for split in ("train", "test"):
        blocks = measured_images(digits, split, 0).blocks(200, CPU, "features")
        splits[split] = digits_space.points(blocks).numpy()
    nearest = KNeighborsClassifier(1).fit(splits["train"], digits.labels("train"))
    assert nearest.score(splits["test"], digits.labels("test")) > 0.95
    assert digits_space.name == "own classifier, 64 features"
    assert splits["test"].shape == (len(digits.images("test")), 64)


def test_features_have_mean_nought_and_variance_one_on_the_training_images(digits, digits_space):
    blocks = measured_images(digits, "train", 0).blocks(500, CPU, "features")
    points = digits_space.points(blocks)
    torch.testing.assert_close(points.mean(0), torch.zeros(64).double(), atol=1e-4, rtol=0)
    torch.testing.assert_close(
        points.var(0, correction=0), torch.ones(64).double(), atol=1e-3, rtol=0
    )


def test_without_labels_the_code_of_an_autoencoder_keeps_the_image(digits):
    """Check that a linear map of the code predicts the pixels of new digits well."""
    space = own_features(measured_images(digits, "train", 0), None, 0)
    assert space.name == "own autoencoder, 64 features"
    pixels, points = {}, {}
    for split in ("train", "test"):
        images = measured_images(digits, split, 0)
        pixels[split] = images.pixels(slice(None), CPU).flatten(1).double()
        points[split] = torch.nn.functional.pad(
            space.points(images.blocks(500, CPU, "features")), (0, 1), value=1.0
        )
    fit = torch.linalg.lstsq(points["train"], pixels["train"]).solution
    error = (points["test"] @ fit - pixels["test"]).square().mean()
    variance = (pixels["test"] - pixels["train"].mean(0)).square().mean()
    assert error < 0.15 * variance


@pytest.mark.parametrize("labelled", [True, False])
def test_the_seed_decides_and_the_callers_random_state_is_untouched(quick, labelled):
    images, labels = noise(60, (1, 8, 8)), torch.arange(60) % 3 if labelled else None

    def points(seed):
        return own_features(images, labels, seed).points([images.pixels(slice(None), CPU)])

    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = points(0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    assert torch.equal(points(0), first)
    assert not torch.equal(points(1), first)
    assert not first.requires_grad


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize(
    ("shape", "name"),
    [
        ((1, 8, 8), ""),
        ((3, 17, 17), ""),
        ((1, 32, 32), ""),
        ((3, 64, 64), " of images at 32×32"),
        ((1, 2, 3), " of images at 8×8"),
        ((3, 20, 90), " of images at 32×32"),
    ],
)
def test_every_size_and_colour(quick, shape, name, labelled):
    images = noise(12, shape)
    space = own_features(images, torch.arange(12) % 2 if labelled else None, 0)
    assert space.name.endswith(f"64 features{name}")
    points = space.points([images.pixels(slice(None), CPU)])
    assert points.shape == (12, 64)
    assert points.isfinite().all()


@pytest.mark.parametrize(
    ("labels", "kind"),
    [([-1] * 8, "autoencoder"), ([4] * 8, "autoencoder"), ([4, -1, 7] * 2 + [-1, 7], "classifier")],
)
def test_a_classifier_needs_two_labels(quick, labels, kind):
    space = own_features(noise(8, (1, 8, 8)), torch.tensor(labels), 0)
    assert space.name.startswith(f"own {kind}")


def test_images_that_are_all_the_same_do_no_harm(quick):
    images = noise(6, (1, 8, 8))
    images.stored[:] = 7
    points = own_features(images, None, 0).points([images.pixels(slice(None), CPU)])
    assert points.isfinite().all()


def test_binarised_images_are_learnt_as_they_are(quick, monkeypatch):
    seen = []
    monkeypatch.setattr(features, "_reconstruct", lambda network, x: seen.append(x))
    own_features(noise(20, (1, 8, 8), binarisation="dynamic"), None, 0)
    assert set(seen[0].unique().tolist()) == {0.0, 1.0}


def test_no_more_images_than_fit_are_held(quick, monkeypatch):
    monkeypatch.setattr(features, "LARGEST_TRAINING", 10)
    seen = []
    monkeypatch.setattr(features, "_classify", lambda network, x, y: seen.append((x, y)))
    own_features(noise(40, (1, 8, 8)), torch.arange(40), 0)
    assert (len(seen[0][0]), seen[0][1].tolist()) == (10, list(range(0, 40, 4)))


def test_the_same_images_are_learnt_from_once_and_others_anew(quick, monkeypatch):
    lessons = []
    real = features._standardise
    monkeypatch.setattr(
        features, "_standardise", lambda *some: (lessons.append(1), real(*some))[-1]
    )
    stored = torch.randint(256, (40, 1, 8, 8), dtype=torch.uint8)
    labels = torch.arange(40) % 2
    first = own_features(MeasuredImages(stored, "none", 0), labels, 5)
    assert own_features(MeasuredImages(stored.clone(), "none", 0), labels.clone(), 5) is first
    assert len(lessons) == 1
    other = stored.clone()
    other[3, 0, 2, 2] ^= 1
    own_features(MeasuredImages(other, "none", 0), labels, 5)
    own_features(MeasuredImages(other, "none", 0), 1 - labels, 5)
    own_features(MeasuredImages(other, "none", 0), 1 - labels, 6)
    own_features(MeasuredImages(other, "none", 0), None, 6)
    assert len(lessons) == 5
