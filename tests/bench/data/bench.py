"""`make bench-data`: `harness data prepare` against the Python pipeline of peer.py, in turn on the same documents, and
encoding alone. Prints a table in Markdown.

usage: bench.py HARNESS ENCODE [ROUNDS]

Run in the root of the project. The text is that of the recipe `books`, from HARNESS_MIRROR or its public addresses.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib

HERE = pathlib.Path(__file__).parent
VOCABULARY_SIZE = 8192
RECIPE = """\
title = "Benchmark"
language = "en"
licence = "public domain"
citation = "classic-books-markdown"
steps = ["unicode_nfc", "control_characters", "whitespace", {{ shorter_than_characters = 64 }}]
duplicates = {{ near = {{ length = 5, permutations = 128, jaccard = 0.8 }} }}
split = {{ validation = 0.05 }}
tokenizer = {{ kind = "bpe", vocabulary_size = {vocabulary_size} }}
[[source]]
name = "documents"
format = "jsonl"
sha256 = "{sha256}"
bytes = {size_bytes}
"""


@dataclasses.dataclass
class Usage:
    wall_time_s: float
    cpu_time_s: float
    peak_memory_mib: float


def measure(command: list[str], folder: pathlib.Path, environment: dict[str, str]) -> Usage:
    """Time and memory of a command; of several processes the memory of the largest, which favours the peer."""
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall_time_s = time.perf_counter() - started
    if status != 0:
        sys.exit(f"failed: {' '.join(command)}")
    return Usage(wall_time_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def processor() -> str:
    """The name of the processor, as Linux has it."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def project(folder: pathlib.Path, documents: pathlib.Path) -> None:
    """A project that holds the recipe, and a mirror that holds the documents."""
    content = documents.read_bytes()
    corpora = folder / "experiments" / "corpora"
    corpora.mkdir(parents=True)
    sha256 = hashlib.sha256(content).hexdigest()
    recipe = RECIPE.format(vocabulary_size=VOCABULARY_SIZE, sha256=sha256, size_bytes=len(content))
    (corpora / "bench.toml").write_text(recipe)
    (folder / "Cargo.toml").write_text("[workspace]\n")
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)


def row(name: str, of: list[Usage]) -> tuple[str, list[float]]:
    columns = [[getattr(usage, field.name) for usage in of] for field in dataclasses.fields(Usage)]
    medians = [statistics.median(column) for column in columns]
    cells = [f"{middle:.1f} ({min(c):.1f}-{max(c):.1f})" for middle, c in zip(medians, columns)]
    return f"| {name} | {' | '.join(cells)} |", medians


def encoding(encode: str, texts: pathlib.Path, tokenizer: pathlib.Path, rounds: int) -> str:
    megabytes = texts.stat().st_size / 1e6
    speeds: list[list[float]] = [[], []]
    for _ in range(rounds):
        digests = set()
        for at, command in enumerate(([encode], [sys.executable, str(HERE / "peer.py"), "encode"])):
            output = subprocess.run([*command, str(texts), str(tokenizer)], check=True, capture_output=True, text=True)
            found = json.loads(output.stdout)
            speeds[at].append(megabytes / found["cpu_time_s"])
            digests.add(found["ids_sha256"])
        if len(digests) != 1:
            sys.exit("the token ids differ")
    ours, peer = (statistics.median(of) for of in speeds)
    return f"| {tokenizer.parent.name} | {megabytes:.1f} | {ours:.1f} | {peer:.2f} | {ours / peer:.1f} | yes |"


def main() -> None:
    harness, encode = (str(pathlib.Path(argument).resolve()) for argument in sys.argv[1:3])
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    subprocess.run([harness, "data", "fetch", "books"], check=True)
    recipe = tomllib.loads(pathlib.Path("experiments/corpora/books.toml").read_text())
    names = [str(pathlib.Path(".harness/downloads", source["sha256"]).resolve()) for source in recipe["source"]]
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        mirror = folder / "mirror"
        mirror.mkdir()
        documents = mirror / "documents.jsonl"
        subprocess.run([sys.executable, HERE / "documents.py", documents, *names], check=True)
        project(folder / "project", documents)
        environment = {"HARNESS_MIRROR": str(mirror)}
        fetch = [harness, "data", "fetch", "bench"]
        subprocess.run(fetch, cwd=folder / "project", check=True, env={**os.environ, **environment})
        ours, peer = [], []
        for _ in range(rounds):
            for made in ("corpora", "stages"):
                shutil.rmtree(folder / "project" / ".harness" / made, ignore_errors=True)
            ours.append(measure([harness, "data", "prepare", "bench"], folder / "project", environment))
            shutil.rmtree(folder / "peer", ignore_errors=True)
            command = [sys.executable, str(HERE / "peer.py"), str(documents), str(folder / "peer"), str(VOCABULARY_SIZE)]
            peer.append(measure(command, folder, {"TOKENIZERS_PARALLELISM": "true"}))
        (ours_row, a), (peer_row, b) = row("harness", ours), row("Python", peer)
        lines = documents.read_bytes().count(b"\n")
        commit = subprocess.run(["git", "describe", "--always", "--dirty"], check=True, capture_output=True, text=True)
        print(f"\nCommit {commit.stdout.strip()}, {processor()}, {os.cpu_count()} cores. ", end="")
        print(f"{lines} documents, {documents.stat().st_size / 1e6:.1f} MB; median of {rounds} rounds (least-most).\n")
        print("| pipeline | wall time, s | CPU time, s | peak memory, MiB |\n|---|---|---|---|")
        print(ours_row)
        print(peer_row)
        print(f"| Python / harness | {' | '.join(f'{y / x:.1f}' for x, y in zip(a, b))} |\n")
        texts = folder / "texts.txt"
        texts.write_text("\n\n".join(pathlib.Path(name).read_text(encoding="utf-8") for name in names))
        print("| tokenizer | text, MB | harness, MB per CPU second | tokenizers, MB per CPU second | ratio | same ids |")
        print("|---|---|---|---|---|---|")
        trained = next((folder / "project" / ".harness" / "corpora" / "bench").glob("*/tokenizer.json"))
        named = folder / f"trained here ({VOCABULARY_SIZE})" / "tokenizer.json"
        named.parent.mkdir()
        shutil.copy(trained, named)
        print(encoding(encode, texts, named, rounds))


if __name__ == "__main__":
    main()
