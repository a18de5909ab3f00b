"""What each script imports before it does anything, and how soon it refuses a wrong parameter.

    python benchmarks/start_up.py [--runs 5] [--out benchmarks/results]

Runs `python -X importtime` on every script's imports and prints, of each, the median seconds and
the share of the packages that cost most, as ratios to importing torch alone in the same run. Then
starts every script beside a params.yaml with a knob misspelt. (`compare.py` reads that file late,
and is refused for having no arguments.)
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import trainings
from results import parse_options, write_result

ROOT = Path(__file__).resolve().parents[1]
LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| ( *)(\S+)")
TORCH = "torch alone"
REFUSED = 2
"""What a script exits with that refuses its parameters."""


def imports_of(script: Path) -> str:
    """Code that imports what the script imports, and stops there."""
    return f"import runpy; runpy.run_path({str(script)!r}, run_name='imported')"


def measure(code: str) -> tuple[float, dict[str, float]]:
    """Wall seconds of the process, and the seconds of each top-level package's own modules."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    wall = time.perf_counter() - started
    packages: dict[str, float] = {}
    for own, _, _, name in LINE.findall(done.stderr):
        package = name.split(".")[0]
        packages[package] = packages.get(package, 0.0) + int(own) / 1e6
    return wall, packages


def refusals(root: Path, runs: int) -> list[dict[str, Any]]:
    """Measure torch alone and each script of the project at `root`: seconds until it refuses."""
    cases = {TORCH: ["-c", "import torch"]}
    cases |= {script.name: [str(script)] for script in sorted((root / "pipelines").glob("*.py"))}
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    with tempfile.TemporaryDirectory() as folder:
        text = (root / "params.yaml").read_text(encoding="utf-8")
        wrong = re.sub(r"^seed:", "sede:", text, flags=re.MULTILINE)
        (Path(folder) / "params.yaml").write_text(wrong, encoding="utf-8")
        for _ in range(runs):
            for name, arguments in cases.items():
                expected = 0 if name == TORCH else REFUSED
                seconds[name].append(_seconds_of(arguments, root, folder, expected))
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    return [
        {"script": name, "seconds": median, "ratio": median / medians[TORCH]}
        for name, median in medians.items()
    ]


def _seconds_of(arguments: list[str], root: Path, folder: str, expected: int) -> float:
    """Wall seconds of Python with these arguments in `folder`, with the sources at `root`."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(root / "src")},
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - started
    if done.returncode != expected:
        raise RuntimeError(f"{arguments} exited with {done.returncode}: {done.stderr}")
    return seconds


def main() -> None:
    """Print a table of imports and one of refusals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    options = parse_options(parser)
    runs = options.runs
    cases = {TORCH: "import torch"}
    cases |= {p.name: imports_of(p) for p in sorted((ROOT / "pipelines").glob("*.py"))}
    measured = {name: [measure(code) for _ in range(runs)] for name, code in cases.items()}
    base = statistics.median(wall for wall, _ in measured[TORCH])
    print(f"{'script':14} {'seconds':>8} {'ratio':>6}   heaviest packages (own modules, s)")
    rows = []
    for name, results in measured.items():
        wall = statistics.median(seconds for seconds, _ in results)
        heaviest = sorted(results[0][1].items(), key=lambda item: -item[1])[:6]
        text = ", ".join(f"{package} {seconds:.2f}" for package, seconds in heaviest)
        print(f"{name:14} {wall:8.2f} {wall / base:6.2f}   {text}")
        rows.append({"script": name, "seconds": wall, "ratio": wall / base, "heaviest": text})
    refused = refusals(ROOT, runs)
    print(f"\nuntil a wrong parameter is refused:\n{trainings.table(refused)}")
    write_result("start_up", rows, options.out)
    write_result("start_up-refusals", refused, options.out)


if __name__ == "__main__":
    main()
