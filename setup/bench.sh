#!/usr/bin/env bash
# Puts the Python packages of the benchmarks into .tools/bench.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

wanted=$(digest setup/bench.txt setup/bench.sh)
if stamp_is bench "$wanted" && [ -x .tools/bench/bin/python ]; then exit 0; fi
lock
say "installing the Python packages of the benchmarks"
uv=$(setup/uv.sh)
rm -rf .tools/bench
"$uv" venv --quiet --python ">=3.11" --no-python-downloads .tools/bench ||
  fail "there is no Python 3.11 or newer" "install one, such as Debian's package python3"
"$uv" pip install --quiet --python .tools/bench/bin/python --no-deps --require-hashes --only-binary :all: \
  -r setup/bench.txt || fail "cannot install what setup/bench.txt pins" "uv's message is above"
write_stamp bench "$wanted"
