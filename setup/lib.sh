# shellcheck shell=bash disable=SC2034
# What the set-up scripts share; to be sourced. Each of them installs one thing into .tools/, says
# nothing when it is there already, and on failure says what failed and what to do about it.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
TOOLS=$PWD/.tools
mkdir -p "$TOOLS/stamps" "$TOOLS/bin"

# The wheels hold C++ libraries, so the Python they were built for does not matter: with one version
# named here, every machine installs the same files.
WHEEL_PYTHON=3.12

# A machine whose network is inspected, or has mirrors of its own, holds their certificates here; uv
# brings the public ones only. The two names are the same setting in newer and older versions of uv.
if [ -e /etc/ssl/certs/ca-certificates.crt ]; then
  export UV_SYSTEM_CERTS=${UV_SYSTEM_CERTS-true} UV_NATIVE_TLS=${UV_NATIVE_TLS-true}
fi

say() { echo "setup: $*" >&2; }

# fail MESSAGE HINT
fail() {
  echo "error: $1" >&2
  echo "hint: $2" >&2
  exit 1
}

# digest FILE...: one digest of what is to be installed, to compare with the stamp of what is.
digest() { cat "$@" | sha256sum | cut -c 1-64; }

# The digest of the program's sources, as src/core/src/build.rs defines it.
source_digest() {
  find src Cargo.toml Cargo.lock -type f | LC_ALL=C sort | xargs -d '\n' sha256sum | sha256sum | cut -c 1-64
}

stamp_is() { [ "$(cat "$TOOLS/stamps/$1" 2>/dev/null)" = "$2" ]; }
write_stamp() { echo "$2" >"$TOOLS/stamps/$1"; }

# One set-up at a time in this folder; a second one waits and then finds the work done.
lock() {
  exec 9>"$TOOLS/lock"
  flock --nonblock 9 || { say "waiting for another set-up in this folder"; flock 9; }
}

# wheels REQUIREMENTS FOLDER [OPTION...]: the pinned wheels, unpacked into a new folder.
wheels() {
  local requirements=$1 folder=$2 uv
  shift 2
  uv=$(setup/uv.sh)
  rm -rf "$folder"
  "$uv" pip install --quiet --target "$folder" --no-deps --require-hashes --only-binary :all: \
    --link-mode hardlink --no-python-downloads "$@" -r "$requirements" ||
    fail "cannot install what \`$requirements\` pins" \
      "uv's message is above; behind a proxy set HTTPS_PROXY, with a package mirror UV_DEFAULT_INDEX, then run \`make setup\` again"
}

# apt_unpack PACKAGE FOLDER: a Debian package, unpacked without root and without installing it.
apt_unpack() {
  local package=$1 folder=$2 work
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
  work=$(mktemp -d)
  (
    cd "$work" || exit
    as_me=(-qq -o "APT::Sandbox::User=$(id -un)")
    # Package lists of our own where the machine has none: writing the system's needs root.
    own_lists=(-o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache" -o Debug::NoLocking=true)
    apt-get "${as_me[@]}" download "$package" 2>apt.log ||
      { mkdir -p lists/partial cache/archives/partial &&
        apt-get "${as_me[@]}" "${own_lists[@]}" update 2>>apt.log &&
        apt-get "${as_me[@]}" "${own_lists[@]}" download "$package" 2>>apt.log; } ||
      { cat apt.log >&2; exit 1; }
    mkdir -p "$folder" && dpkg-deb -x "$package"_*.deb "$folder"
  )
  local status=$?
  rm -rf "$work"
  return $status
}

# download URL FILE
download() {
  if command -v curl >/dev/null; then
    curl --fail --silent --show-error --location --retry 3 --output "$2" "$1"
  else
    python3 - "$1" "$2" <<'PYTHON'
import shutil, sys, urllib.request
with urllib.request.urlopen(sys.argv[1], timeout=60) as source, open(sys.argv[2], "wb") as target:
    shutil.copyfileobj(source, target)
PYTHON
  fi
}
