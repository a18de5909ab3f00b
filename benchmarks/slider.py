"""How long the slider's page takes to redraw, and how large it is.

    python benchmarks/slider.py [--source digits] [--root data/raw] [--states 60] [--sweeps 5]
                                [--out benchmarks/results]

Trains a few small VAEs for a moment, spreads them over the slider, writes page and animation, and
drags the slider through all states in a headless Chromium. A redraw is timed in the page, from the
slider's event to the end of layout; a frame, from the event to the end of the frame that shows it
(at least what is left of the screen's 16.7 ms).
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from results import parse_options, write_result

from vaebalance.data import Dataset, open_dataset, prepare
from vaebalance.pages.slider.animation import write_curve_animation
from vaebalance.pages.slider.examples import shown_images
from vaebalance.pages.slider.facts import CurveFacts, Mark
from vaebalance.pages.slider.slider_page import write_curve_page
from vaebalance.pages.slider.states import curve_states
from vaebalance.run import training_run as experiment
from vaebalance.settings import Settings, TrainSettings, parse, read_yaml
from vaebalance.vae.model import VAE

ROOT = Path(__file__).resolve().parents[1]
BETAS = (0.01, 0.1, 1.0, 10.0)
CHROMIUM = os.environ.get("VAEBALANCE_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
SWEEP = """async (sweeps) => {
  const slider = document.getElementById("beta");
  const { logs } = JSON.parse(document.getElementById("slider-data").textContent);
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const later = () => new Promise((done) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = done;
    port2.postMessage(null);
  });
  const redraws = [], frames = [];
  for (let sweep = 0; sweep < sweeps; sweep += 1) {
    for (const log of sweep % 2 ? [...logs].reverse() : logs) {
      await frame();
      await later();
      slider.value = log;
      const start = performance.now();
      slider.dispatchEvent(new Event("input"));
      const handled = performance.now() - start;
      await new Promise((done) => requestAnimationFrame((began) => {
        document.body.getBoundingClientRect(); // layout, after the page's own drawing
        redraws.push(handled + performance.now() - began);
        later().then(() => { frames.push(performance.now() - start); done(); });
      }));
    }
  }
  return { redraws, frames };
}"""


def settings_of(source: str, root: Path, beta: float) -> Settings:
    """Train a small model briefly."""
    raw = copy.deepcopy(read_yaml(ROOT / "params.yaml"))
    raw["data"] |= {"source": {"kind": source}, "root": str(root), "max_images": 2000, "workers": 1}
    raw["model"]["latent_size"] = 32
    raw["train"] |= {"epochs": 3, "device": "cpu"}
    raw["balance"]["beta"] = beta
    return parse(raw)


def trained(source: str, root: Path, dataset: Dataset, beta: float) -> VAE:
    """Its model."""
    settings = settings_of(source, root, beta)
    view = {name: getattr(settings, name) for name in TrainSettings.model_fields}
    training = experiment.Training(TrainSettings(**view), dataset)
    for _ in training:
        pass
    return training.learner.model.eval()


def spread(models: list[VAE], count: int) -> Iterator[tuple[float, VAE]]:
    """Return the models at `count` values of β, each at its neighbours' as well."""
    for index in range(count):
        yield 10 ** (-2 + 3 * index / (count - 1)), models[index * len(models) // count]


def sweep(page: Path, sweeps: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each redraw and of each frame."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        opened = browser.new_page(viewport={"width": 1280, "height": 900})
        opened.goto(page.as_uri())
        opened.wait_for_selector(".slider.drawn")
        found = opened.evaluate(SWEEP, sweeps)
        browser.close()
    return found["redraws"], found["frames"]


def main() -> None:
    """Print sizes and times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", default="digits")
    parser.add_argument("--root", type=Path, default=ROOT / "data/raw")
    parser.add_argument("--states", type=int, default=60)
    parser.add_argument("--sweeps", type=int, default=5)
    options = parse_options(parser)
    files, rows = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(settings_of(options.source, options.root, 1.0).data, 0, folder / "data")
        dataset = open_dataset(folder / "data")
        models = [trained(options.source, options.root, dataset, beta) for beta in BETAS]
        states = curve_states(spread(models, options.states), dataset, 0)
        shown = shown_images(dataset, 0)
        facts = CurveFacts(options.source, "Four models.", (Mark("β = 1", 1.0),))
        for write, file in ((write_curve_page, "curve.html"), (write_curve_animation, "curve.gif")):
            started = time.perf_counter()
            write(folder / file, states, shown, facts)
            seconds = time.perf_counter() - started
            size = (folder / file).stat().st_size / 1e6
            print(f"{file:12} {size:6.2f} MB, written in {seconds:.1f} s")
            files.append({"file": file, "MB": size, "seconds to write": seconds})
        redraws, frames = sweep(folder / "curve.html", options.sweeps)
    print(
        f"{options.states} states, {len(redraws)} redraws; {os.cpu_count()} cores, load "
        f"{os.getloadavg()[0]:.1f}, {platform.machine()}"
    )
    for what, times in (("redraw", redraws), ("frame", frames)):
        worst = statistics.quantiles(times, n=20)[-1]
        median = statistics.median(times)
        print(f"{what:12} {median:6.1f} ms median, {worst:.1f} ms 95th percentile")
        rows.append({"what": what, "median ms": median, "95th percentile ms": worst})
    write_result("slider", rows, options.out, states=options.states)
    write_result("slider-files", files, options.out, states=options.states)


if __name__ == "__main__":
    main()
