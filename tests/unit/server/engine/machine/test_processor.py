"""A processor's abilities are read from the words of its system."""

import pytest

from server.engine.machine.processor import flags, multiplies_bfloat16

X86 = "processor\t: 0\nflags\t\t: fpu avx2 fma {}\nbugs\t\t: none\n\nprocessor\t: 1\nflags\t\t: x\n"
ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd {}\nCPU part\t: 0xd40\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (X86.format("avx512_bf16"), True),
        (X86.format("avx512f amx_bf16"), True),
        (X86.format("avx512f avx512dq"), False),
        (X86.format("amx_tile"), False),
        (ARM.format("bf16"), True),
        (ARM.format("fphp"), False),
        ("", False),
        ("flags without a colon", False),
        ("model name\t: a processor with bf16\n", False),
    ],
)
def test_bfloat16_is_known_by_its_instructions(text: str, expected: bool) -> None:
    assert multiplies_bfloat16(flags(text)) is expected
