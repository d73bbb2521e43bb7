#!/usr/bin/env python3
"""How long `harness report` takes: of a project's first paper, of one that is there already, of one with an edited sentence, and
of one with one more run.

    bench.py STAND_IN NAME=HARNESS,TEMPLATES... [--changes 11] [--seeds 3] [--repeats 5]

Each NAME is a program with the templates of its own source tree; all of them are timed in turn on copies of one project, whose
runs the stand-in trainer of the tests makes (target/debug/examples/stand-in-trainer). Prints medians as a table.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from study import REPOSITORY, commit, run, study, timed


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
                add("first", timed(project, harness, "report"))
                add("unchanged", timed(project, harness, "report"))
                with open(f"{project}/report/sections/80-conclusion.typ", "a") as section:
                    section.write(f"\nAnd sentence {repeat} is ours.\n")
                add("one sentence edited", timed(project, harness, "report"))
        for name, (harness, _) in programs.items():
            # A run on what is not committed would not count.
            commit(projects[name], "The paper")
            run(projects[name], harness, "run", "baseline", "--seed", "99", HARNESS_TRAINER=stand_in)
            times[name]["one more run"] = [timed(projects[name], harness, "report")]
    runs = (options.changes + 1) * options.seeds
    print(f"{runs} runs, medians of {options.repeats} in seconds of the wall and, behind the stroke, of the processor")
    print("| report | " + " | ".join(programs) + " |\n| --- |" + " ---: |" * len(programs))
    for what in ["first", "unchanged", "one sentence edited", "one more run"]:
        median = lambda name, at: statistics.median(time[at] for time in times[name][what])
        print(f"| {what} | " + " | ".join(f"{median(name, 0):.2f} / {median(name, 1):.2f}" for name in programs) + " |")


if __name__ == "__main__":
    main()
