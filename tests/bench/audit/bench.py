"""How long an audit of many runs takes, beside sha256sum over the same files.

    bench.py HARNESS STAND_IN_TRAINER [--runs 1000] [--rounds 3]

Makes a project with so many sealed runs, 50 seeds of each experiment, by the stand-in trainer; then times `harness audit` and
`sha256sum` over the same run folders (xargs, a process for each core) in turn. Prints the medians and their ratio: what an audit
costs beyond reading and hashing what it reads.
"""

import argparse
import os
import pathlib
import statistics
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from study import study, timed

SEEDS = 50


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("harness", type=os.path.abspath)
    parser.add_argument("trainer", type=os.path.abspath)
    parser.add_argument("--runs", type=int, default=1000, help=f"a multiple of {SEEDS}")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    cores = os.cpu_count()
    hashing = f"find experiments/*/runs -type f -print0 | xargs -0 -n 256 -P {cores} sha256sum >/dev/null"
    with tempfile.TemporaryDirectory() as folder:
        experiments = max(1, options.runs // SEEDS)
        project = study(folder, options.harness, options.trainer, experiments - 1, SEEDS)
        files = [path for path in pathlib.Path(project).glob("experiments/*/runs/*/**/*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        print(f"{experiments * SEEDS} runs, {len(files)} files, {size / 2**20:.0f} MiB, {cores} cores")
        audits, hashes = [], []
        for _ in range(options.rounds):
            audits.append(timed(project, options.harness, "audit"))
            hashes.append(timed(project, "sh", "-c", hashing))
        for name, times in [("harness audit", audits), ("sha256sum", hashes)]:
            wall, cpu = (statistics.median(column) for column in zip(*times))
            print(f"{name:<14} {wall:7.2f} s wall, {cpu:7.2f} s CPU (medians of {len(times)})")
        ratio = statistics.median(audit[0] / hashed[0] for audit, hashed in zip(audits, hashes))
        wall = statistics.median(audit[0] for audit in audits)
        print(f"ratio by wall clock: {ratio:.1f}; {1000 * wall / (experiments * SEEDS):.1f} ms a run")


if __name__ == "__main__":
    main()
