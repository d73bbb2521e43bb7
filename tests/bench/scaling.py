"""`make bench-scaling`: one process of `harness-trainer` against two that share each batch, one thread each, in one call.

usage: scaling.py HARNESS_TRAINER [--size NAME] [--precision f32|bf16] [--rounds N] [--steps N]

Both train the same model on the same batches, in turn: those that are not timed are stopped by a signal (SIGSTOP), so that
what else the machine does falls on both alike. The losses of the first steps must agree. Prints a table in Markdown.
"""

import argparse
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).with_name("train")))
import bench  # noqa: E402

# Rank 1 in the background of the shell that becomes rank 0, so that one signal reaches both.
TOGETHER = 'RANK=1 LOCAL_RANK=1 "$0" run "$1" & RANK=0 LOCAL_RANK=0 exec "$0" run "$1"'


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def main() -> None:
    parser = argparse.ArgumentParser(description="one process against two that share each batch")
    parser.add_argument("trainer", type=pathlib.Path)
    parser.add_argument("--size", choices=bench.SIZES, default="small")
    parser.add_argument("--precision", choices=bench.TOLERANCE, default="bf16")
    parser.add_argument("--batch", type=int, default=8, help="sequences per step, of both")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=4, help="timed steps per round")
    arguments = parser.parse_args()
    arguments.trainer, arguments.device, arguments.threads = arguments.trainer.resolve(), "cpu", 1

    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        job, settings = bench.prepare(folder, arguments)
        half = arguments.batch // 2
        alone = bench.write_job(folder / "alone.json", job, folder / "alone", micro_batch_size=half)
        shared = bench.write_job(folder / "shared.json", job, folder / "shared", micro_batch_size=half)
        environment = {"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": "1"}
        meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        trainer = str(arguments.trainer)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("error: told to end"))
        programs = []
        try:
            programs.append(bench.Program("1 process", [trainer, "run", str(alone)], environment))
            programs[0].run(bench.COMPARED_STEPS, 0)
            together = ["sh", "-c", TOGETHER, trainer, str(shared)]
            programs.append(bench.Program("2 processes", together, environment | meeting))
            programs[1].run(bench.COMPARED_STEPS, 0)
            before = os.getloadavg()[0]
            for _ in range(arguments.rounds):
                for program in programs:
                    program.run(1, arguments.steps)
            print_table(arguments, settings, programs, before)
        finally:
            for program in programs:
                program.kill()


def print_table(arguments: argparse.Namespace, settings: dict, programs: list[bench.Program], load: float) -> None:
    alone = programs[0].losses()[: bench.COMPARED_STEPS]
    agreement = bench.check_losses(programs[1:], "one process", alone, arguments.precision)
    tokens = len(settings["tokens"]) * settings["context_length"]
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True)
    print(f"\nCommit {commit.stdout.strip()}, {bench.processor()}, {os.cpu_count()} cores, load {load:.1f} to {os.getloadavg()[0]:.1f}. "
          f"{arguments.size}, {arguments.precision}, {len(settings['tokens'])} sequences a step, one thread a process; "
          f"{arguments.rounds} rounds of {arguments.steps} steps. {agreement}\n")
    print("| processes | tokens/s, median (p10 to p90) | over one process, median of the rounds (least to most) |")
    print("|---|---|---|")
    for program in programs:
        low, middle, high = bench.quantiles(sum(program.rounds, []))
        ratios = [statistics.median(a) / statistics.median(b) for a, b in zip(programs[0].rounds, program.rounds)]
        print(f"| {program.name.split()[0]} | {tokens / middle:.0f} ({tokens / high:.0f} to {tokens / low:.0f}) "
              f"| {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |")


if __name__ == "__main__":
    main()
