#!/usr/bin/env bash
# Says `yes` where .tools/bin holds programs that were built elsewhere (`make dist`) from the sources that lie here.
set -euo pipefail
[ -e "$(dirname "${BASH_SOURCE[0]}")/../.tools/bin/harness.sources" ] || exit 0
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
if [ "$(cat "$TOOLS/bin/harness.sources")" = "$(source_digest)" ]; then
  echo yes
else
  say "the programs in .tools/bin are of other sources than those here, so they are built; remove .tools/bin/harness.sources to stop this line"
fi
