"""Inception features: the published network loaded from a file, here with random weights."""

import hashlib

import pytest
import torch
from torchvision.models import inception_v3
from torchvision.transforms.functional import normalize

from vaebalance.base.errors import UserError
from vaebalance.evaluation.inception import inception_features
from vaebalance.evaluation.stage import evaluate

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Save a network as torchvision does, with its auxiliary head; return path and network."""
    torch.manual_seed(0)
    network = inception_v3(weights=None, init_weights=False, transform_input=True).eval()
    path = tmp_path_factory.mktemp("weights") / "inception_v3_google-random.pth"
    torch.save(network.state_dict(), path)
    return path, network


def test_features_are_what_the_published_classifier_reads(published):
    """Compare with torchvision's own preprocessing of colour images of 299×299."""
    path, network = published
    space = inception_features(path, CPU)
    x = torch.rand(2, 3, 299, 299, generator=torch.Generator().manual_seed(1))
    read = []
    hook = network.fc.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    with torch.no_grad():
        network(normalize(x, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    hook.remove()
    found = space.points([x])
    assert found.shape == (2, 2048)
    torch.testing.assert_close(found, read[0].double(), rtol=1e-3, atol=1e-4)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    assert space.name == f"Inception-v3 (torchvision, weights {digest}), 2,048 features"


def test_grey_images_of_any_size_are_taken(published):
    space = inception_features(published[0], CPU)
    grey = torch.rand(1, 1, 28, 28, generator=torch.Generator().manual_seed(2))
    colour = grey.expand(-1, 3, -1, -1)
    torch.testing.assert_close(space.points([grey]), space.points([colour]))


@pytest.mark.parametrize(
    "content", [b"", b"no weights", {"conv.weight": torch.zeros(2)}, [1, 2], torch.zeros(3)]
)
def test_a_file_of_something_else_is_refused(tmp_path, content):
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(UserError, match=r"evaluate\.inception_weights = '.*weights\.pth': not the"):
        inception_features(path, CPU)


def test_a_missing_file_is_said_before_anything_is_measured(make_vae, make_dataset, make_spec):
    spec = make_spec(inception_weights="no/such/file.pth")
    with pytest.raises(UserError, match=r"inception_weights = 'no/such/file\.pth': no such file"):
        evaluate(make_vae(), make_dataset(), spec, 0)


def test_an_evaluation_has_both_spaces(published, make_vae, make_dataset, make_spec, monkeypatch):
    from vaebalance.evaluation import features

    monkeypatch.setattr(features, "STEPS", 2)
    spec = make_spec(sample_images=2, inception_weights=str(published[0]))
    found = evaluate(make_vae(), make_dataset(), spec, 0)
    assert list(found.samples) == list(found.settings.feature_spaces) == ["own", "inception"]
    assert found.samples["inception"].frechet >= 0
