"""LoRI-S in one flat file, to read from top to bottom: A is frozen, B is trained under a mask.

    python -m adapters.training.flat.lori_s BASE_MODEL TRAIN_JSONL OUT MASK_SAFETENSORS

The data has a question and an answer in each line. ``loralloy train lori_s`` does the same with
recipes, checkpoints, several processes and a card.
"""

import json
import random
import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from adapters.training.data.templates import TEMPLATES

RANK, ALPHA, STEPS, BATCH, LEARNING_RATE, SEED = 8, 16, 150, 4, 5e-3, 0
# Adapters to be merged want another SEED each: it draws A, and unlike A keep them apart.
MAX_TOKENS = 256
IGNORED = -100


def main() -> None:
    """Train."""
    base_model, data, out, mask_file = sys.argv[1:]
    torch.manual_seed(SEED)

    # 1. The base model, frozen, and what is trained.
    tokenizer = AutoTokenizer.from_pretrained(base_model)
    model = AutoModelForCausalLM.from_pretrained(base_model, dtype=torch.float32)
    model.requires_grad_(requires_grad=False)
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear")
    model = get_peft_model(model, config)
    for name, parameter in model.named_parameters():
        if "lora_A" in name:  # random, and never trained
            parameter.requires_grad_(requires_grad=False)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    masks = load_file(mask_file)  # made by `loralloy masks` from a LoRI-D adapter

    # 2. The text of each row: prompt and answer, of which the answer alone is learned.
    examples = []
    for line in Path(data).read_text(encoding="utf-8").splitlines():
        example = TEMPLATES["maths"].example(json.loads(line))
        prompt = tokenizer(example.prompt, add_special_tokens=False)["input_ids"]
        answer = tokenizer(example.completion, add_special_tokens=False)["input_ids"]
        ids = [*prompt, *answer, tokenizer.eos_token_id]
        if len(ids) <= MAX_TOKENS:
            examples.append((ids, [IGNORED] * len(prompt) + ids[len(prompt) :]))

    # 3. Steps of AdamW; the learning rate falls by a cosine.
    optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    order = random.Random(SEED)
    model.train()
    for step in range(1, STEPS + 1):
        batch = order.sample(examples, BATCH)
        width = max(len(ids) for ids, _ in batch)
        inputs = torch.zeros(BATCH, width, dtype=torch.long)
        labels = torch.full((BATCH, width), IGNORED)
        attended = torch.zeros(BATCH, width, dtype=torch.long)
        for row, (ids, learned) in enumerate(batch):
            inputs[row, : len(ids)] = torch.tensor(ids)
            labels[row, : len(ids)] = torch.tensor(learned)
            attended[row, : len(ids)] = 1
        loss = model(input_ids=inputs, attention_mask=attended, labels=labels).loss
        loss.backward()
        # B begins at 0 and these gradients are never anything else: so stays B outside the mask.
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                parameter.grad *= masks[name]
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        sys.stdout.write(f"step {step}: {loss.item():.3f}\n")

    # 4. The adapter, in PEFT's format.
    model.save_pretrained(out)


if __name__ == "__main__":
    main()
