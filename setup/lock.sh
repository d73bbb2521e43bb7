#!/usr/bin/env bash
# Pins again, with the digest of every file, what the *.in files ask for. Needs the network.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
uv=$(setup/uv.sh)
for name in uv typst fonts libtorch-cpu libtorch-cuda bench browser; do
  "$uv" pip compile --quiet --no-deps --generate-hashes --only-binary :all: --no-annotate \
    --python-version "$WHEEL_PYTHON" --custom-compile-command "make lock" \
    "setup/$name.in" --output-file "setup/$name.txt"
done
# Their packages ask for others, which differ from Python to Python, and some are published as sources alone.
"$uv" pip compile --quiet --universal --generate-hashes --no-annotate --python-version 3.11 \
  --custom-compile-command "make lock" setup/peers.in --output-file setup/peers.txt
