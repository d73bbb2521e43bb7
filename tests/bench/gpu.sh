#!/usr/bin/env bash
# All that has to be shown on a GPU, in one call of under ten minutes, with programs that are built already:
# correctness against the CPU, resume, the same bits again, two processes that share each batch, and throughput of this trainer (with deterministic
# algorithms and without) and of PyTorch at two sizes.
#
#     tests/bench/gpu.sh [HARNESS_TRAINER [PYTHON]]
#
# HARNESS_TRAINER is target/release/harness-trainer by default; PYTHON, one that has torch, is that of setup/peers.sh.
# A trainer that was built on another machine finds libtorch by LD_LIBRARY_PATH, such as torch/lib of the same release's wheel.
# DEVICE=cpu SIZES=tiny tries the script out where there is no GPU.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

trainer=${1:-target/release/harness-trainer}
python=${2:-.tools/peers/bin/python}
device=${DEVICE:-cuda}
for program in "$trainer" "$python"; do
  command -v "$program" >/dev/null || {
    echo "error: there is no \`$program\`" >&2
    echo "hint: make build LIBTORCH=cuda && setup/peers.sh" >&2
    exit 2
  }
done

# As `harness run` sets it, for deterministic sums of cuBLAS.
export CUBLAS_WORKSPACE_CONFIG=:4096:8
"$trainer" about
status=0
timeout 150 "$python" tests/bench/train/gpu_checks.py "$trainer" --device "$device" || status=1
for size in ${SIZES:-124m 350m}; do
  timeout 200 "$python" tests/bench/train/bench.py "$trainer" --python "$python" --device "$device" --size "$size" \
    --precision bf16 --free --rounds 3 --steps 10 || status=1
done
exit $status
