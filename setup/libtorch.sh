#!/usr/bin/env bash
# Installs libtorch into .tools/libtorch, from the wheels of PyTorch; no Python part of it is used.
#
#     setup/libtorch.sh [auto | cpu | cuda | FOLDER]
#
# cpu   what libtorch needs to load on a machine without a GPU (1.2 GB on disk)
# cuda  what it needs to compute on an NVIDIA GPU as well (3.8 GB)
# auto  cuda where there is an NVIDIA driver for CUDA 13, else cpu; a cuda set that is there stays
# FOLDER  a libtorch of your own: nothing is installed, only looked at
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

asked=${1:-auto}
home=$TOOLS/libtorch

CUDA_13_DRIVER=580 # the oldest driver that runs CUDA 13
driver() {
  { cat /proc/driver/nvidia/version || nvidia-smi --query-gpu=driver_version --format=csv,noheader; } 2>/dev/null |
    grep -oE '\b[0-9]{3}\.[0-9.]+' | sed -n 1p | cut -d . -f 1
}
has_gpu() { [ "$(driver)" -ge $CUDA_13_DRIVER ] 2>/dev/null; }
pins() { echo "$1 $(digest "setup/libtorch-$1.txt")"; }
installed() { stamp_is libtorch "$(pins "$1")" && [ -e "$home/torch/lib/libtorch_cpu.so" ]; }

# loads LIBRARY: every library it names, and every symbol version, is found. The wheels find each
# other by paths relative to themselves, so nothing needs to be set.
loads() {
  local missing
  missing=$(ldd "$1" 2>&1 | grep 'not found' | sort -u) || return 0
  echo "$missing" >&2
  return 1
}

case $asked in
  auto) if has_gpu || installed cuda; then set=cuda; else set=cpu; fi ;;
  cpu | cuda) set=$asked ;;
  *)
    [ -e "$asked/lib/libtorch_cpu.so" ] ||
      fail "LIBTORCH is \`$asked\`, and there is no lib/libtorch_cpu.so in it" \
        "unset LIBTORCH (or pass LIBTORCH=cpu or LIBTORCH=cuda) to use the pinned one"
    exit
    ;;
esac

installed "$set" && exit
lock
installed "$set" && exit

machine=$(uname -m)
case "$(uname -s) $machine" in
  "Linux x86_64" | "Linux aarch64") ;;
  *) fail "the pinned libtorch is for Linux on x86_64 or aarch64, and this is $(uname -s) on $machine" \
    "install libtorch $(grep -o '^torch==[^ ]*' setup/libtorch-cpu.txt | cut -d= -f3) yourself and set LIBTORCH to its folder" ;;
esac

old=$(driver || true)
if [ "$asked $set" = "auto cpu" ] && [ -n "$old" ]; then
  say "the NVIDIA driver is $old, and CUDA 13 needs $CUDA_13_DRIVER: going without the GPU (LIBTORCH=cuda insists)"
fi
case $set in
  cpu) say "installing libtorch for CPU (0.5 GB to fetch, 1.2 GB on disk)" ;;
  cuda) say "installing libtorch for CUDA (3.8 GB on disk)" ;;
esac
fresh=$TOOLS/tmp/libtorch
wheels "setup/libtorch-$set.txt" "$fresh" \
  --python-version "$WHEEL_PYTHON" --python-platform "$machine-manylinux_2_28"
loads "$fresh/torch/lib/libtorch_cpu.so" ||
  fail "libtorch cannot be loaded on this machine: the libraries above are missing or too old" \
    "it needs glibc 2.28 or newer: Debian 10, Ubuntu 20.04 or any later one"
if [ "$set" = cuda ]; then
  loads "$fresh/torch/lib/libtorch_cuda.so" ||
    fail "the CUDA part of libtorch cannot be loaded: the libraries above are missing" \
      "run \`make setup LIBTORCH=cpu\` to go on without a GPU"
fi

rm -rf "$home"
mv "$fresh" "$home"
write_stamp libtorch "$(pins "$set")"
say "libtorch is in .tools/libtorch/torch"
