# Each target is a line or two that a person could type. `make` alone lists them.

# dev, which is built once for the tests and the demonstration, or release, for long training and benchmarks
PROFILE = dev
# auto, cpu, cuda, or the folder of a libtorch of your own
LIBTORCH ?= auto
# where PyTorch, transformers and lm-evaluation-harness are, which only comparisons with them need
PEERS ?= .tools/peers
# with what an audit sets the paper again, wherever its program was built
export HARNESS_TOOLS ?= $(CURDIR)/.tools

TARGET := $(or $(CARGO_TARGET_DIR),target)
RELEASE := $(TARGET)/release
# yes where a class has built the programs of these sources already
PREBUILT := $(shell setup/prebuilt.sh)
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
BIN = $(if $(PREBUILT),.tools/bin,$(TARGET)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE)))
CARGO_TEST := $(if $(shell command -v cargo-nextest),cargo nextest run,cargo test --lib --bins --tests)

# Cargo takes LIBTORCH for a folder, so only a folder may reach it; else .cargo/config.toml has it.
ifneq ($(filter auto cpu cuda,$(LIBTORCH)),)
unexport LIBTORCH
endif

.PHONY: help setup build dist init demo test error-rates test-hostile test-dist test-dashboard pictures test-resume test-cluster test-condor test-tamper test-rebuild test-studies schemas check doc exp study queue next report audit doctor ci licences package deny bench-overhead bench-audit bench-report bench-data bench-data-large bench-train bench-scaling bench-eval test-parity test-lm-eval lock typst-from-source clean distclean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## install into .tools/ what is missing (LIBTORCH=cpu or LIBTORCH=cuda picks the set)
	@setup/needs.sh $(PREBUILT)
	@setup/libtorch.sh $(LIBTORCH)
	@setup/typst.sh
	@setup/fonts.sh

build: setup ## build harness and harness-trainer (PROFILE=release for long training)
	$(if $(PREBUILT),@true,cargo build --workspace --bins --locked --profile $(PROFILE))

dist: setup ## pack both programs for a class, whose students then need no Rust (target/dist)
	HARNESS_RELOCATABLE=1 cargo build --workspace --bins --locked --release
	setup/dist.sh $(RELEASE) $(TARGET)/dist

init: build ## begin a project of your own in a new folder: make init DIR=../group-7 [ARGS=...]
	@test -n "$(DIR)" || { echo "error: no folder named"; echo "hint: make init DIR=../group-7"; exit 2; } >&2
	$(BIN)/harness init "$(DIR)" $(ARGS)

demo: build ## a study in miniature, in minutes: baseline, proposal, decision, paper, audit
	$(BIN)/harness demo

test: setup ## run all tests
	cargo build --workspace --all-targets --locked
	$(CARGO_TEST) --workspace --locked

error-rates: setup ## measure how often the tests of `harness compare` err: the tables of docs/statistics.md (minutes)
	cargo test --package harness-analyse --test error_rates --locked -- --ignored --nocapture
	cargo test --package harness-statistics --test error_rates --locked -- --ignored --nocapture
	cargo test --package harness-study --lib --locked -- --ignored --nocapture

test-resume: setup ## kill 20 runs at random moments, 10 while they write a checkpoint, and resume them: bit-identical? (minutes)
	cargo build --workspace --bins --locked
	cargo test --package harness --test runner --locked -- cases::resume --ignored --nocapture

test-cluster: setup ## in a throwaway Slurm: eight runs, a node killed, one preempted, one over its time; a laptop and back (as root; minutes)
	cargo build --workspace --bins --locked
	cargo build --package harness --all-targets --locked
	cargo test --package harness --test runner --locked -- cases::cluster --include-ignored --nocapture
	SLURMBOX=$$(mktemp -d /tmp/slurm.XXXXXX) sh -c 'trap "tests/cluster/slurmbox stop; rm -rf $$SLURMBOX" EXIT; \
	  tests/cluster/slurmbox start && SLURM_CONF=$$SLURMBOX/slurm.conf tests/cluster/walk.sh $(BIN)'

test-condor: setup ## in a throwaway HTCondor pool: a run over its time, one taken off its machine (as root, with mmdebstrap; minutes)
	cargo build --workspace --bins --locked
	tests/cluster/condor.sh $(BIN)

