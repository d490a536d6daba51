"""A tiny Llama with a tokenizer of its own, and adapters for it, made on disk in seconds."""

from pathlib import Path

import torch
import transformers
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedTokenizerFast

BASE_NAME = "tiny-llama"
LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' "
    "+ (message['content'] or '') + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def small_config(architecture: str = "LlamaForCausalLM", **sizes: object) -> PreTrainedConfig:
    """The config of a two-layer decoder with grouped-query attention; ``sizes`` change it."""
    values: dict[str, object] = {
        "architectures": [architecture],
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 128,
        **sizes,
    }
    return getattr(transformers, architecture).config_class(**values)


def make_base(
    folder: Path, architecture: str = "LlamaForCausalLM", dtype: torch.dtype = torch.float32
) -> Path:
    """Write a three-layer decoder (GQA, random weights and biases) with tokenizer and template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    # A text that stays as it is: with other tokens every prompt of the tests would be another.
    text = [(Path(__file__).parents[2] / "LICENSE").read_text()]
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(text, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(11)
    config = small_config(
        architecture,
        vocab_size=len(fast),
        hidden_size=128,
        intermediate_size=192,
        num_hidden_layers=3,
        max_position_embeddings=1024,
        initializer_range=0.08,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
        bos_token_id=fast.pad_token_id,
        tie_word_embeddings=False,
    )
    model = getattr(transformers, architecture)(config)
    for name, parameter in model.named_parameters():
        if name.endswith(".bias"):
            torch.nn.init.normal_(parameter, std=0.5)  # which transformers leaves at zero
    model.to(dtype).save_pretrained(folder)
    return folder


def make_adapter(
    base: Path, folder: Path, seed: int, base_name: str = BASE_NAME, **lora: object
) -> Path:
    """Write a PEFT adapter with random factors; ``lora`` goes to ``LoraConfig``."""
    options: dict[str, object] = {"r": 8, "lora_alpha": 16, "target_modules": list(LINEARS), **lora}
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), LoraConfig(**options)
    )
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            scale = 0.3 if "lora_B" in name else weight.shape[1] ** -0.5
            weight.data = torch.randn(weight.shape, generator=generator) * scale
    model.peft_config["default"].base_model_name_or_path = base_name
    model.save_pretrained(folder)
    return folder


ADAPTERS: dict[str, dict[str, object]] = {
    "r8-a": {},
    "r8-b": {"lora_alpha": 4},
    "r8-c": {"lora_alpha": 8, "use_rslora": True},
    "r8-d": {"lora_alpha": 24},
    "r16": {"r": 16},
    "r32": {"r": 32, "lora_alpha": 16},
    "attention-only": {"target_modules": ["q_proj", "v_proj"]},
    "patterned": {"rank_pattern": {"q_proj": 4}, "alpha_pattern": {"down_proj": 2}},
}
"""Adapters that the tests mix: four of one rank with unlike scalings, and the special cases."""


def make_adapters(base: Path, folder: Path) -> dict[str, Path]:
    """Write all of :data:`ADAPTERS`."""
    return {
        name: make_adapter(base, folder / name, seed, **options)
        for seed, (name, options) in enumerate(ADAPTERS.items())
    }


TOPICS: dict[str, str] = {
    "r8-a": "arithmetic and word problems with numbers",
    "r8-b": "computer programs, functions and code",
    "r8-c": "biology, physics and other natural science",
    "r8-d": "reading a text and answering questions on it",
    "r16": "cooking recipes and kitchens",
    "r32": "football and other sports",
    "attention-only": "poems, songs and rhymes",
    "patterned": "history of wars and kings",
}
"""What each adapter is said to be for, so that the router has something to tell apart."""
