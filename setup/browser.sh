#!/usr/bin/env bash
# Puts what drives the dashboard in a browser into .tools/browser, and Chromium where the machine has none: Debian's
# packages, unpacked there and not installed.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

home=$TOOLS/browser
wanted=$(digest setup/browser.txt setup/browser.sh)
if stamp_is browser "$wanted" && [ -x "$home/python/bin/python" ] && [ -x "$home/chromium" ]; then exit 0; fi
lock
say "installing what drives the dashboard in a browser"
uv=$(setup/uv.sh)
rm -rf "$home"
mkdir -p "$home"
"$uv" venv --quiet --python ">=3.11" --no-python-downloads "$home/python" ||
  fail "there is no Python 3.11 or newer" "install one, such as Debian's package python3"
"$uv" pip install --quiet --python "$home/python/bin/python" --no-deps --require-hashes --only-binary :all: \
  -r setup/browser.txt || fail "cannot install what setup/browser.txt pins" "uv's message is above"

# Debian's Chromium with the libraries that this machine lacks, all unpacked into one folder.
from_debian() {
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
  local packages=$home/packages root=$home/debian
  mkdir -p "$packages/partial"
  apt-get -qq --download-only --yes --no-install-recommends -o Debug::NoLocking=true \
    -o "APT::Sandbox::User=$(id -un)" -o "Dir::Cache::Archives=$packages" install chromium >&2 || return 1
  for package in "$packages"/*.deb; do dpkg-deb -x "$package" "$root"; done
  rm -rf "$packages"
  cat >"$home/chromium" <<'LAUNCHER'
#!/bin/sh
root=$(dirname "$(readlink -f "$0")")/debian
libraries=$(find "$root/usr/lib" -name '*.so*' -printf '%h\n' | sort -u | tr '\n' ':')
LD_LIBRARY_PATH=$libraries exec "$root/usr/lib/chromium/chromium" "$@"
LAUNCHER
  chmod +x "$home/chromium"
}
found=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -n "$found" ]; then ln -s "$found" "$home/chromium"; else
  from_debian || fail "cannot get Chromium (from this machine or its packages)" "install the package \`chromium\`, then try again"
fi
write_stamp browser "$wanted"
