"""A project of its own in a temporary folder: a small GPT-2 on real text, trained, evaluated and exported by `harness`,
and the same tasks as lm-evaluation-harness takes them from local files."""

import csv
import hashlib
import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
TASKS = ["blimp", "piqa", "arc-easy", "copa", "hellaswag-500", "lambada", "wikitext-2"]
EXPERIMENT = """title = "A small GPT-2"
corpus = "books"

[model]
layers = 4
heads = 4
width = 128
context_length = 512

[optimizer]
learning_rate = 1e-3

[schedule]
warmup_steps = 10

[training]
steps = {steps}
batch_size = 4
device = "cpu"
threads = {threads}

[evaluation]
validation_at = "none"
tasks = {tasks}
"""


class Project:
    def __init__(self, folder, harness):
        self.folder, self.harness = pathlib.Path(folder), str(pathlib.Path(harness).resolve())
        self.recipes = {}

    def run(self, *arguments):
        command = [self.harness, "-C", str(self.folder), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"error: {' '.join(command)} ended with {done.returncode}\n{done.stderr[-2000:]}")
        return done.stdout

    def git(self, *arguments):
        identity = ["-c", "user.name=peers", "-c", "user.email=peers@example.org"]
        subprocess.run(["git", "-C", str(self.folder), *identity, *arguments], check=True, stdout=subprocess.DEVNULL)

    def download(self, sha256):
        return (self.folder / ".harness/downloads" / sha256).read_bytes()

    def make(self, steps, threads):
        """Trains and evaluates; gives the run's folder."""
        experiments = self.folder / "experiments"
        for kind in ["corpora", "tasks"]:
            (experiments / kind).mkdir(parents=True)
            for recipe in (REPOSITORY / "experiments" / kind).glob("*.toml"):
                (experiments / kind / recipe.name).write_text(recipe.read_text())
        (self.folder / ".gitignore").write_text("/.harness/\n/experiments/*/runs/\n")
        self.git("init", "--quiet")
        self.run("data", "fetch", "books", "blimp", "piqa", "arc-easy", "copa", "hellaswag", "lambada", "wikitext-2")
        self.first_of_hellaswag(500)
        copa = experiments / "tasks/copa.toml"
        copa.write_text(copa.read_text().replace("\n[items]", "unconditional = true\n\n[items]", 1))
        (experiments / "small").mkdir()
        text = EXPERIMENT.format(steps=steps, threads=threads, tasks=json.dumps(TASKS))
        (experiments / "small/experiment.toml").write_text(text)
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", "Propose")
        self.run("run", "small")
        return next((experiments / "small/runs").iterdir())

    def first_of_hellaswag(self, items):
        """A recipe of the first items: six lines each."""
        recipe = (self.folder / "experiments/tasks/hellaswag.toml").read_text()
        whole = tomllib.loads(recipe)["subtask"][0]["file"]["sha256"]
        lines = self.download(whole).decode().split("\n")[: 6 * items]
        content = ("\n".join(lines) + "\n").encode()
        sha256 = hashlib.sha256(content).hexdigest()
        (self.folder / ".harness/downloads" / sha256).write_bytes(content)
        head = recipe.split("[[subtask]]")[0]
        tail = f'[[subtask]]\nfile.sha256 = "{sha256}"\nfile.bytes = {len(content)}\n'
        (self.folder / "experiments/tasks/hellaswag-500.toml").write_text(head + tail)

    def subtasks(self, name):
        """(id, bytes of the file, bytes of the answers or None) of a recipe."""
        recipe = tomllib.loads((self.folder / f"experiments/tasks/{name}.toml").read_text())
        for subtask in recipe["subtask"]:
            own = f"{name}.{subtask['name']}" if subtask.get("name") else name
            answers = subtask.get("answers")
            answers = self.download(answers["sha256"]).decode().split() if answers else None
            yield own, self.download(subtask["file"]["sha256"]).decode(), answers


MULTIPLE = "output_type: multiple_choice\nmetric_list:\n  - metric: acc\n  - metric: acc_norm\n"
PAIRS = "output_type: multiple_choice\nmetric_list:\n  - metric: acc\n"
# The rules of lm-evaluation-harness's own `wikitext`, whose functions stand in a file beside it.
ROLLING = """output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: !function preprocess_wikitext.wikitext_detokenizer
process_results: !function preprocess_wikitext.process_results
metric_list:
  - metric: word_perplexity
  - metric: byte_perplexity
  - metric: bits_per_byte
"""
WORD = "output_type: loglikelihood\nmetric_list:\n  - metric: perplexity\n  - metric: acc\n"


