"""How long an audit of many runs takes, beside sha256sum over the same files.

    bench.py HARNESS STAND_IN_TRAINER REPOSITORY [--runs 1000] [--rounds 3]

Makes a project with so many sealed runs, of experiments of at most 50 seeds each, by the stand-in trainer; then times `harness audit`
and `sha256sum` over the same run folders (xargs, a process for each core) in turn. Prints the medians and their ratio: what an audit
costs beyond reading and hashing what it reads.
"""

import argparse
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import tempfile
import time

EXPERIMENT = """title = "{name}"
hypothesis = "It runs."
corpus = "tiny"
seed = 1

[model]
layers = 1
heads = 2
width = {width}
context_length = 32

[training]
steps = 20
batch_size = 2
device = "cpu"
threads = 1
checkpoint_every = 20

[evaluation]
validation_at = {{ every = 5 }}
tasks_at = {{ every = 10 }}
tasks = ["grammar-agreement"]
"""
CORPUS = """title = "Tiny"
language = "en"
licence = "CC0-1.0"
citation = "none"

[generate]
kind = "grammar"
seed = 5
documents = 400

[split]
validation = 0.1

[tokenizer]
kind = "bpe"
vocabulary_size = 300
"""
SEEDS = 50


def call(command, folder, **more):
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, **more)


def git(folder, *arguments):
    who = ["-c", "user.name=Bench", "-c", "user.email=bench@example.org", "-c", "gc.auto=0"]
    call(["git", *who, *arguments], folder)


def project(folder, harness, trainer, repository, runs):
    experiments = folder / "experiments"
    (experiments / "corpora").mkdir(parents=True)
    (experiments / "tasks").mkdir()
    (experiments / "corpora" / "tiny.toml").write_text(CORPUS)
    shutil.copy(repository / "experiments/tasks/grammar-agreement.toml", experiments / "tasks")
    (folder / ".gitignore").write_text("/.harness\nexperiments/*/runs/*/checkpoints/\n")
    names = [f"change-{at}" for at in range((runs + SEEDS - 1) // SEEDS)]
    for at, name in enumerate(names):
        (experiments / name).mkdir()
        (experiments / name / "experiment.toml").write_text(EXPERIMENT.format(name=name, width=16 + 2 * at))
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "Begin")
    for at in range(runs):
        name, seed = names[at // SEEDS], str(1 + at % SEEDS)
        call([harness, "run", name, "--seed", seed, "--trainer", trainer], folder)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "Runs")


def timed(command, folder):
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, shell=isinstance(command, str))
    wall, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise SystemExit(f"{command} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("harness", type=pathlib.Path)
    parser.add_argument("trainer", type=pathlib.Path)
    parser.add_argument("repository", type=pathlib.Path)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    harness, trainer = str(arguments.harness.resolve()), str(arguments.trainer.resolve())
    cores = os.cpu_count()
    hashing = f"find experiments/*/runs -type f -print0 | xargs -0 -n 256 -P {cores} sha256sum >/dev/null"
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        project(folder, harness, trainer, arguments.repository.resolve(), arguments.runs)
        files = [path for path in (folder / "experiments").glob("*/runs/*/**/*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        print(f"{arguments.runs} runs, {len(files)} files, {size / 2**20:.0f} MiB, {cores} cores")
        audits, hashes = [], []
        for _ in range(arguments.rounds):
            audits.append(timed([harness, "audit"], folder))
            hashes.append(timed(hashing, folder))
        for name, times in [("harness audit", audits), ("sha256sum", hashes)]:
            wall, cpu = (statistics.median(column) for column in zip(*times))
            print(f"{name:<14} {wall:7.2f} s wall, {cpu:7.2f} s CPU (medians of {len(times)})")
        ratio = statistics.median(audit[0] / hashed[0] for audit, hashed in zip(audits, hashes))
        print(f"ratio by wall clock: {ratio:.1f}; {1000 * statistics.median(a[0] for a in audits) / arguments.runs:.1f} ms a run")


if __name__ == "__main__":
    main()
