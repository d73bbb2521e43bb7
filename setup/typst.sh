#!/usr/bin/env bash
# Installs typst 0.15 at .tools/bin/typst: a link to the one on PATH if that is a 0.15, else the wheel
# of the same compiler (seconds to install) behind typst_launcher.py. An executable that
# `make typst-from-source` has put there stays.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

target=$TOOLS/bin/typst
pins=$(digest setup/typst.txt setup/typst_launcher.py)

fits() { [[ "$("$1" --version 2>/dev/null)" == "typst 0.15."* ]]; }
is_script() { [ "$(head -c 2 "$1")" = "#!" ]; }
launches() { "$target" --version >/dev/null 2>&1; }
installed() {
  [ -x "$target" ] || return 1
  if is_script "$target"; then stamp_is typst "$pins" && launches; else fits "$target"; fi
}
installed && exit
lock
installed && exit

if on_path=$(command -v typst) && ! [ "$on_path" -ef "$target" ] && fits "$on_path"; then
  ln -sf "$on_path" "$target"
  say "using the typst on PATH"
  exit
fi

say "installing typst 0.15"
fresh=$TOOLS/tmp/typst
wheels setup/typst.txt "$fresh"
rm -rf "$TOOLS/typst"
mv "$fresh" "$TOOLS/typst"
# A test or a job may start with an empty environment, so the launcher names its Python itself;
# -I and -S keep that Python from reading anything but the standard library and the wheel.
python=$(python3 -c 'import os, sys; print(os.path.realpath(sys.executable))')
{ echo "#!$python -IS"; tail -n +2 setup/typst_launcher.py; } >"$target.new"
chmod +x "$target.new"
mv "$target.new" "$target"
launches || fail "typst was installed, but does not start: run \`.tools/bin/typst --version\` to see why" \
  "python3 has to be CPython 3.9 or newer; else build the executable: \`make typst-from-source\`"
write_stamp typst "$pins"
