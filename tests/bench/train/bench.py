"""`make bench-train`: `harness-trainer` against the same model in PyTorch, in one call on one machine.

usage: bench.py HARNESS_TRAINER [--python PYTHON] [--size NAME] [--precision f32|bf16] [--device cpu|cuda]
                [--batch N] [--rounds N] [--steps N] [--threads N] [--peers LIST] [--free]
                [--libtorch-products]

All programs begin with the same weights and see the same batch in each step: the shard holds exactly one batch, so
the order within it does not matter. They run in turn: all but one are stopped by a signal (SIGSTOP), so that what
else the machine does falls on all of them alike. A step is timed by the arrival of its line; the first ones after a
signal are left out. Prints a table in Markdown; fails if the losses of the first steps are not those of the same
training in float64. (A peer's own float32 is no measure: PyTorch sums the squares of a long gradient in float32, so
that the norm by which it clips is off by up to 1e-3.)
"""

import argparse
import json
import os
import pathlib
import platform
import random
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time

REFERENCE = pathlib.Path(__file__).with_name("reference.py")
SIZES = {  # layers, heads, width, vocabulary, context, batch on a CPU, batch on a GPU
    "tiny": (2, 2, 64, 512, 64, 4, 64),
    "small": (6, 6, 384, 8192, 256, 8, 64),
    "124m": (12, 12, 768, 50257, 1024, 1, 16),
    "350m": (24, 16, 1024, 50257, 1024, 1, 8),
}
OPTIMIZER = {"learning_rate": 3e-4, "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-8, "weight_decay": 0.1, "gradient_clip_norm": 1.0}
# Dense, by the data sheets that src/harness/src/run/processors.rs names.
DATA_SHEET_BF16_FLOPS = {"H100 PCIe": 756e12, "H100": 989.4e12, "H200": 989.4e12, "A100": 312e12}
# Largest relative error of a loss among the first steps, against the same training in float64.
TOLERANCE = {"f32": 1e-5, "bf16": 1e-2}
COMPARED_STEPS = 10


class Program:
    """A program that writes a line of JSON after each step, and runs only while it is asked for steps."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        self.name = name
        self.started = time.monotonic()
        self.first_step_s: float | None = None
        self.lines: list[dict] = []
        self.rounds: list[list[float]] = []
        self.cpu_s: list[float] = []
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        # CLOCK_PROCESS_CPUTIME_ID of another process, as clock_getcpuclockid(3) forms it.
        self.clock = (~self.process.pid << 3) | 2

    def signal(self, number: int) -> None:
        os.killpg(self.process.pid, number)

    def next_step(self) -> float:
        """Waits for a step; returns when its line came."""
        while True:
            line = self.process.stdout.readline()
            now = time.monotonic()
            if not line:
                sys.exit(f"error: {self.name} ended early")
            message = json.loads(line)
            if message.get("event", "step") == "step":
                break
            self.lines.append(message)
            if message["event"] == "failed":
                sys.exit(f"error: {self.name}: {message['message']}")
        self.lines.append(message)
        if self.first_step_s is None:
            self.first_step_s = now - self.started
        return now

    def run(self, skipped: int, steps: int) -> None:
        """Some steps that do not count, then `steps` that do."""
        self.signal(signal.SIGCONT)
        for _ in range(skipped):
            before = self.next_step()
        if steps > 0:
            times = [before]
            cpu_s = time.clock_gettime(self.clock)
            times.extend(self.next_step() for _ in range(steps))
            self.cpu_s.append((time.clock_gettime(self.clock) - cpu_s) / steps)
            self.rounds.append([after - before for before, after in zip(times, times[1:])])
        self.signal(signal.SIGSTOP)

    def losses(self) -> list[float]:
        return [line["loss_nats"] for line in self.lines if "loss_nats" in line]

    def peak_memory_bytes(self) -> int:
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))

    def peak_gpu_memory_bytes(self) -> int:
        """The most that libtorch's allocator gave out. PyTorch tells it with each step, the trainer when it ends."""
        if not any("peak_gpu_memory_bytes" in line for line in self.lines):
            self.signal(signal.SIGCONT)
            self.process.stdin.write(b"stop\n")
            self.process.stdin.flush()
            self.lines += [json.loads(line) for line in self.process.stdout]
        return max(line.get("peak_gpu_memory_bytes") or 0 for line in self.lines)

    def kill(self) -> None:
        """Ends the program and the processes that it has started."""
        self.signal(signal.SIGKILL)
        self.process.wait()


def write_shard(path: pathlib.Path, tokens: list[int], vocabulary_size: int) -> None:
    """A token shard of one document; the format is in docs/formats/corpora.md."""
    wide = 2 if vocabulary_size <= 1 << 16 else 4
    content = struct.pack(f"<{len(tokens)}{'H' if wide == 2 else 'I'}", *tokens)
    header = b"HTOKENS1" + struct.pack("<IIQQ", wide, vocabulary_size, len(tokens), 1)
    padding = b"\0" * (-len(content) % 8)
    document = struct.pack("<QQQ", 0, len(tokens), 4 * len(tokens))
    path.write_bytes(header.ljust(64, b"\0") + content + padding + document)


def text(length: int, vocabulary_size: int) -> list[int]:
    """Token ids with frequencies like those of words: the k-th has a share of about 1 / k."""
    generator = random.Random(1)
    return [0, *(int(vocabulary_size ** generator.random()) % vocabulary_size for _ in range(length - 1))]


def processor() -> str:
    """The name of the processor, as Linux has it."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def version(trainer: pathlib.Path) -> int:
    """The contract that a trainer speaks."""
    return int(subprocess.check_output([trainer, "--version"], text=True).split()[-1].strip(")"))


def prepare(folder: pathlib.Path, arguments: argparse.Namespace) -> tuple[dict, dict]:
    """The job of `harness-trainer`, and the settings of the reference."""
    layers, heads, width, vocabulary_size, context_length, on_cpu, on_gpu = SIZES[arguments.size]
    batch = arguments.batch or (on_gpu if arguments.device == "cuda" else on_cpu)
    tokens = text(batch * context_length + 1, vocabulary_size)
    shard, output = folder / "train.tokens", folder / "harness"
    write_shard(shard, tokens, vocabulary_size)
    model = {"layers": layers, "heads": heads, "width": width, "context_length": context_length}
    job = {
        "version": version(arguments.trainer),
        "output": str(output),
        "seed": 1,
        "model": model,
        "vocabulary_size": vocabulary_size,
        "separator": 0,
        "optimizer": OPTIMIZER,
        "schedule": {"kind": "constant", "warmup_steps": 0},
        "training": {
            "steps": 10**9,
            "batch_size": batch,
            "precision": arguments.precision,
            "device": arguments.device,
            "threads": arguments.threads,
        },
        "metrics": {},
        "train_shards": [str(shard)],
        "validation_shards": [],
        "tasks": [],
        "validation_steps": [],
        "token_loss_steps": [],
        "task_steps": [],
        "evaluation_batch_size": 0,
        "checkpoint_steps": [0],
        "resume_from": None,
    }
    starts = range(0, batch * context_length, context_length)
    on_gpu = arguments.device == "cuda"
    settings = {
        **model,
        **OPTIMIZER,
        "vocabulary_size": vocabulary_size,
        "tokens": [tokens[start : start + context_length + 1] for start in starts],
        "checkpoint": str(output / "checkpoints" / "step-00000000.safetensors"),
        "precision": arguments.precision,
        "device": arguments.device,
        "threads": arguments.threads,
        "tf32": False,
        "product_size": 8192 if on_gpu else 2048,
        "product_repeats": 20 if on_gpu else 4,
    }
    return job, settings


def write_job(path: pathlib.Path, job: dict, output: pathlib.Path, **training: object) -> pathlib.Path:
    """The job with an output folder of its own and other choices in [training]."""
    output.mkdir(exist_ok=True)
    path.write_text(json.dumps({**job, "output": str(output), "training": {**job["training"], **training}}))
    return path


def check_losses(programs: list[Program], measure: str, expected: list[float], precision: str) -> str:
    """Compares the losses of the first steps, of which the first program's must be those expected."""
    worst = {p.name: max(abs(a - b) / b for a, b in zip(p.losses(), expected)) for p in programs}
    ours = programs[0]
    if worst[ours.name] > TOLERANCE[precision]:
        sys.exit(f"error: the losses are off by {worst[ours.name]:.1e} of themselves, more than {TOLERANCE[precision]:.0e}\n"
                 f"  {ours.name}: {ours.losses()[:len(expected)]}\n  {measure}: {expected}")
    errors = ", ".join(f"{name} {error:.0e}" for name, error in worst.items())
    return (f"Same initial weights, same batch: largest relative difference of the first {len(expected)} losses from {measure}: "
            f"{errors}.")


def kernels(started: dict) -> str:
    """Who multiplies matrices on a CPU."""
    determinism = started["determinism"]
    if started["device"] != "cpu":
        return ""
    return f"Products: {determinism['product_kernel']}{', AMX' if determinism.get('amx') else ''}."


def quantiles(of: list[float]) -> tuple[float, float, float]:
    """10th percentile, median and 90th percentile."""
    tenths = statistics.quantiles(of, n=10, method="inclusive")
    return tenths[0], statistics.median(of), tenths[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description="harness-trainer against the same model in PyTorch, in turn")
    parser.add_argument("trainer", type=pathlib.Path)
    parser.add_argument("--python", default=sys.executable, help="a Python that has torch")
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--precision", choices=TOLERANCE, default="bf16")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--batch", type=int, default=0, help="sequences per step")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=5, help="timed steps per round")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--peers", default="compile,eager", help="of compile and eager")
    parser.add_argument("--free", action="store_true", help="also with algorithms that are not deterministic")
    parser.add_argument("--libtorch-products", action="store_true", help="also with libtorch's products of bfloat16")
    arguments = parser.parse_args()
    arguments.trainer = arguments.trainer.resolve()

    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        job, settings = prepare(folder, arguments)
        job_path = write_job(folder / "job.json", job, folder / "harness", deterministic=not arguments.free)
        settings_path = folder / "settings.json"
        settings_path.write_text(json.dumps(settings))
        reference = lambda kind: [arguments.python, str(REFERENCE), kind, str(settings_path)]
        environment = {"OMP_WAIT_POLICY": "passive"}
        # Those in float64 need most memory: they have ended before the others take theirs.
        commands = {
            "harness": [str(arguments.trainer), "run", str(job_path)],
            "float64": reference("exact"),
            "product": reference("product"),
        }
        if arguments.free:
            path = write_job(folder / "deterministic.json", job, folder / "deterministic", deterministic=True)
            commands["deterministic harness"] = [str(arguments.trainer), "run", str(path)]
        if arguments.libtorch_products:
            path = write_job(folder / "libtorch.json", job, folder / "libtorch", deterministic=not arguments.free)
            command = ["env", "HARNESS_PRODUCTS=libtorch", str(arguments.trainer), "run", str(path)]
            commands["harness, libtorch's products"] = command
        commands |= {kind: reference(kind) for kind in arguments.peers.split(",") if kind}
        programs: dict[str, Program] = {}
        skipped = 2 if arguments.device == "cuda" else 1
        # A stopped program would outlive this one, so that it is killed whatever ends this one.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("error: told to end"))
        try:
            for name, command in commands.items():
                programs[name] = Program(name, command, environment)
                programs[name].run(1 if name == "product" else COMPARED_STEPS, 0)
                if name == "float64":
                    exact = programs.pop(name)
                    exact.kill()
            for _ in range(arguments.rounds):
                for program in programs.values():
                    program.run(skipped, arguments.steps)
            print_table(arguments, settings, programs, exact.losses()[:COMPARED_STEPS])
        finally:
            for program in programs.values():
                program.kill()


