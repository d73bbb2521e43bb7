#!/usr/bin/env bash
# Packs both programs for a class: unpacked into the .tools of a clone with the same sources, they serve it as if they had been
# built there, and no Rust is needed. They find libtorch where `make setup` puts it.
#
#     setup/dist.sh FOLDER_OF_PROGRAMS FOLDER_TO_WRITE
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
programs=$1 into=$2

changed=$(git status --porcelain -- src Cargo.toml Cargo.lock)
[ -z "$changed" ] || fail "the sources differ from the commit, so no clone would take the programs for its own:
$changed" "commit the changes, then run \`make dist\` again"

name=harness-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | sed -n 1p)-$(uname -s | tr '[:upper:]' '[:lower:]')-$(uname -m)
fresh=$TOOLS/tmp/dist
rm -rf "$fresh"
mkdir -p "$fresh/bin" "$into"
for program in harness harness-trainer; do
  strip -o "$fresh/bin/$program" "$programs/$program"
done
source_digest >"$fresh/bin/harness.sources"
setup/licences.py >"$fresh/licences.txt"
# The same programs give the same bytes.
tar --create --file - --directory "$fresh" --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
  --mtime="@$(git log -1 --format=%ct)" bin licences.txt | gzip --no-name --best >"$into/$name.tar.gz"
rm -rf "$fresh"
say "$into/$name.tar.gz ($(du -h "$into/$name.tar.gz" | cut -f 1), sources $(source_digest | cut -c 1-12))"
say "a student's way: git clone, mkdir -p .tools, tar -xzf $name.tar.gz -C .tools, make demo"
