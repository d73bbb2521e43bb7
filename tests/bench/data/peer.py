"""The peer of `harness data prepare`: what a student would write in Python with the fast libraries there are. It reads
JSON lines, cleans, drops exact and near duplicates (MinHash of word 5-grams, 128 permutations, candidates checked by
their true Jaccard similarity), splits by digest, trains a byte-level BPE, encodes, and writes token files.

usage: peer.py DOCUMENTS OUT_FOLDER VOCABULARY_SIZE
       peer.py encode TEXTS TOKENIZER
"""

import hashlib
import json
import multiprocessing
import pathlib
import re
import sys
import time
import unicodedata

import numpy
import rensa
import tokenizers

SEPARATOR = "<|endoftext|>"
THRESHOLD = 0.8
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\u00ad\u200b-\u200f]")
LINE_ENDS = re.compile(r"[ \t\u00a0]+\n")
EMPTY_LINES = re.compile(r"\n{3,}")
WORD = re.compile(r"[^\W_]+")


def clean(line: str) -> str | None:
    text = unicodedata.normalize("NFC", json.loads(line)["text"])
    text = CONTROL.sub("", text).replace("\u00a0", " ")
    text = EMPTY_LINES.sub("\n\n", LINE_ENDS.sub("\n", text)).strip()
    return text if len(text) >= 64 else None


def shingles(text: str) -> list[str]:
    words = WORD.findall(text.lower())
    return [" ".join(words[i : i + 5]) for i in range(max(1, len(words) - 4))]


def signature(text: str) -> rensa.RMinHash:
    minhash = rensa.RMinHash(num_perm=128, seed=1)
    minhash.update(shingles(text))
    return minhash


def without_near_duplicates(texts: list[str], pool) -> list[str]:
    # 32 bands of 4 rows: rensa wants the bands to divide the permutations.
    lsh = rensa.RMinHashLSH(threshold=THRESHOLD, num_perm=128, num_bands=32)
    sets: dict[int, set[str]] = {}
    kept = []
    for index, minhash in enumerate(pool.imap(signature, texts, chunksize=1000)):
        candidates = lsh.query(minhash)
        if candidates:
            mine = set(shingles(texts[index]))
            for other in candidates:
                theirs = sets.get(other)
                if theirs is None:
                    theirs = sets[other] = set(shingles(texts[other]))
                if len(mine & theirs) >= THRESHOLD * len(mine | theirs):
                    break
            else:
                candidates = []
        if not candidates:
            lsh.insert(index, minhash)
            kept.append(texts[index])
    return kept


def train(texts: list[str], vocabulary_size: int) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        min_frequency=2,
        show_progress=False,
        special_tokens=[SEPARATOR],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def prepare(documents: str, out: pathlib.Path, vocabulary_size: int) -> None:
    started = time.perf_counter()

    def done(stage: str) -> None:
        print(f"{time.perf_counter() - started:7.2f} s {stage}", file=sys.stderr)

    out.mkdir(parents=True)
    with multiprocessing.Pool(2) as pool:
        with open(documents, encoding="utf-8") as lines:
            texts = [text for text in pool.imap(clean, lines, chunksize=1000) if text]
        done("clean")
        texts = list({hashlib.sha256(text.encode()).digest(): text for text in texts}.values())
        texts = without_near_duplicates(texts, pool)
        done("duplicates")
    sides: dict[str, list[str]] = {"train": [], "validation": []}
    for text in texts:
        held_out = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") < 0.05 * 2**64
        sides["validation" if held_out else "train"].append(text)
    tokenizer = train(sides["train"], vocabulary_size)
    tokenizer.save(str(out / "tokenizer.json"))
    done("tokenizer")
    separator = tokenizer.token_to_id(SEPARATOR)
    for side, of_side in sides.items():
        ids = []
        for start in range(0, len(of_side), 10_000):
            for encoding in tokenizer.encode_batch(of_side[start : start + 10_000]):
                ids.append(numpy.array([separator, *encoding.ids], dtype=numpy.uint16))
        numpy.concatenate(ids).tofile(out / f"{side}.bin")
        print(f"{side}: {len(of_side)} documents, {sum(map(len, ids))} tokens")
    done("encode")


def encode(texts_path: str, tokenizer_path: str) -> None:
    texts = pathlib.Path(texts_path).read_text(encoding="utf-8").split("\n\n")
    tokenizer = tokenizers.Tokenizer.from_file(tokenizer_path)
    started = time.process_time()
    encodings = [e for at in range(0, len(texts), 10_000) for e in tokenizer.encode_batch(texts[at : at + 10_000])]
    cpu_time_s = time.process_time() - started
    digest = hashlib.sha256()
    for encoding in encodings:
        digest.update(numpy.array(encoding.ids, dtype="<u4").tobytes())
    print(json.dumps({"cpu_time_s": cpu_time_s, "ids_sha256": digest.hexdigest()}))


if __name__ == "__main__":
    if sys.argv[1] == "encode":
        encode(sys.argv[2], sys.argv[3])
    else:
        prepare(sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3]))
