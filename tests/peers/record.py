"""record.py FOLDER [SEED]: random models of `transformers`, their logits, the scores that lm-evaluation-harness gives
them, and the losses of a plain PyTorch loop.

Writes FOLDER/gpt2 and FOLDER/llama, each with config.json, model.safetensors and recorded.json, which
src/trainer/tests/cases/parity.rs compares with this project. The training loop below uses no code of it: attention, loss,
clipping and AdamW are those of transformers and PyTorch, and the order of the batches is computed from
docs/formats/trainer.md ("Data order").
"""

import json
import pathlib
import sys

import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

VOCABULARY, CONTEXT, BATCH, STEPS = 64, 16, 4, 50
LEARNING_RATE, BETAS, EPSILON, DECAY, CLIP = 3e-3, (0.9, 0.95), 1e-8, 0.1, 1.0
MASK = (1 << 64) - 1


def mix(z):
    """SplitMix64 (Steele, Lea and Flood 2014)."""
    z = (z + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def window(seed, sequence, windows):
    """The window that a sequence of the run reads."""
    epoch, value = divmod(sequence, windows)
    key = mix(mix(mix(seed) ^ 0x6F726465) ^ epoch)
    half = max(1, -(-(windows - 1).bit_length() // 2))
    low = (1 << half) - 1
    while True:
        left, right = value >> half, value & low
        for turn in range(4):
            left, right = right, left ^ (mix(key ^ mix(right ^ (turn << 56))) & low)
        value = left << half | right
        if value < windows:
            return value


def models():
    yield "gpt2", GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY, n_positions=CONTEXT, n_embd=32, n_layer=2, n_head=4,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
        )
    )
    yield "llama", LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY, max_position_embeddings=CONTEXT, hidden_size=32, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, intermediate_size=88, rms_norm_eps=1e-5,
            tie_word_embeddings=False, bos_token_id=0, eos_token_id=0,
        )
    )  # fmt: skip


def train(model, documents, seed):
    """The losses of the steps, in nats per token, before each update."""
    stream = torch.tensor([token for document in documents for token in [0, *document]])
    windows = (len(stream) - 1) // CONTEXT
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=BETAS, eps=EPSILON)
    losses = []
    for step in range(STEPS):
        starts = [CONTEXT * window(seed, step * BATCH + i, windows) for i in range(BATCH)]
        batch = torch.stack([stream[start : start + CONTEXT + 1] for start in starts])
        logits = model(batch[:, :-1]).logits.flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(logits, batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        losses.append(loss.item())
    return losses


def lm_eval_scores(model, folder):
    """Requests of token ids, some longer than the context, with what lm-evaluation-harness says of each: the
    log-probability of the continuation and whether it is greedy."""
    import random

    from lm_eval.models.huggingface import HFLM
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    # The class wants a tokenizer, which token ids do not need.
    words = Tokenizer(WordLevel({f"t{i}": i for i in range(VOCABULARY)}, unk_token="t0"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, bos_token="t0", eos_token="t0", unk_token="t0")
    scorer = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=5, max_length=CONTEXT)
    draw = random.Random(folder.name)
    requests = []
    for number in range(40):
        context = [draw.randrange(VOCABULARY) for _ in range(draw.choice([1, 3, 9, 15, 16, 30]))]
        continuation = [draw.randrange(VOCABULARY) for _ in range(draw.choice([1, 1, 2, 5, 16]))]
        if number % 2 == 0:
            with torch.no_grad():
                first_choice = model(torch.tensor([context[-CONTEXT:]])).logits[0, -1].argmax().item()
            continuation = [first_choice]
        requests.append((context, continuation))
    pairs = [((str(number), ""), *request) for number, request in enumerate(requests)]
    scores = scorer._loglikelihood_tokens(pairs, disable_tqdm=True)
    rows = zip(requests, scores, strict=True)
    return [dict(context=c, continuation=d, log_probability_nats=s, greedy=bool(g)) for (c, d), (s, g) in rows]


def main():
    folder = pathlib.Path(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    for name, model in models():
        # Biases and gains of a fresh model are all 0 or 1, which would hide that two of them were exchanged.
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
        model.eval()
        model.save_pretrained(folder / name)
        tokens = torch.randint(0, VOCABULARY, (3, CONTEXT))
        with torch.no_grad():
            logits = model(tokens).logits
        documents = [torch.randint(1, VOCABULARY, (40,)).tolist() for _ in range(20)]
        recorded = {
            "torch": torch.__version__.split("+")[0],
            "tokens": tokens.tolist(),
            "logits": logits.flatten().tolist(),
            "requests": lm_eval_scores(model, folder / name),
            "documents": documents,
            "seed": seed,
            "batch_size": BATCH,
            "learning_rate": LEARNING_RATE,
            "losses": train(model, documents, seed),
        }
        (folder / name / "generation_config.json").unlink(missing_ok=True)
        (folder / name / "recorded.json").write_text(json.dumps(recorded) + "\n")
        print(f"{name}: losses {recorded['losses'][0]:.4f} to {recorded['losses'][-1]:.4f}")


if __name__ == "__main__":
    main()
