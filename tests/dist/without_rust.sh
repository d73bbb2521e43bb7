#!/usr/bin/env bash
# Uses an archive of `make dist` as a student does who has no Rust: in a Debian of its own with git, make and python3 and nothing else
# that builds, in a clone with the same sources.
#
#     tests/dist/without_rust.sh ARCHIVE
#
# As root (chroot). The Debian is made by debootstrap, which needs the network, unless DISTBOX names a folder that holds one; what `make
# setup` installs is taken from this clone's .tools. Steps: none of the programs is built; `make init`, whose project takes the same
# archive; a run of sixty steps there, which has to count; its paper; the audit; then a changed source, for which Rust is asked for.
set -euo pipefail
archive=$(realpath "$1")
source "$(dirname "${BASH_SOURCE[0]}")/../../setup/lib.sh"

step() { printf '%s  %s\n' "$(date +%T)" "$*"; }
box=${DISTBOX:-}
if [ -z "$box" ]; then
  box=$(mktemp -d /tmp/harness-dist.XXXXXX)
  trap 'rm -rf "$box"' EXIT
  step "a Debian in $box"
  command -v debootstrap >/dev/null || {
    apt_unpack debootstrap "$box/debootstrap"
    export DEBOOTSTRAP_DIR=$box/debootstrap/usr/share/debootstrap PATH=$box/debootstrap/usr/sbin:$PATH
  }
  debootstrap --variant=minbase --include=git,make,python3,ca-certificates stable "$box/root" >"$box/log" ||
    { tail -5 "$box/log" >&2; fail "debootstrap failed" "name a folder with a Debian by DISTBOX"; }
  box=$box/root
fi

# inside COMMAND...: in the clone, or the project begun from it, with an empty environment.
folder=clone
inside() {
  # shellcheck disable=SC2016
  unshare --mount --pid --fork --mount-proc="$box/proc" chroot "$box" /usr/bin/env -i HOME=/root \
    PATH=/usr/local/bin:/usr/bin:/bin GIT_AUTHOR_NAME=Ada GIT_AUTHOR_EMAIL=ada@example.org GIT_COMMITTER_NAME=Ada \
    GIT_COMMITTER_EMAIL=ada@example.org bash -ec 'cd "$1"; shift; "$@"' - "/root/$folder" "$@"
}
# expect WORDS FILE
expect() { grep -q -- "$1" "$2" || { cat "$2" >&2; fail "no \`$1\` in what it said, which is above" "look for what has changed since"; }; }
said=$(mktemp)
clone=$box/root/clone
ours=$box/root/ours

step "a clone, the archive, and what the set-up installs"
rm -rf "$clone" "$ours"
git -c advice.detachedHead=false clone --quiet "file://$PWD" "$clone"
mkdir "$clone/.tools"
for part in bin fonts libtorch stamps typst uv; do cp -a "$TOOLS/$part" "$clone/.tools/"; done
rm -f "$clone"/.tools/bin/harness*
# The launcher of Typst names the Python that was there at its set-up.
sed -i '1s|^#!.*python.* -IS|#!/usr/bin/python3 -IS|' "$clone/.tools/bin/typst"
tar -xzf "$archive" -C "$clone/.tools"
for program in cargo rustc c++; do
  ! inside command -v $program || fail "there is a $program" "this is no machine without Rust"
done

step "make build has nothing to build"
inside make build >"$said" 2>&1 || { cat "$said" >&2; exit 1; }
inside make doctor >"$said" 2>&1 || { cat "$said" >&2; exit 1; }
expect 'ok      harness-trainer' "$said"

step "a project of one's own takes the same archive"
inside make init DIR=../ours >"$said" 2>&1 || { cat "$said" >&2; exit 1; }
mv "$clone/.tools" "$ours/"
folder=ours
inside make build >"$said" 2>&1 || { cat "$said" >&2; exit 1; }

step "a run of sixty steps, its paper, its audit"
mkdir -p "$ours/experiments/try"
cat >"$ours/experiments/try/experiment.toml" <<'TOML'
extends = "baseline"
title = "Try"
hypothesis = "It runs without Rust."

[training]
steps = 60
checkpoint_every = 60
TOML
inside git add --all
inside git commit --quiet --message "Propose try"
inside make exp NAME=try >"$said" 2>&1 || { cat "$said" >&2; exit 1; }
inside git add --all
inside git commit --quiet --message "Record a run"
inside .tools/bin/harness runs try >"$said"
cat "$said"
expect ' yes$' "$said"
inside make audit ARGS=try >"$said" 2>&1 || { cat "$said" >&2; exit 1; }
cat "$said"
inside make report >"$said" 2>&1 || { cat "$said" >&2; exit 1; }
inside make audit >"$said" 2>&1 || { cat "$said" >&2; exit 1; }
tail -3 "$said"

step "a changed source asks for Rust"
echo '// changed' >>"$ours/src/core/src/lib.rs"
! inside make build >"$said" 2>&1 || fail "it was taken for built" "look at setup/prebuilt.sh"
expect 'are of other sources than those here' "$said"
expect 'not found on PATH: c++ cargo' "$said"
rm -rf "$clone" "$ours" "$said"
step "done"
