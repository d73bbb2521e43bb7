#!/usr/bin/env bash
# Looks for the few programs that the set-up itself needs; everything else it installs into .tools/.
set -euo pipefail

missing=()
for program in git c++ python3 cargo; do
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