def capitalized(context):
    """The second half of HellaSwag's context begins with a capital in lm-evaluation-harness; the plain text has lost
    where that is, so it is taken to be the last sentence."""
    ends = [i for i in range(len(context) - 1) if context[i] in ".!?" and context[i + 1] == " "]
    if not ends or not context[ends[-1] + 2 : ends[-1] + 3].islower():
        return context
    at = ends[-1] + 2
    return context[:at] + context[at:].capitalize()


def lm_eval_task(name, own, text, answers, folder):
    """Writes a local task for lm-evaluation-harness and gives its name."""
    task = "h_" + own.replace(".", "_").replace("-", "_")
    if name == "hellaswag-500":
        lines = text.split("\n")
        rows = [lines[i : i + 6] for i in range(0, len(lines) - 5, 6)]
        rows = [{"context": capitalized(r[0]), "gold": int(r[1]), "choices": r[2:]} for r in rows]
        rule = MULTIPLE + 'doc_to_text: "{{context}}"\ndoc_to_target: gold\ndoc_to_choice: "{{choices}}"\n'
    elif name == "wikitext-2":
        rule = ROLLING
        rows = [{"page": page} for page in re.split(r"(?m)^(?= = [^=\n].* = ?$)", text) if page.strip()]
        rows = [{"page": row["page"].removesuffix("\n") if row is not rows[-1] else row["page"]} for row in rows]
        functions = importlib.util.find_spec("lm_eval.tasks.wikitext").submodule_search_locations[0]
        shutil.copy(pathlib.Path(functions) / "preprocess_wikitext.py", folder)
    else:
        rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    if name == "blimp":
        rule = PAIRS + 'doc_to_text: ""\ndoc_to_target: 0\ndoc_to_choice: "{{[sentence_good, sentence_bad]}}"\n'
    elif name == "piqa":
        rows = [{**row, "gold": int(answer)} for row, answer in zip(rows, answers, strict=True)]
        context = '"Question: {{goal}}\\nAnswer:"'
        rule = MULTIPLE + f'doc_to_text: {context}\ndoc_to_target: gold\ndoc_to_choice: "{{{{[sol1, sol2]}}}}"\n'
    elif name == "copa":
        metrics = MULTIPLE + "  - metric: acc_mutual_info\n"
        rule = metrics + 'doc_to_text: "{{query}}"\ndoc_to_target: gold\ndoc_to_choice: "{{choices}}"\n'
    elif name == "arc-easy":
        rule = MULTIPLE + 'doc_to_text: "{{query}}\\nAnswer:"\ndoc_to_target: gold\ndoc_to_choice: "{{choices}}"\n'
    elif name == "lambada":
        rows = [dict(zip(["context", "word"], row["text"].rsplit(" ", 1), strict=True)) for row in rows]
        rule = WORD + 'doc_to_text: "{{context}}"\ndoc_to_target: " {{word}}"\ntarget_delimiter: ""\n'
    data = folder / f"{task}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = f"dataset_path: json\ndataset_kwargs:\n  data_files:\n    test: {data}\ntest_split: test\nnum_fewshot: 0\n"
    (folder / f"{task}.yaml").write_text(f"task: {task}\n{source}{rule}")
    return task


def rows_of(path):
    """Log-probabilities (also without context, where asked), greedy, gold choice and characters of each item of a score
    file."""
    items = {}
    with open(path) as file:
        for row in csv.DictReader(file):
            item = items.setdefault(int(row["item"]), {"ll": [], "alone": [], "greedy": [], "gold": None, "characters": []})
            if row["gold"] == "true":
                item["gold"] = int(row["choice"])
            item["ll"].append(float(row["log_probability_nats"]))
            if row["unconditional_log_probability_nats"]:
                item["alone"].append(float(row["unconditional_log_probability_nats"]))
            item["greedy"].append(row["greedy"] == "true")
            item["characters"].append(int(row["characters"]))
    return [items[i] for i in range(len(items))]


def quiet():
    """lm-evaluation-harness without a network. Before it is imported."""
    os.environ.update(
        HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false"
    )
