#!/usr/bin/env python3
"""How long `harness report` takes: of a project's first paper, of one that is there already, of one with an edited sentence, and
of one with one more run.

    bench.py STAND_IN NAME=HARNESS,TEMPLATES... [--changes 11] [--seeds 3] [--repeats 5]

Each NAME is a program with the templates of its own source tree; all of them are timed in turn on copies of one project, whose
runs the stand-in trainer of the tests makes (target/debug/examples/stand-in-trainer). Prints medians as a table.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

BASELINE = """title = "Baseline"
question = "How well does a small model learn agreement?"
hypothesis = "It is above chance on each task."
corpus = "tiny"
seed = 3
[model]
layers = 1
heads = 2
width = 16
context_length = 32
[optimizer]
learning_rate = 1e-3
[training]
steps = 200
batch_size = 2
device = "cpu"
threads = 1
[evaluation]
validation_at = { every = 25 }
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


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)


def run(project, *command, **environment):
    done = subprocess.run(command, cwd=project, env={**os.environ, **environment}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def commit(project, message):
    run(project, "git", "add", "-A")
    run(project, "git", "-c", "user.name=Bench", "-c", "user.email=bench@example.org", "commit", "-q", "-m", message)


def study(folder, harness, stand_in, changes, seeds):
    """A project with a baseline and changes of its learning rate, each with some seeds."""
    project = os.path.join(folder, "study")
    write(f"{project}/experiments/baseline/experiment.toml", BASELINE)
    write(f"{project}/experiments/corpora/tiny.toml", CORPUS)
    write(f"{project}/.gitignore", "/.harness\n/.tools\nexperiments/*/runs/*/checkpoints/\nreport/build/\n")
    task = "experiments/tasks/grammar-agreement.toml"
    os.makedirs(f"{project}/experiments/tasks")
    shutil.copy(f"{REPOSITORY}/{task}", f"{project}/{task}")
    names = ["baseline"]
    for at in range(1, changes + 1):
        names.append(f"rate-{at}")
        config = f'title = "Rate {at}"\nhypothesis = "It is better."\nextends = "baseline"\n[optimizer]\nlearning_rate = {1e-3 * (1 + at / 10):.6g}\n'
        write(f"{project}/experiments/rate-{at}/experiment.toml", config)
    run(project, "git", "init", "-q", "-b", "main")
    commit(project, "Begin")
    for name in names:
        for seed in range(1, seeds + 1):
            run(project, harness, "run", name, "--seed", str(seed), HARNESS_TRAINER=stand_in)
    commit(project, "Runs")
    return project


def timed(project, harness):
    """Seconds of the wall and of the processor, Typst's included."""
    used = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    begun, before = time.monotonic(), used()
    run(project, harness, "report")
    return time.monotonic() - begun, used() - before


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stand_in")
    parser.add_argument("programs", nargs="+", metavar="NAME=HARNESS,TEMPLATES")
    parser.add_argument("--changes", type=int, default=11)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    stand_in = os.path.abspath(options.stand_in)
    programs = {}
    for program in options.programs:
        name, _, paths = program.partition("=")
        programs[name] = [os.path.abspath(path) for path in paths.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        harness, _ = next(iter(programs.values()))
        made = study(folder, harness, stand_in, options.changes, options.seeds)
        projects, times = {}, {name: {} for name in programs}
        for name, (_, templates) in programs.items():
            projects[name] = os.path.join(folder, name)
            shutil.copytree(made, projects[name], symlinks=True)
            shutil.copytree(templates, f"{projects[name]}/templates")
            os.symlink(f"{REPOSITORY}/.tools", f"{projects[name]}/.tools")
        for repeat in range(options.repeats):
            for name, (harness, _) in programs.items():
                project, add = projects[name], lambda what, took: times[name].setdefault(what, []).append(took)
                shutil.rmtree(f"{project}/report", ignore_errors=True)
                add("first", timed(project, harness))
                add("unchanged", timed(project, harness))
                with open(f"{project}/report/sections/80-conclusion.typ", "a") as section:
                    section.write(f"\nAnd sentence {repeat} is ours.\n")
                add("one sentence edited", timed(project, harness))
        for name, (harness, _) in programs.items():
            run(projects[name], harness, "run", "baseline", "--seed", "99", "--allow-dirty", HARNESS_TRAINER=stand_in)
            times[name]["one more run"] = [timed(projects[name], harness)]
    runs = (options.changes + 1) * options.seeds
    print(f"{runs} runs, medians of {options.repeats} in seconds of the wall and, behind the stroke, of the processor")
    print("| report | " + " | ".join(programs) + " |\n| --- |" + " ---: |" * len(programs))
    for what in ["first", "unchanged", "one sentence edited", "one more run"]:
        median = lambda name, at: statistics.median(time[at] for time in times[name][what])
        print(f"| {what} | " + " | ".join(f"{median(name, 0):.2f} / {median(name, 1):.2f}" for name in programs) + " |")


if __name__ == "__main__":
    main()
