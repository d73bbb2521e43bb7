#!/usr/bin/env bash
# A run over its time limit in a throwaway HTCondor pool, and one that is taken off its machine: both end with the weights of undisturbed ones.
#
#   condor.sh BIN
#
# BIN is the folder of harness and harness-trainer. The pool is Debian trixie's minicondor in a folder of its own ($CONDOR_ROOT keeps one for the
# next time); its processes and mounts end with this script. Needs root, mmdebstrap and the network of Debian.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# --- outside: the root folder of the pool ----------------------------------------------------------------------------
outside() {
  local bin root=${CONDOR_ROOT:-}
  bin=$(cd "$1" && pwd)
  if [ -z "$root" ]; then
    root=$(mktemp -d /tmp/harness-condor.XXXXXX)
    # shellcheck disable=SC2064
    trap "rm -rf --one-file-system '$root'" EXIT
  fi
  if [ ! -x "$root/usr/sbin/condor_master" ]; then
    say "a Debian with HTCondor in $root"
    mmdebstrap --quiet --variant=minbase --include=minicondor,procps,git trixie "$root"
  fi
  cp "$0" "$(dirname "$0")/common.sh" "$root/"
  # Namespaces of its own: with them all that is mounted and started below is gone.
  unshare --mount --pid --fork --kill-child bash "$root/condor.sh" --mounted "$root" "$bin"
}

# --- in the namespaces: what the pool sees of this machine -----------------------------------------------------------
mounted() {
  local root=$1 bin=$2 folder
  [ -x "$bin/harness-trainer" ] || fail "there is no trainer in $bin"
  mount --bind "$root" "$root"  # HTCondor gives each job mounts of its own, which needs one here.
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  mount --rbind /sys "$root/sys"
  # The programs, and the folders of libtorch, by the names that the programs know them by.
  { echo "$bin"; ldd "$bin/harness-trainer" | sed -n 's/.* => \(\/[^ ]*\)\/[^/]* (.*/\1/p' | grep -v '^/\(usr/\)\?lib'; } |
    xargs realpath --no-symlinks | sort -u | while read -r folder; do
    mkdir -p "$root$folder"
    mount --bind "$folder" "$root$folder"
  done
  exec chroot "$root" env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin bash /condor.sh --pool "$bin"
}

# --- inside: the pool ------------------------------------------------------------------------------------------------
pool() {
  id ci >/dev/null 2>&1 || useradd --create-home ci  # Jobs do not run as root.
  cat >/etc/condor/config.d/99-test <<'CONF'
NUM_CPUS = 2
NEGOTIATOR_INTERVAL = 5
NEGOTIATOR_CYCLE_DELAY = 2
SCHEDD_INTERVAL = 5
SCHEDD_MIN_INTERVAL = 1
CONF
  mkdir -p /run/condor /var/lock/condor
  chown condor: /run/condor /var/lock/condor
  condor_master
  local end=$((SECONDS + 60))
  until condor_status 2>/dev/null | grep -q slot; do
    [ $SECONDS -lt $end ] || fail "the pool does not begin: $(tail -5 /var/log/condor/MasterLog)"
    sleep 1
  done
  say "$(condor_version | head -n 1)"
  rm -rf /home/ci/runs /home/ci/undisturbed
  exec su ci -c "bash /condor.sh --runs $1"
}

# --- inside, as a user: runs of more than a minute, which are given one ----------------------------------------
runs() {
  local bin=$1
  export HOME=/home/ci
  git config --global user.name Condor
  git config --global user.email condor@example.org
  git config --global init.defaultBranch main
  mkdir ~/runs
  cd ~/runs
  write_project 12000 3000 6000
  printf 'scheduler = "htcondor"\ntime = "00:01:00"\n' >cluster.toml
  git init -q
  git add -A
  git commit -q -m "Begin"
  "$bin/harness" data prepare walk >/dev/null
  git clone -q . ~/undisturbed

  say "submit two runs, which have a minute each"
  "$bin/harness" submit walk --seed 1 --seed 2
  local job end taken=
  job=$(condor_q -af ClusterId | head -n 1)
  end=$((SECONDS + 900))
  while [ -n "$(condor_q -af ProcId)" ]; do
    [ $SECONDS -lt $end ] || fail "the runs do not end: $(condor_q -nobatch; "$bin/harness" jobs)"
    [ -z "$(condor_q -constraint 'JobStatus == 5' -af HoldReason)" ] || fail "held: $(condor_q -hold)"
    if [ -z "$taken" ] && grep -qs '"event":"checkpoint"' experiments/walk/runs/*/log.jsonl; then
      say "the second is taken off its machine"
      condor_vacate_job "$job.1"
      taken=yes
    fi
    sleep 1
  done
  "$bin/harness" jobs --all
  grep -h '"status"\|"kind": "\(time_limit\|preempted\)"' experiments/walk/runs/*/record.json | sort | uniq -c
  grep -qs '"kind": "time_limit"' experiments/walk/runs/*/record.json || fail "no run was over its time"
  grep -qs '"kind": "preempted"' experiments/walk/runs/*/record.json || fail "no run was taken off its machine"

  say "the same weights as runs that nobody stopped"
  cd ~/undisturbed
  for seed in 1 2; do "$bin/harness" run walk --seed $seed >/dev/null 2>&1 & done
  wait
  weights() { # FOLDER: seed and digest of the last weights of each complete run
    local run
    for run in "$1"/experiments/walk/runs/*/; do
      grep -q '"status": "completed"' "$run/record.json" || continue
      printf '%s %s\n' "$(grep -o -m 1 '"seed": [0-9]*' "$run/open.json")" "$(grep '"weights_sha256"' "$run/record.json" | tail -n 1)"
    done | sort
  }
  [ "$(weights ~/undisturbed | wc -l)" -eq 2 ] || fail "an undisturbed run did not end"
  diff <(weights ~/runs) <(weights ~/undisturbed) || fail "the weights differ"
  cd ~/runs
  "$bin/harness" audit >audit.txt || { code=$?; tail -20 audit.txt >&2; fail "the audit ended with $code"; }
  say "it took $SECONDS s"
}

case ${1:-} in
--mounted) mounted "$2" "$3" ;;
--pool) pool "$2" ;;
--runs) runs "$2" ;;
'' | -*) fail "name the folder of the programs" ;;
*) outside "$1" ;;
esac
