"""A project with sealed runs for the benchmarks: a baseline and changes of its learning rate, made by the stand-in trainer of the tests
(target/debug/examples/stand-in-trainer).
"""

import os
import resource
import shutil
import subprocess
import sys
import time

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

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


def timed(project, *command):
    """Seconds of the wall and of the processor, those of the programs that it starts included."""
    used = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    begun, before = time.monotonic(), used()
    run(project, *command)
    return time.monotonic() - begun, used() - before