test-tamper: setup ## edit every field, row and file of sealed runs: what is found at which level? (minutes)
	cargo build --package harness --all-targets --locked
	cargo test --package harness --test runner --locked -- cases::tamper --ignored --nocapture

test-rebuild: setup ## build the trainer from the commit of a run, and compute windows of the run again: bit-identical? (minutes)
	cargo build --workspace --bins --locked
	cargo test --package harness --test runner --locked -- cases::replay --ignored --nocapture

test-studies: setup ## kill two processes on one study at 20 random moments: no trial lost, none twice? (a minute)
	cargo build --package harness --all-targets --locked
	cargo test --package harness --test runner --locked -- cases::trials --ignored --nocapture

test-hostile: setup ## audit 300 projects that were made to stop, to fool or to exhaust an auditor (minutes)
	cargo build --package harness --all-targets --locked
	cargo test --package harness --test runner --locked -- cases::hostile --ignored --nocapture

test-dist: dist ## use the archive of `make dist` in a Debian without Rust: a run, its paper, its audit (as root; a few minutes)
	tests/dist/without_rust.sh $(TARGET)/dist/harness-$(VERSION)-*.tar.gz

test-dashboard: ## open the dashboard in headless Chromium and use it (screenshots in target/dashboard)
	setup/browser.sh
	cargo test --locked --package harness --test runner -- cases::dashboard
	.tools/browser/python/bin/python tests/browser/dashboard.py .tools/browser/chromium $(or $(CARGO_TARGET_DIR),target)/tmp target/dashboard

pictures: build ## make the pictures of docs/pictures again from this project's runs (PROFILE=release; ARGS="--change rotary")
	setup/browser.sh
	.tools/browser/python/bin/python tests/browser/pictures.py .tools/browser/chromium $(BIN)/harness docs/pictures $(ARGS)

schemas: build ## write again the JSON Schemas by which editors complete experiments and recipes
	mkdir -p experiments/schema
	for kind in experiment study corpus task project budget change cluster; do $(BIN)/harness schema $$kind > experiments/schema/$$kind.json; done

check: setup ## check format and lints, warnings denied
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- --deny warnings

doc: setup ## write the documentation of the crates (target/doc), warnings denied
	RUSTDOCFLAGS='--deny warnings --allow rustdoc::private_intra_doc_links' cargo doc --workspace --no-deps --locked --document-private-items

exp: PROFILE = release
exp: build ## run one experiment: make exp NAME=rotary [SEED=2 | SEEDS=3] [ARGS=...]
	@test -n "$(NAME)" || { echo "error: no experiment named"; echo "hint: make exp NAME=rotary"; exit 2; } >&2
	$(BIN)/harness $(if $(SEEDS),seeds $(NAME) --seeds $(SEEDS),run $(NAME) $(if $(SEED),--seed $(SEED))) $(ARGS)

study: PROFILE = release
study: build ## run the trials of a study that are missing: make study NAME=lr-warmup [ARGS=...]
	@test -n "$(NAME)" || { echo "error: no study named"; echo "hint: make study NAME=lr-warmup"; exit 2; } >&2
	$(BIN)/harness study run $(NAME) $(ARGS)

queue: PROFILE = release
queue: build ## work off the runs that `harness queue add` has added
	$(BIN)/harness queue start $(ARGS)

next: build ## say what is worth doing now, with its cost and command
	$(BIN)/harness next $(ARGS)

report: build ## write report/build/paper.pdf from the sealed runs
	$(BIN)/harness report $(ARGS)

audit: build ## trace every number of the paper to its run (ARGS=<run, value or PDF> for one thing)
	$(BIN)/harness audit $(ARGS)

doctor: ## say what is there, what is missing, and what mends it
	@$(if $(PREBUILT),$(BIN)/harness,cargo run --quiet --locked --profile $(PROFILE) --bin harness --) doctor

ci: ## all that continuous integration does
	.ci/run

licences: ## list the licences of everything that is linked into the programs, with their texts (target/licences.txt)
	mkdir -p $(TARGET)
	setup/licences.py > $(TARGET)/licences.txt

