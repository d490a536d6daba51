"""Uploads of any bytes, grown towards code that none has reached (Atheris, on libFuzzer).

    python -m tests.soak.fuzz_uploads [--minutes 10] [--corpus FOLDER] [-- LIBFUZZER OPTIONS]

Archives, headers of safetensors, configs and whole adapters are refused by one of our errors, or
are right: no other exception, no file beside the two that are wanted, no path of this machine in a
message. What breaks that is written to the corpus folder as ``crash-…``; given as an option after
``--`` it is tried again.
"""

import argparse
import gzip
import sys
import tempfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["adapters", "tarfile", "zipfile"]):
    import tarfile
    import zipfile

    from adapters.archive import place_files, unpack_archive
    from adapters.errors import AdapterError
    from adapters.files import CONFIG_FILE, WEIGHTS_FILE
    from adapters.format.peft_config import parse_config
    from adapters.format.safetensors_header import read_header
    from adapters.format.strict_json import parse_json_object
    from adapters.limits import Limits
    from adapters.validation.base_model import read_base_model
    from adapters.validation.validate import validate

from tests.support import archives
from tests.support.tiny_llama import BASE_NAME, small_config

__all__ = ["tarfile", "zipfile"]

SMALL = Limits(max_weights_bytes=2**20, max_config_bytes=2**16, max_ignored_bytes=2**16)
MAX_LENGTH = 16_384
HANG_S = 10


class Uploads:
    """The things that bytes can be taken for.

    Args:
        folder: empty, for what is written.
    """

    def __init__(self, folder: Path) -> None:
        from peft import LoraConfig, get_peft_model
        from transformers import LlamaForCausalLM

        config = small_config(
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            vocab_size=8,
        )
        config.save_pretrained(folder / BASE_NAME)
        self._base = read_base_model(folder / BASE_NAME, BASE_NAME)
        model = get_peft_model(
            LlamaForCausalLM(config), LoraConfig(r=2, target_modules=["q_proj", "v_proj"])
        )
        model.save_pretrained(folder / "good")
        self._config = (folder / "good" / CONFIG_FILE).read_bytes()
        self._weights = (folder / "good" / WEIGHTS_FILE).read_bytes()
        self._scratch = folder / "scratch"
        self._kinds: tuple[Callable[[bytes], None], ...] = (
            self.archive,
            self.plain_tar,
            self.header,
            self.config,
            self.weights,
        )

    def seeds(self) -> Iterator[bytes]:
        """A good one of each kind; the first byte says which."""
        members = [(CONFIG_FILE, self._config), (WEIGHTS_FILE, self._weights)]
        tar_gz = archives.tar_gz_of(members)
        kinds = (0, archives.zip_of(members)), (0, tar_gz), (1, gzip.decompress(tar_gz))
        yield from (bytes([kind]) + content for kind, content in kinds)
        yield from (bytes([kind]) + self._weights for kind in (2, 4))
        yield bytes([3]) + self._config

    def take(self, content: bytes) -> None:
        """Take bytes for what their first one says."""
        if content:
            self._kinds[content[0] % len(self._kinds)](content[1:])

    def archive(self, content: bytes) -> None:
        """A .zip or a .tar.gz."""
        with tempfile.TemporaryDirectory(dir=self._scratch.parent) as name:
            folder = Path(name)
            if not self._refused(lambda: unpack_archive(BytesIO(content), folder, SMALL)):
                self._refused(lambda: validate(folder, self._base, SMALL))
            written = {path.name for path in folder.iterdir()}
            assert written <= {CONFIG_FILE, WEIGHTS_FILE}, written

    def plain_tar(self, content: bytes) -> None:
        """What a .tar.gz holds once unpacked, so that its checksum stands in nobody's way."""
        self.archive(gzip.compress(content, 1))

    def header(self, content: bytes) -> None:
        """A safetensors file, read as far as its header."""
        file = BytesIO(content)
        try:
            parsed = read_header(file, 2**16)
        except AdapterError:
            return
        spans = sorted((spec.begin, spec.end) for spec in parsed.tensors.values())
        length = len(content) - parsed.data_start
        assert sum(end - begin for begin, end in spans) == length
        assert all(0 <= begin <= end <= length for begin, end in spans)

    def config(self, content: bytes) -> None:
        """An adapter_config.json."""
        try:
            facts = parse_config(parse_json_object(content, CONFIG_FILE))
        except AdapterError:
            return
        assert facts.r >= 1
        assert facts.lora_alpha > 0

    def weights(self, content: bytes) -> None:
        """The weights beside a good config."""
        with tempfile.TemporaryDirectory(dir=self._scratch.parent) as name:
            folder = Path(name)
            place_files(BytesIO(self._config), BytesIO(content), folder, SMALL, WEIGHTS_FILE)
            self._refused(lambda: validate(folder, self._base, SMALL))

    def _refused(self, action: Callable[[], object]) -> bool:
        """Whether it ends in one of our errors, which tells nothing of this machine."""
        message = ""
        try:
            action()
        except AdapterError as error:
            message = str(error)
        assert str(self._scratch.parent) not in message
        assert message.isprintable()
        return bool(message)


def main() -> None:
    """The command. libFuzzer ends the process."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.fuzz_uploads", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--corpus", type=Path, help="is kept and grown; else a fresh one")
    parser.add_argument("options", nargs="*", help="libFuzzer's")
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    uploads = Uploads(scratch)
    corpus = options.corpus or scratch / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(uploads.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    settings = {
        "max_total_time": round(60 * options.minutes),
        "max_len": MAX_LENGTH,
        "timeout": HANG_S,
        "rss_limit_mb": 4096,
        "print_final_stats": 1,
        "artifact_prefix": f"{corpus}/",
    }
    flags = [f"-{name}={value}" for name, value in settings.items()]
    atheris.Setup([sys.argv[0], *flags, *options.options, str(corpus)], uploads.take)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
