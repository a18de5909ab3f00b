"""Memory of a measure that reads a whole split, in a process with its own heap."""

import subprocess
import sys

import pytest

CODE = """
from pathlib import Path
import torch
from vaebalance.evaluation.bounds import elbo_parts
from vaebalance.evaluation.measured_images import MeasuredImages
from vaebalance.vae.likelihoods import Bernoulli
from vaebalance.vae.model import VAE, ModelSpec
from vaebalance.vae.networks import Mlp

def own():
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (line,) = [line for line in status if line.startswith("RssAnon")]
    return int(line.split()[1]) // 1024

spec = ModelSpec(architecture=Mlp(hidden=(64,)), latent_size=8, posterior="gaussian")
model = VAE(spec, Bernoulli(), (1, 28, 28)).eval()
seen = []
model.decoder.register_forward_hook(lambda *_: seen.append(own()))
stored = torch.randint(256, (16_000, 1, 28, 28), dtype=torch.uint8)
cost = {"samples": 16, "batch_size": 1024, "seed": 0}
for count in (640, 16_000):
    images = MeasuredImages(stored[:count], "none", 0)
    elbo_parts(model, images, **cost)
    print(max(seen))
    seen.clear()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_many_times_the_images_take_no_more_memory():
    """Compare two sizes; with lists of numbers per block, 16,000 images took 100 to 400 MB more."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    few, many = map(int, done.stdout.split())
    assert many - few < 50
