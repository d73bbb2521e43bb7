#!/usr/bin/env bash
# Puts PyTorch, transformers and lm-evaluation-harness into .tools/peers (about 5 GB), for the tests and
# benchmarks that compare this project with them. FOLDER (PEERS=FOLDER of the make targets) puts them elsewhere.
#
#     setup/peers.sh [FOLDER]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

home=${1:-.tools/peers}
wanted=$(digest setup/peers.txt setup/peers.sh)
# The stamp lies in the folder, so that removing the folder removes it too.
if [ "$(cat "$home/installed" 2>/dev/null)" = "$wanted" ]; then exit 0; fi
lock
say "installing PyTorch, transformers and lm-evaluation-harness (3 GB to fetch, 5 GB on disk)"
uv=$(setup/uv.sh)
rm -rf "$home"
"$uv" venv --quiet --python ">=3.11,<3.14" --no-python-downloads "$home" ||
  fail "there is no Python 3.11, 3.12 or 3.13" "install one, such as Debian's package python3"
# Not only wheels: some packages that lm_eval needs are published as sources alone.
"$uv" pip install --quiet --python "$home/bin/python" --no-deps --require-hashes --link-mode hardlink \
  -r setup/peers.txt || fail "cannot install what setup/peers.txt pins" "uv's message is above"
echo "$wanted" >"$home/installed"
