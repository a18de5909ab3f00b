"""What each stage script imports before it does anything, and what that costs.

    python benchmarks/start_up.py [--runs 5]

Runs `python -X importtime` on every script's imports and prints, of each, the median seconds and
the share of the packages that cost most, as ratios to importing torch alone in the same run.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| ( *)(\S+)")


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


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    cases = {"torch alone": "import torch"}
    cases |= {p.name: imports_of(p) for p in sorted((ROOT / "pipelines").glob("*.py"))}
    measured = {name: [measure(code) for _ in range(runs)] for name, code in cases.items()}
    base = statistics.median(wall for wall, _ in measured["torch alone"])
    print(f"{'script':14} {'seconds':>8} {'ratio':>6}   heaviest packages (own modules, s)")
    for name, results in measured.items():
        wall = statistics.median(seconds for seconds, _ in results)
        heaviest = sorted(results[0][1].items(), key=lambda item: -item[1])[:6]
        text = ", ".join(f"{package} {seconds:.2f}" for package, seconds in heaviest)
        print(f"{name:14} {wall:8.2f} {wall / base:6.2f}   {text}")


if __name__ == "__main__":
    main()
