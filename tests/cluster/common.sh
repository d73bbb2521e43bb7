# What walk.sh and condor.sh share: how they speak, and the project whose runs they submit. Sourced by both.

say() { printf '%s  %s\n' "$(date +%T)" "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
# Writes the project into this folder: STEPS, and how many of them lie between two CHECKPOINTS and two VALIDATIONS.
write_project() {
  mkdir -p experiments/walk experiments/corpora experiments/tasks
  cat >experiments/walk/experiment.toml <<TOML
title = "Walk"
hypothesis = "It arrives."
corpus = "walk"

[model]
layers = 2
heads = 2
width = 32
context_length = 64

[training]
steps = $1
batch_size = 8
device = "cpu"
threads = 1
precision = "f32"
checkpoint_every = $2

[evaluation]
validation_at = { every = $3 }
TOML
  cat >experiments/corpora/walk.toml <<'TOML'
title = "Walk"
language = "en"
licence = "CC0-1.0"
citation = "none"

[generate]
kind = "grammar"
seed = 5
documents = 2000

[split]
validation = 0.02

[tokenizer]
kind = "bpe"
vocabulary_size = 300
TOML
  printf '/.harness\nexperiments/*/runs/*/checkpoints/\n' >.gitignore
}