package: ## pack every crate as a registry would take it, and look what is missing (target/package)
	cargo package --workspace --no-verify --allow-dirty --exclude-lockfile

deny: ## check licences, advisories and sources of the dependencies
	@command -v cargo-deny >/dev/null || { echo "error: cargo-deny is not installed"; echo "hint: cargo install cargo-deny --locked"; exit 1; } >&2
	cargo deny --workspace check

bench-overhead: PROFILE = release
bench-overhead: ## time training under harness run against the bare trainer, in turn (minutes; PROFILE=dev for debug programs)
	cargo build --workspace --bins --locked --profile $(PROFILE)
	python3 tests/bench/train/overhead.py $(BIN) experiments/corpora/grammar.toml

bench-report: ## time `harness report` on 36 runs of the stand-in trainer (a minute; ARGS="--changes 49 --seeds 4" for 200)
	cargo build --locked --profile $(PROFILE) --package harness --bin harness --example stand-in-trainer
	python3 tests/bench/report/bench.py $(BIN)/examples/stand-in-trainer now=$(BIN)/harness,templates $(ARGS)

bench-data: ## time the corpus pipeline against one in Python, in turn (about two minutes after the build)
	setup/bench.sh
	cargo build --release --locked --package harness --package harness-corpus --bin harness --example encode
	.tools/bench/bin/python tests/bench/data/bench.py $(RELEASE)/harness $(RELEASE)/examples/encode

bench-data-large: ## 2 GiB of generated text through a whole recipe under a limit of 1 GiB (SIZE_MIB=2048; needs 12 GiB of disk)
	cargo build --release --locked --package harness --bin harness
	python3 tests/bench/data/large.py $(RELEASE)/harness experiments/tasks $(or $(SIZE_MIB),2048)

bench-scaling: ## time two processes that share each batch against one, one thread each (minutes after the build)
	cargo build --release --locked --package harness-trainer
	python3 tests/bench/scaling.py $(RELEASE)/harness-trainer $(ARGS)

bench-train: ## time training against PyTorch, in turn (about ten minutes after the build; ARGS="--size 124m")
	setup/peers.sh $(PEERS)
	cargo build --release --locked --package harness-trainer
	for precision in bf16 f32; do \
	  $(PEERS)/bin/python tests/bench/train/bench.py $(RELEASE)/harness-trainer --precision $$precision $(ARGS) || exit 1; \
	done

test-parity: setup ## logits and 50 losses of random models against transformers and PyTorch (SEED=2 for other models)
	setup/peers.sh $(PEERS)
	rm -rf target/parity
	$(PEERS)/bin/python tests/peers/record.py target/parity $(or $(SEED),2)
	HARNESS_PARITY=$(CURDIR)/target/parity cargo test --locked --package harness-trainer --test runner -- cases::parity --nocapture

test-lm-eval: build ## item by item against lm-evaluation-harness (needs HARNESS_MIRROR or the network; ten minutes on two cores)
	setup/peers.sh $(PEERS)
	$(PEERS)/bin/python tests/peers/lm_eval_equality.py $(BIN)/harness

bench-eval: ## time the evaluation against lm-evaluation-harness, in turn, and vary the batch size (ten minutes after the build)
	setup/peers.sh $(PEERS)
	cargo build --release --locked --package harness --package harness-trainer --bins
	$(PEERS)/bin/python tests/peers/bench_eval.py $(RELEASE)/harness

bench-audit: ## time the audit of 1,000 runs beside sha256sum over the same files, in turn (ten minutes after the build; ARGS="--runs 100")
	cargo build --release --locked --package harness --bin harness --example stand-in-trainer
	python3 tests/bench/audit/bench.py $(RELEASE)/harness $(RELEASE)/examples/stand-in-trainer $(ARGS)

lock: ## pin again what make setup installs (needs the network)
	setup/lock.sh

typst-from-source: ## build the typst executable itself instead of the wheel (12 to 25 minutes)
	rm -f .tools/bin/typst
	cargo install typst-cli --version 0.15.1 --locked --root .tools

clean: ## remove what was built
	cargo clean
	rm -rf report/build

distclean: clean ## remove what was installed as well
	rm -rf .tools
