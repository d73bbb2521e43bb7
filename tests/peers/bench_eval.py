"""bench_eval.py HARNESS [FOLDER]: how fast is the evaluation, against lm-evaluation-harness on the same model and machine?

Both get the same token ids of the same requests, in float32 with the same number of threads, in turn. Ours is timed as
a whole process, with the start of libtorch; theirs without imports, loading and tokenizing, in the best of three batch
sizes. Then the scores of batch sizes 1, 7 and 64 are compared. Exit code 1 if we are less than twice as fast, or if a
score depends on the batch size."""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import project

project.quiet()

ROUNDS, THREADS = 3, 2
TIMED = ["blimp.causative", "blimp.wh_vs_that_with_gap", "piqa", "arc-easy", "hellaswag-500"]
BATCHED = ["blimp.causative", "piqa"]
LEAST_RATIO, LARGEST_DIFFERENCE_NATS = 2.0, 1e-5


class Ours:
    """The trainer, on the last checkpoint of a run."""

    def __init__(self, place, run):
        self.place, self.job = place, json.loads((run / "plan/job.json").read_text())
        self.requests = {task["id"]: place.folder / task["requests"] for task in self.job["tasks"]}
        self.checkpoint = str(max(run.glob("checkpoints/*.safetensors")))
        self.trainer = pathlib.Path(place.harness).with_name("harness-trainer")

    def score(self, tasks, batch_size=0):
        """Seconds of the process, and the rows of each task."""
        with tempfile.TemporaryDirectory() as output:
            chosen = [task for task in self.job["tasks"] if task["id"] in tasks]
            own = dict(output=output, tasks=chosen, task_steps=[0], resume_from=self.checkpoint)
            none = dict.fromkeys(["train_shards", "validation_shards", "validation_steps", "token_loss_steps"], [])
            job = {**self.job, **none, **own, "evaluation_batch_size": batch_size}
            path = pathlib.Path(output) / "job.json"
            path.write_text(json.dumps(job))
            begun = time.perf_counter()
            command = [self.trainer, "run", path]
            # The end of its standard input would tell the trainer to stop, so it is held open.
            ours, held = os.pipe()
            done = subprocess.run(command, cwd=self.place.folder, stdin=ours, capture_output=True, text=True)
            seconds = time.perf_counter() - begun
            os.close(ours)
            os.close(held)
            files = {task: list(pathlib.Path(output).glob(f"evaluations/*/{task}.csv")) for task in tasks}
            if done.returncode != 0 or not all(files.values()):
                sys.exit(f"error: the trainer ended with {done.returncode}\n{done.stderr}")
            return seconds, {task: project.rows_of(found[0]) for task, found in files.items()}


def theirs(folder):
    """Scores requests of token ids; gives seconds."""
    import torch
    from lm_eval.models.huggingface import HFLM

    torch.set_num_threads(THREADS)
    model = HFLM(pretrained=str(folder), tokenizer=str(folder), device="cpu", dtype="float32", batch_size=64)

    def score(requests, batch_size):
        model.batch_size_per_gpu = batch_size
        begun = time.perf_counter()
        model._loglikelihood_tokens(requests, disable_tqdm=True)
        return time.perf_counter() - begun

    return score


def batch_sizes(ours):
    """The largest difference in nats between batch sizes, and the choices that differ."""
    _, reference = ours.score(BATCHED, 64)
    largest, differing = 0.0, 0
    for size in [1, 7]:
        _, other = ours.score(BATCHED, size)
        for task in BATCHED:
            for a, b in zip(reference[task], other[task], strict=True):
                largest = max(largest, *(abs(x - y) for x, y in zip(a["ll"], b["ll"], strict=True)))
                differing += a["ll"].index(max(a["ll"])) != b["ll"].index(max(b["ll"])) or a["greedy"] != b["greedy"]
    return largest, differing


def main():
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else temporary)
        place = project.Project(folder, sys.argv[1])
        run = next((folder / "experiments/small/runs").glob("*"), None) or place.make(steps=20, threads=THREADS)
        if not (folder / "export").exists():
            place.run("export", "hf", "small", folder / "export")
        ours, score = Ours(place, run), theirs(folder / "export")
        requests = []
        for task in TIMED:
            rows = [json.loads(line) for line in ours.requests[task].read_text().splitlines()]
            requests += [(("", ""), row["context"], row["continuation"]) for row in rows]
        sample = requests[:: len(requests) // 1000]
        best = min([16, 64, 256], key=lambda size: score(sample, size))
        print(f"{len(requests)} requests, {THREADS} threads, float32; theirs in batches of {best}", flush=True)
        ratios = []
        for _ in range(ROUNDS):
            here, there = ours.score(TIMED)[0], score(requests, best)
            ratios.append(there / here)
            print(f"harness {here:6.1f} s   lm-evaluation-harness {there:6.1f} s   ratio {ratios[-1]:.2f}", flush=True)
        ratio = statistics.median(ratios)
        largest, differing = batch_sizes(ours)
        print(f"median ratio {ratio:.2f}; between batch sizes 1, 7 and 64: {differing} choices, at most {largest:.1e} nats")
        return 0 if ratio >= LEAST_RATIO and not differing and largest <= LARGEST_DIFFERENCE_NATS else 1


if __name__ == "__main__":
    sys.exit(main())
