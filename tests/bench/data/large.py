"""`make bench-data-large`: generated text through a whole recipe under a limit of memory. Prints a row in Markdown.

usage: large.py HARNESS TASKS_FOLDER [SIZE_MIB] [LIMIT_MIB]

The limit is on the data of the process (RLIMIT_DATA: heap, stacks and private mappings; shards that are mapped from
files do not count), so that an allocation beyond it fails and ends the program.
"""

import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time

# Measured: a document of the grammar has this many bytes on average.
BYTES_A_DOCUMENT = 247
RECIPE = """\
title = "Generated text"
language = "en"
licence = "CC0-1.0"
citation = "none"
steps = ["unicode_nfc", "control_characters", "whitespace", {{ shorter_than_characters = 64 }}, "mask_personal_data"]
duplicates = {{ near = {{ jaccard = 0.8 }} }}
tokenizer = {{ kind = "bpe", vocabulary_size = 1024 }}
[decontaminate]
tasks = ["grammar-agreement", "grammar-anaphora"]
[split]
validation = 0.01
leakage = {{ jaccard = 0.6 }}
[generate]
kind = "grammar"
seed = 1
documents = {documents}
"""


def main() -> None:
    harness, tasks = (str(pathlib.Path(argument).resolve()) for argument in sys.argv[1:3])
    size_mib, limit_mib = (int(argument) for argument in (*sys.argv[3:], *["2048", "1024"][len(sys.argv) - 3 :]))
    with tempfile.TemporaryDirectory() as temporary:
        project = pathlib.Path(temporary)
        shutil.copytree(tasks, project / "experiments" / "tasks")
        (project / "experiments" / "corpora").mkdir()
        documents = (size_mib << 20) // BYTES_A_DOCUMENT
        (project / "experiments" / "corpora" / "large.toml").write_text(RECIPE.format(documents=documents))
        (project / "Cargo.toml").write_text("[workspace]\n")
        subprocess.run(["git", "init", "--quiet"], cwd=project, check=True)
        limit = limit_mib << 20
        started = time.perf_counter()
        process = subprocess.Popen(
            [harness, "data", "prepare", "large", "--memory-mib", str(limit_mib // 8)],
            cwd=project,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)),
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall_time_s = time.perf_counter() - started
        if status != 0:
            sys.exit(f"failed with status {os.waitstatus_to_exitcode(status)}")
        generated = next((project / ".harness" / "stages").glob("*/generated.jsonl")).stat().st_size
        peak_mib = usage.ru_maxrss / 1024
        cpu_time_s = usage.ru_utime + usage.ru_stime
        print("\n| documents | text, MiB | limit, MiB | peak resident, MiB | wall time, s | CPU time, s | MiB/s |")
        print("|---|---|---|---|---|---|---|")
        text_mib = generated / (1 << 20)
        cells = [str(documents), *(f"{n:.0f}" for n in (text_mib, limit_mib, peak_mib, wall_time_s, cpu_time_s))]
        print(f"| {' | '.join(cells)} | {text_mib / wall_time_s:.1f} |")


if __name__ == "__main__":
    main()
