"""lm_eval_equality.py HARNESS [FOLDER]: item by item, does lm-evaluation-harness score a model as `harness` does?

Trains a small GPT-2, lets `harness` score it on BLiMP (16 paradigms), PIQA, ARC-Easy, COPA, HellaSwag (first 500), LAMBADA
and WikiText-2 (60 articles in rolling windows), exports it, and scores the export with lm-evaluation-harness's `hf` model
on CPU from local files. Exit code 1 if a choice differs without an exact tie, a log-probability by more than 1e-3 (of a
document: and more than float32 resolves), or a metric in five digits."""

import json
import pathlib
import sys
import tempfile

import project

project.quiet()

LARGEST_DIFFERENCE_NATS, FLOAT32_STEP = 1e-3, 2.0**-23
# Two choices closer than this are a tie: float32 keeps about 1e-6 of log-probabilities of this size.
TIE_NATS = 1e-4
METRICS = [
    ("acc,none", "accuracy"),
    ("acc_norm,none", "accuracy_normalized"),
    ("acc_mutual_info,none", "accuracy_mutual_information"),
    ("perplexity,none", "perplexity"),
    ("word_perplexity,none", "word_perplexity"),
    ("byte_perplexity,none", "byte_perplexity"),
    ("bits_per_byte,none", "bits_per_byte"),
]


def theirs(folder, tasks, work):
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    model = HFLM(pretrained=str(folder), tokenizer=str(folder), device="cpu", dtype="float32", batch_size=64)
    manager = TaskManager(include_path=str(work), include_defaults=False)
    done = lm_eval.simple_evaluate(model=model, tasks=tasks, task_manager=manager, log_samples=True, bootstrap_iters=0)
    samples = {task: sorted(done["samples"][task], key=lambda s: s["doc_id"]) for task in tasks}
    return samples, done["results"]


def answers(sample):
    """Log-probability and greedy (`None` for a document) of each choice of a logged sample."""
    pairs = [response[0] if isinstance(response[0], (list, tuple)) else response for response in sample["resps"]]
    return [float(pair[0]) for pair in pairs], [str(pair[1]) == "True" if len(pair) > 1 else None for pair in pairs]


def compare(own, ours, samples, results, values):
    """Differences of one task, as lines; empty if there are none."""
    problems, largest, ties = [], 0.0, 0
    if len(ours) != len(samples):
        return [f"{own}: {len(ours)} items here, {len(samples)} there"], largest, ties
    for index, (item, sample) in enumerate(zip(ours, samples, strict=True)):
        scores, greedy = answers(sample)
        # Where asked, the choices without their context follow.
        here = item["ll"] + item["alone"]
        difference = max(abs(a - b) for a, b in zip(here, scores, strict=True))
        largest = max(largest, difference)
        # lm-evaluation-harness adds up a document's thousands of tokens in float32.
        rounding = FLOAT32_STEP * abs(scores[0]) if greedy == [None] else 0.0
        if difference > LARGEST_DIFFERENCE_NATS + rounding:
            problems.append(f"{own} item {index}: {here} here, {scores} there")
        scores = scores[: len(item["ll"])]
        if len(scores) == 1:
            if greedy != [None] and item["greedy"] != greedy:
                problems.append(f"{own} item {index}: greedy {item['greedy']} here, {greedy} there")
            continue
        lengths = [[1.0] * len(scores), [max(1, n) for n in item["characters"]]]
        for length in lengths if "acc_norm" in sample else lengths[:1]:
            normal = [[s / n for s, n in zip(all_scores, length, strict=True)] for all_scores in (item["ll"], scores)]
            here, there = (row.index(max(row)) for row in normal)
            if here != there:
                gap = abs(normal[1][here] - normal[1][there]) * length[here]
                ties += gap < TIE_NATS
                if gap >= TIE_NATS:
                    problems.append(f"{own} item {index}: choice {here} here, {there} there, {gap} nats apart")
    for theirs_key, key in METRICS:
        value = values.get(f"tasks.{own}.{key}")
        if theirs_key in results and value and f"{results[theirs_key]:.5g}" != f"{value['number']:.5g}":
            problems.append(f"{own} {key}: {value['number']:.5g} here, {results[theirs_key]:.5g} there")
    return problems, largest, ties


def main():
    harness = sys.argv[1]
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else temporary)
        place = project.Project(folder, harness)
        print("training and evaluating with harness", flush=True)
        run = place.make(steps=60, threads=2)
        export = folder / "export"
        place.run("export", "hf", "small", export)
        values = json.loads(place.run("show", "small", "--values", "--json"))["values"]
        work = folder / "lm_eval"
        work.mkdir()
        tasks = {}
        for name in project.TASKS:
            for own, text, gold in place.subtasks(name):
                tasks[own] = project.lm_eval_task(name, own, text, gold, work)
        print("evaluating with lm-evaluation-harness", flush=True)
        samples, results = theirs(export, list(tasks.values()), work)
        scores = max(run.glob("evaluations/*"))
        failed, worst = [], 0.0
        for own, task in tasks.items():
            ours = project.rows_of(scores / f"{own}.csv")
            problems, largest, ties = compare(own, ours, samples[task], results[task], values)
            keys = ["accuracy", "word_perplexity"]
            key, value = next((key, values[f"tasks.{own}.{key}"]) for key in keys if f"tasks.{own}.{key}" in values)
            score = f"{key} {value['number']:.5g}"
            print(f"{own:50} {len(ours):6} items  {score:24}  largest difference {largest:.1e} nats, {ties} ties")
            failed += problems
            worst = max(worst, largest)
        for problem in failed[:20]:
            print("error:", problem)
        print(f"{len(failed)} differences; log-probabilities differ by at most {worst:.1e} nats")
        return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
