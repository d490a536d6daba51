"""Patterns mean what PEFT means by them, whatever Python's ``re`` takes, and never take long."""

import random
import re
import warnings
from collections.abc import Iterator

import pytest

from adapters.errors import InvalidConfig
from adapters.format.patterns import (
    LayerPattern,
    ModuleSelector,
    PatternClock,
    SavedPattern,
    SuffixPatterns,
)
from adapters.format.peft_config import parse_config
from adapters.format.peft_format import parse_tensor_name, targeted_modules

SUFFIXES = ("self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj", "mlp.down_proj")
MODULES = [f"model.layers.{layer}.{suffix}" for layer in (0, 1, 10) for suffix in SUFFIXES]
NAMES = [
    *MODULES,
    "model.visual.blocks.0.q_proj",
    "lm_head",
    "x{e}",
    "a:b",
    "[q",
    "a{2}",
    "aa",
    "{}",
    "a]",
]

WRITTEN = [
    r"^(?!.*visual).*\.(q_proj|v_proj)$",
    r"(?i).*Q_PROJ",
    r"(?:.*?(?:language|text).*?(?:self_attn|mlp).*?(?:q_proj|v_proj).*?)|"
    r"(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|mlp)\.(?:(?:q_proj|v_proj)))",
    r".*layers\.(?:[0-9]|1[0-9])\..*(?<!up)_proj",
    r"model\.layers\.(?P<n>\d)(?P=n)?\..*",
    r"model\.layers\.(\d)\1?\..*q_proj",
    r"(?x) .* self_attn \. [qv] _proj  # attention alone",
    r".*\.(?>self_attn|mlp)\.\w++",
    r"(.*\.)?(q)?(?(2)_proj|up_proj)",
    r".*[[:alpha:]]+",
    r"a{2}|x{e}|\{\}",
    r"\N{LATIN SMALL LETTER L}m_head",
]
"""Patterns as people and training frameworks write them; constructs that matchers read apart."""

PIECES = [
    *("model", "layers", "q_proj", "k", "_proj", "mlp", "q", "0", "1", ".", "..", r"\.", ".*"),
    *(".+", ".?", ".*?", r"\d", r"\d+", r"\w", "[0-9]", "[a-z]", "[^q]", "[[:alpha:]]", "[[", "]"),
    *("[", "(", "(?:", "(?=", "(?!", "(?<=", "(?<!", "(?P<a>", "(?P=a)", r"\1", "|", "||", "--"),
    *("&&", "~~", ")", "{", "}", "{e}", "{2}", "{1,}", "{,2}", "{,}", "{}", "{i<=1}", "{1,2}?"),
    *("*+", "++", "?+", "(?>", "(?i)", "(?i:", "(?x)", "(?s)", "(?#c)", "(?#[)", "#", r"\b", r"\B"),
    *(r"\A", r"\Z", "$", "^", r"\s", r"\S", "[:", "\\", r"\N{FULL STOP}", r"\x2e", r"\056", "e"),
    *("[a--b]", "[q||k]", "[a-z&&[q]]", "(?(1)a|b)", r"\u0071", " ", r"\Q", r"\p{L}", "(?V1)"),
]


def random_patterns(count: int) -> Iterator[str]:
    """Patterns put together by chance, most of them none."""
    chance = random.Random(16)
    for _ in range(count):
        middle = "".join(chance.choice(PIECES) for _ in range(chance.randint(1, 7)))
        yield chance.choice(("", ".*")) + middle + chance.choice(("", "", ".*"))


def selected(pattern: str) -> list[str] | None:
    """The names that the pattern selects; None if it is refused."""
    try:
        selector = ModuleSelector(pattern, PatternClock.seconds(60))
    except InvalidConfig:
        return None
    return [name for name in NAMES if selector.selects(name)]


def selected_by_peft(pattern: str) -> list[str] | None:
    """The same, as PEFT decides it."""
    from peft.tuners.tuners_utils import match_target_against_key

    try:
        return [name for name in NAMES if match_target_against_key(pattern, name)]
    except (re.error, OverflowError):
        return None


@pytest.mark.parametrize("pattern", WRITTEN)
def test_what_people_write_selects_what_it_selects_in_peft(pattern: str) -> None:
    assert selected(pattern) == selected_by_peft(pattern)
    assert selected(pattern)


def test_whatever_python_takes_is_taken_and_means_the_same() -> None:
    taken = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python's own, of sets that may mean something one day
        for pattern in random_patterns(6000):
            expected = selected_by_peft(pattern)
            assert selected(pattern) == expected, pattern
            taken += expected is not None
    assert taken > 1000


