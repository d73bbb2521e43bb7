"""Correctness on a GPU, for tests/bench/gpu.sh: the same numbers as on the CPU, the same bits again, exact resume, and two
processes that share each batch (on one GPU, where it is all there is).

usage: gpu_checks.py HARNESS_TRAINER [--device cuda|cpu]

Each check prints a line; the exit code is 1 if one fails. `--device cpu` compares the CPU with itself, which tries
the checks out where there is no GPU.
"""

import argparse
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile

import bench

STEPS = 30
# Relative difference of a loss. float32 products differ in the order of their sums, bfloat16 also in what is rounded.
TOLERANCE = {"f32": 1e-4, "bf16": 1e-2}


def run(trainer: pathlib.Path, path: pathlib.Path, kill_at: int | None = None, ranks: int = 1) -> list[dict]:
    """The messages of a run of so many processes; with `kill_at` it is killed when that step is reported."""
    # One GPU unless more are named: processes then share it, over Gloo.
    cards = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    meeting = {"CUDA_VISIBLE_DEVICES": cards, "WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    started = [
        subprocess.Popen(
            [trainer, "run", path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **meeting, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(ranks)
    ]
    process = started[0]
    messages = []
    for line in process.stdout:
        messages.append(json.loads(line))
        if kill_at is not None and messages[-1].get("event") == "step" and messages[-1]["step"] >= kill_at:
            process.send_signal(signal.SIGKILL)
            break
    for rank in started:
        rank.wait()
    if messages[-1]["event"] == "failed":
        sys.exit(f"error: {messages[-1]['message']}")
    return messages


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def losses(messages: list[dict]) -> list[float]:
    return [message["loss_nats"] for message in messages if message["event"] == "step"]


def weights(messages: list[dict]) -> str:
    return messages[-1]["weights_sha256"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("trainer", type=pathlib.Path)
    parser.add_argument("--device", default="cuda")
    arguments = parser.parse_args()
    trainer = arguments.trainer.resolve()
    failed = False

    def check(what: str, passed: bool, found: str) -> None:
        nonlocal failed
        failed |= not passed
        print(f"{'ok    ' if passed else 'FAILED'} {what}: {found}", flush=True)

    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        sizes = {"size": "tiny", "batch": 8, "trainer": trainer, "threads": 1, "precision": "f32"}
        job, _ = bench.prepare(folder, argparse.Namespace(device=arguments.device, **sizes))
        job["checkpoint_steps"] = [10, 20, STEPS]
        job["model"]["dropout"] = 0.1

        def trained(
            name: str, kill_at: int | None = None, resume_from: pathlib.Path | None = None, ranks: int = 1, **training: object
        ) -> list[dict]:
            with_resume = {**job, "resume_from": resume_from and str(resume_from)}
            path = bench.write_job(folder / f"{name}.json", with_resume, folder / name, steps=STEPS, **training)
            return run(trainer, path, kill_at, ranks)

        for precision, tolerance in TOLERANCE.items():
            job["model"]["dropout"] = 0.0  # the generators of the two devices give other numbers
            on_cpu = losses(trained(f"cpu-{precision}", precision=precision, device="cpu"))
            here = losses(trained(f"here-{precision}", precision=precision))
            worst = max(abs(a - b) / b for a, b in zip(here, on_cpu, strict=True))
            check(f"{precision}: losses as on the CPU", worst <= tolerance, f"{worst:.1e} at most, of {tolerance:.0e}")
            job["model"]["dropout"] = 0.1
            whole = weights(trained(f"whole-{precision}", precision=precision))
            again = weights(trained(f"again-{precision}", precision=precision))
            check(f"{precision}: the same bits again", whole == again, whole[:12])
            trained(f"killed-{precision}", kill_at=15, precision=precision)
            checkpoint = folder / f"killed-{precision}" / "checkpoints" / "step-00000010.safetensors"
            resumed = weights(trained(f"resumed-{precision}", resume_from=checkpoint, precision=precision))
            check(f"{precision}: the same bits after a kill at step 15", whole == resumed, resumed[:12])
            job["model"]["dropout"] = 0.0  # each process draws for its own sequences
            passes = weights(trained(f"passes-{precision}", precision=precision, micro_batch_size=4))
            shared = trained(f"shared-{precision}", ranks=2, precision=precision)
            backend = next(message for message in shared if message["event"] == "started")["ranks"]["backend"]
            check(f"{precision}: two processes over {backend} as two passes of one", passes == weights(shared), passes[:12])
            sharded = weights(trained(f"sharded-{precision}", ranks=2, precision=precision, shard_optimizer=True))
            check(f"{precision}: the same with the optimizer shared out", passes == sharded, sharded[:12])
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
