"""The benchmarks that any machine runs, at sizes that fit it: ``make bench``.

Each is a program of its own with flags for other sizes, see ``python -m benchmarks.NAME --help``.
"""

import subprocess
import sys

SMALL = (
    ("benchmarks.sandbox",),
    ("benchmarks.sandbox_limits", "--rounds=3"),
    ("benchmarks.train", "--shape=tiny", "--rows=16", "--length=256"),
    ("benchmarks.sample", "--shape=tiny"),
    ("benchmarks.divergence", "--prompts=40", "--slots=8", "--prompt=64", "--new=128"),
    ("benchmarks.convert", "--shape=1.3b"),
)


def main() -> int:
    """Runs them one after the other, so that none slows another; the worst exit status."""
    worst = 0
    for module, *arguments in SMALL:
        print(f"\n{module}", flush=True)
        worst = max(worst, subprocess.run([sys.executable, "-m", module, *arguments]).returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main())
