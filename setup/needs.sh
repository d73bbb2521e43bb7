#!/usr/bin/env bash
# Looks for the few programs that the set-up itself needs; everything else it installs into .tools/.
#
#     setup/needs.sh [yes]
#
# yes  the programs are here already (setup/prebuilt.sh), so that nothing has to be compiled
set -euo pipefail

needs=(git python3)
[ "${1:-}" = yes ] || needs+=(c++ cargo)
missing=()
for program in "${needs[@]}"; do
  command -v "$program" >/dev/null || missing+=("$program")
done
[ ${#missing[@]} -eq 0 ] && exit

echo "error: not found on PATH: ${missing[*]}" >&2
for program in "${missing[@]}"; do
  case $program in
    cargo) echo "hint: install Rust from https://rustup.rs (the oldest version that works is rust-version in Cargo.toml)" >&2 ;;
    c++) echo "hint: on Debian and Ubuntu: apt-get install g++" >&2 ;;
    *) echo "hint: on Debian and Ubuntu: apt-get install $program" >&2 ;;
  esac
done
exit 1
