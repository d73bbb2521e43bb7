"""`make bench-overhead`: what supervision, records and measurements cost. The same training runs in turn under `harness
run`, with everything that is on by default, and as the bare trainer with its messages to a file and nothing measured.

usage: overhead.py BIN_FOLDER CORPUS_RECIPE [ROUNDS] [STEPS]

Compared is the time from the beginning of training to the end of the last step, as the trainer counts it in its last
step line: what messages, a slow reader of them, and measurements between steps cost is in it; evaluations and
checkpoints, which are work of their own, are not there. Prints a table in Markdown and the ratio of each round.
"""

import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile

EXPERIMENT = """\
title = "Overhead"
hypothesis = "Watching costs at most 1 %."
corpus = "{corpus}"

[model]
layers = 4
heads = 4
width = 128
context_length = 128

[training]
steps = {steps}
batch_size = 16
device = "cpu"
threads = {threads}

[evaluation]
validation_at = "last"
"""


def git(project: pathlib.Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Bench", "-c", "user.email=bench@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=project, check=True, stdout=subprocess.DEVNULL)


def supervised(harness: pathlib.Path, project: pathlib.Path) -> tuple[float, pathlib.Path]:
    """Seconds to the end of the last step, and the run folder."""
    command = [harness, "run", "overhead", "--allow-dirty"]
    subprocess.run(command, cwd=project, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    run = max((project / "experiments" / "overhead" / "runs").iterdir())
    header, *rows = (run / "steps.csv").read_text().splitlines()
    return float(rows[-1].split(",")[header.split(",").index("wall_time_s")]), run


def bare(trainer: pathlib.Path, project: pathlib.Path, job: dict) -> float:
    """Seconds to the end of the last step of the same job, with nothing measured and nobody watching."""
    output = project / "bare"
    output.mkdir(exist_ok=True)
    job = {**job, "output": "bare", "validation_steps": [], "token_loss_steps": [], "task_steps": []}
    job["metrics"] = {**job["metrics"], "tensor_norms_every": 0, "activations_every": 0}
    (output / "job.json").write_text(json.dumps(job))
    threads = str(job["training"]["threads"])
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    with open(output / "messages", "wb") as messages:
        process = subprocess.Popen(
            [trainer, "run", "bare/job.json"],
            cwd=project,
            stdin=subprocess.PIPE,
            stdout=messages,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        if process.wait() != 0:
            sys.exit("the bare trainer failed")
    steps = [line for line in (output / "messages").read_text().splitlines() if '"event":"step"' in line]
    return json.loads(steps[-1])["wall_time_s"]


def main() -> None:
    folder, recipe = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
    rounds, steps = (int(argument) for argument in (*sys.argv[3:], *["6", "150"][len(sys.argv) - 3 :]))
    threads = min(2, os.cpu_count() or 1)
    with tempfile.TemporaryDirectory() as temporary:
        project = pathlib.Path(temporary)
        corpora, experiment = project / "experiments" / "corpora", project / "experiments" / "overhead"
        corpora.mkdir(parents=True)
        experiment.mkdir()
        (corpora / recipe.name).write_text(recipe.read_text())
        text = EXPERIMENT.format(corpus=recipe.stem, steps=steps, threads=threads)
        (experiment / "experiment.toml").write_text(text)
        (project / ".gitignore").write_text("/.harness\n/bare\n")
        git(project, "init", "--quiet")
        git(project, "add", "-A")
        git(project, "commit", "--quiet", "-m", "Begin")
        _, run = supervised(folder / "harness", project)  # also makes the corpus
        job = json.loads((run / "plan" / "job.json").read_text())
        watched, alone = [], []
        for number in range(rounds):
            # Turn about, so that a machine that slows down or speeds up favours neither.
            for which in ((0, 1), (1, 0))[number % 2]:
                if which == 0:
                    watched.append(supervised(folder / "harness", project)[0])
                else:
                    alone.append(bare(folder / "harness-trainer", project, job))
        ratios = [a / w for a, w in zip(alone, watched)]
        print(f"\n{platform.machine()}, {os.cpu_count()} cores, {threads} threads; {steps} steps of 2,048 tokens, ", end="")
        print(f"{rounds} rounds, median (least-most).\n")
        print("| | time, s |\n|---|---|")
        for name, times in (("bare trainer", alone), ("harness run, everything on", watched)):
            print(f"| {name} | {statistics.median(times):.2f} ({min(times):.2f}-{max(times):.2f}) |")
        print(f"\nThroughput of `harness run` over that of the bare trainer: {statistics.median(ratios):.4f} ", end="")
        print(f"({min(ratios):.4f}-{max(ratios):.4f} over the rounds); sum of all rounds {sum(alone) / sum(watched):.4f}")


if __name__ == "__main__":
    main()
