#!/usr/bin/env bash
# Prints the path of `uv`, which installs the pinned wheels. It is taken from PATH, else put into
# .tools/uv by the first of four ways that this machine offers.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

own=$TOOLS/uv/bin/uv
scratch=$TOOLS/tmp/uv

# with_pip PIP...: the pinned uv, verified by its digest. pip's --target never touches the system.
with_pip() {
  rm -rf "$TOOLS/uv"
  PIP_ROOT_USER_ACTION=ignore "$@" install --quiet --disable-pip-version-check \
    --target "$TOOLS/uv" --only-binary :all: --require-hashes -r setup/uv.txt >&2 && works
}

works() { "$own" --version >/dev/null 2>&1; }

if command -v uv >/dev/null; then
  command -v uv
  exit
fi
works && { echo "$own"; exit; }

say "uv is not on PATH: installing it into .tools/uv"
python3 -m pip --version >/dev/null 2>&1 && with_pip python3 -m pip && { echo "$own"; exit; }

# Debian and Ubuntu split pip from Python; their package of pip as a wheel runs without installation.
rm -rf "$scratch"
if apt_unpack python3-pip-whl "$scratch"; then
  wheel=$(echo "$scratch"/usr/share/python-wheels/pip-*.whl)
  with_pip python3 "$wheel/pip" && { rm -rf "$scratch"; echo "$own"; exit; }
fi

rm -rf "$scratch"
python3 -m venv "$scratch" >/dev/null 2>&1 && with_pip "$scratch/bin/python" -m pip &&
  { rm -rf "$scratch"; echo "$own"; exit; }

rm -rf "$scratch" && mkdir -p "$scratch"
download https://astral.sh/uv/install.sh "$scratch/install.sh" &&
  UV_UNMANAGED_INSTALL=$TOOLS/uv/bin sh "$scratch/install.sh" --quiet >&2 && works &&
  { rm -rf "$scratch"; echo "$own"; exit; }

fail "cannot install uv: this python3 has no pip, and neither apt-get, venv nor uv's installer worked" \
  "look at the network first (behind a proxy, set HTTPS_PROXY); or install uv in your own way, see https://docs.astral.sh/uv, so that \`uv --version\` works; then run \`make setup\` again"