def print_table(arguments: argparse.Namespace, settings: dict, programs: dict[str, Program], exact: list[float]) -> None:
    product = programs["product"]
    rate = product.lines[-1]["flops"] / statistics.median(sum(product.rounds, []))
    trained = [program for name, program in programs.items() if name != "product"]
    ours = trained[0]
    started = next(line for line in ours.lines if line.get("event") == "started")
    tokens = len(settings["tokens"]) * settings["context_length"]
    agreement = check_losses(trained, "float64", exact, arguments.precision)

    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True)
    device = next((gpu["name"] for gpu in started["about"]["gpus"]), f"{processor()}, {arguments.threads} threads")
    shape = "L{layers} H{heads} C{width} V{vocabulary_size} T{context_length}".format(**settings)
    print(f"\nCommit {commit.stdout.strip()}, {device}. {arguments.size}: {shape}, {started['parameters'] / 1e6:.1f} M parameters, "
          f"{len(settings['tokens'])} sequences, {arguments.precision}, libtorch {started['about']['libtorch']}; "
          f"{arguments.rounds} rounds of {arguments.steps} steps. {kernels(started)}")
    print(f"{agreement} Matrix products: {rate / 1e9:.0f} GFLOP/s in the same run.\n")
    print("| program | tokens/s, median (p10 to p90) | CPU s per step | share of the product rate | peak memory, MiB "
          "| to the first step, s | harness / this: tokens/s | CPU s, this / harness |")
    print("|---|---|---|---|---|---|---|---|")
    for program in trained:
        low, middle, high = quantiles(sum(program.rounds, []))
        paired = [statistics.median(b) / statistics.median(a) for a, b in zip(ours.rounds, program.rounds)]
        cpu_paired = [b / a for a, b in zip(ours.cpu_s, program.cpu_s)]
        share = started["flops_per_token"] * tokens / middle / rate
        memory = f"{program.peak_memory_bytes() / 2**20:.0f}"
        if arguments.device == "cuda":
            memory += f", GPU {program.peak_gpu_memory_bytes() / 2**20:.0f}"
        if program is ours:
            memory += f" ({started['predicted_memory_bytes'] / 2**20:.0f} predicted, without libtorch)"
        print(f"| {program.name} | {tokens / middle:.0f} ({tokens / high:.0f} to {tokens / low:.0f}) "
              f"| {statistics.median(program.cpu_s):.3f} | {100 * share:.0f} % | {memory} "
              f"| {program.first_step_s:.1f} | {statistics.median(paired):.2f} | {statistics.median(cpu_paired):.2f} |")
    promised = next((flops for gpu, flops in DATA_SHEET_BF16_FLOPS.items() if gpu in device), None)
    if promised and arguments.precision == "bf16":
        shares = ", ".join(
            f"{p.name} {100 * started['flops_per_token'] * tokens / quantiles(sum(p.rounds, []))[1] / promised:.0f} %"
            for p in trained
        )
        print(f"\nMFU against the {promised / 1e12:.0f} TFLOP/s of the data sheet: {shares}.")


if __name__ == "__main__":
    main()