def test_keys_of_ranks_fit_as_in_peft() -> None:
    from peft.utils.other import get_pattern_key

    literal = ["q_proj", "attn.q_proj", "self_attn.q_proj", "1.mlp.up_proj", *MODULES[:3]]
    literal += ["layers.1.mlp.up_proj", "..self_attn", ".", "", "model-layers", "l.yers.0", "proj"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for key in [*literal, "^model.layers.0.self_attn.v_proj", "a)|(b", *random_patterns(2000)]:
            for name in NAMES:
                try:
                    expected = get_pattern_key([key], name) == key
                except (re.error, OverflowError):
                    with pytest.raises(InvalidConfig):
                        SuffixPatterns([key], PatternClock.seconds(60))
                    break
                found = SuffixPatterns([key], PatternClock.seconds(60)).first_match(name)
                assert (found is not None) == expected, (key, name)


@pytest.mark.parametrize(
    "config",
    [
        {"target_modules": ["q_proj"], "modules_to_save": ["q_proj"]},
        {"target_modules": "all-linear", "modules_to_save": ["mlp"]},
        {"target_modules": ["q_proj", "up_proj"], "modules_to_save": ["lm_head", "layers.1"]},
        {"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": "layers"},
        {"target_modules": ["q_proj"], "layers_to_transform": 0, "layers_pattern": ["h", "layers"]},
        {"target_modules": ["q_proj"], "layers_to_transform": [1, 10], "layers_pattern": "l.y.rs"},
        {"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": []},
        {"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": "h"},
        {"target_modules": ["up_proj"], "exclude_modules": r".*\.1\..*"},
    ],
)
def test_modules_are_targeted_as_in_peft(config: dict[str, object]) -> None:
    from peft import LoraConfig
    from peft.tuners.tuners_utils import check_target_module_exists

    tensors = [parse_tensor_name(f"{module}.lora_A.weight") for module in MODULES]
    ours = targeted_modules(parse_config({"peft_type": "LORA", **config}), tensors)
    if config["target_modules"] == "all-linear":
        config = config | {"target_modules": list(MODULES)}
    theirs = LoraConfig(**config)
    expected = set()
    for module in MODULES:
        # An excluded module is told by an object that stands for no.
        if bool(check_target_module_exists(theirs, module)):
            expected.add(module)
    assert ours == expected


SLOW = r"(([a-z]|[a-z._0-9])+)+[0-9]"


@pytest.mark.parametrize("kind", [ModuleSelector, SavedPattern, LayerPattern, SuffixPatterns])
def test_every_kind_of_pattern_has_a_clock(kind: type) -> None:
    pattern = [SLOW] if kind is SuffixPatterns else SLOW
    made = kind(pattern, PatternClock.seconds(0.05))
    look = {
        ModuleSelector: "selects",
        SavedPattern: "covers",
        LayerPattern: "layer_of",
        SuffixPatterns: "first_match",
    }[kind]
    with pytest.raises(InvalidConfig, match="too long to match"):
        getattr(made, look)("model.layers." + "a" * 60)


def test_reading_many_patterns_is_on_the_clock() -> None:
    spent = PatternClock.seconds(-1)
    with pytest.raises(InvalidConfig, match="too long to match"):
        SuffixPatterns([".*q", ".*k"], spent)
    with pytest.raises(InvalidConfig, match="too long to match"):
        ModuleSelector(".*q", spent)
    late = ModuleSelector(".*q", PatternClock.seconds(60))
    late._clock = spent
    with pytest.raises(InvalidConfig, match="too long to match"):
        late.selects("q")


def test_names_alone_need_no_clock() -> None:
    keys = [f"model.layers.{layer}.mlp.up_proj" for layer in range(5000)]
    found = SuffixPatterns(keys, PatternClock.seconds(-1))
    assert found.first_match("model.layers.4999.mlp.up_proj") == keys[-1]
    assert found.first_match("model.layers.5000.mlp.up_proj") is None


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(a", "the module pattern '(a' is not a regular expression"),
        (
            "x{99999999999999999999}",
            "the module pattern 'x{99999999999999999999}' is not a regular ",
        ),
        ("a" * 10_001, f"the module pattern '{'a' * 120}…' is too long"),
    ],
)
def test_a_pattern_that_is_refused_is_told(pattern: str, words: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        ModuleSelector(pattern, PatternClock.seconds(60))
    assert str(caught.value).startswith(words)


def test_a_pattern_may_be_as_long_as_its_bound() -> None:
    assert not ModuleSelector("a" * 10_000, PatternClock.seconds(60)).selects("a")


@pytest.mark.parametrize("kind", [ModuleSelector, SavedPattern, LayerPattern, SuffixPatterns])
def test_a_name_is_matched_up_to_its_bound_and_no_further(kind: type) -> None:
    """Of a literal and a name that are both long the matcher does not look at its clock."""
    pattern = "(?:" + "a" * 9_000 + ")"
    made = kind([pattern] if kind is SuffixPatterns else pattern, PatternClock.seconds(60))
    look = {
        ModuleSelector: "selects",
        SavedPattern: "covers",
        LayerPattern: "layer_of",
        SuffixPatterns: "first_match",
    }[kind]
    assert not getattr(made, look)("a" * 500)
    with pytest.raises(InvalidConfig) as caught:
        getattr(made, look)("a" * 501)
    assert str(caught.value) == f"the module name '{'a' * 120}…' is too long for a pattern"


def test_a_pattern_that_takes_too_long_is_told_with_what_would_work() -> None:
    selector = ModuleSelector(SLOW, PatternClock.seconds(0.05))
    with pytest.raises(InvalidConfig) as caught:
        selector.selects("model.layers." + "a" * 60)
    assert str(caught.value) == (
        f"the module pattern {SLOW!r} takes too long to match; simplify it"
    )


def test_a_clock_allows_a_second_and_never_none_at_all() -> None:
    assert 0.5 < PatternClock.seconds().remaining <= 1.0
    assert 5.5 < PatternClock.seconds(6).remaining <= 6.0
    assert 0 < PatternClock.seconds(-1).remaining < 1e-5


@pytest.mark.parametrize(
    ("key", "module", "fits"),
    [
        ("q_proj", "q_proj", True),
        ("q_proj", "model.q_proj", True),
        ("q_proj", "model.xq_proj", False),
        ("model.q_proj", "q_proj", False),
        ("0.mlp", "model.10.mlp", False),
        ("a.b", "x.acb", True),
        ("a.b", "x.a.b", True),
        ("a.b", "x.acd", False),
        ("", "x", False),
        ("", "x.", True),
    ],
)
def test_a_key_of_names_fits_what_follows_a_dot_and_its_dots_fit_anything(
    key: str, module: str, fits: bool
) -> None:
    found = SuffixPatterns([key], PatternClock.seconds(60)).first_match(module)
    assert found == (key if fits else None)
    assert fits == bool(re.match(rf"(.*\.)?({key})$", module)), "as PEFT has it"


def test_the_first_key_that_fits_counts_whatever_its_sort() -> None:
    clock = PatternClock.seconds(60)
    assert SuffixPatterns(["v", ".*q", "q"], clock).first_match("x.q") == ".*q"
    assert SuffixPatterns(["v", "q", ".*q"], clock).first_match("x.q") == "q"


def test_a_selector_of_names_selects_suffixes_and_one_of_a_regex_whole_names() -> None:
    clock = PatternClock.seconds(60)
    names = ModuleSelector(["mlp.up", "lm_head"], clock)
    assert not names.is_regex
    assert names.names("lm_head")
    assert not names.names("model.mlp.up")
    assert names.selects("model.mlp.up")
    assert names.selects("mlp.up")
    assert not names.selects("up")
    assert not names.selects("model.xmlp.up")
    regex = ModuleSelector(r".*\.up", clock)
    assert regex.is_regex
    assert regex.selects("mlp.up")
    assert not regex.selects("mlp.up.down")
    assert not regex.names(r".*\.up")


@pytest.mark.parametrize(
    ("module", "covered"),
    [
        ("lm_head", True),
        ("model.lm_head", True),
        ("model.lm_head.inner", True),
        ("model.xlm_head", False),
        ("lm_headx", False),
    ],
)
def test_a_saved_module_covers_all_below_it(module: str, covered: bool) -> None:
    assert SavedPattern("lm_head", PatternClock.seconds(60)).covers(module) is covered


@pytest.mark.parametrize(
    ("module", "number"),
    [
        ("model.layers.12.mlp", 12),
        ("layers.3.mlp.layers.4.x", 3),
        ("model.layers.mlp", None),
        ("model.xlayers.1.mlp", None),
        ("model.layers.1", None),
    ],
)
def test_a_layers_number_follows_its_pattern(module: str, number: int | None) -> None:
    assert LayerPattern("layers", PatternClock.seconds(60)).layer_of(module) == number
