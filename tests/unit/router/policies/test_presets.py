"""Presets: policies that come along, by a bare name."""

from pathlib import Path

import pytest

from router.errors import InvalidPolicy
from router.policies.config import (
    default_policies,
    load_policies,
)


def test_loris_preset_has_the_published_weights():
    policies = load_policies(Path("lori"))
    assert policies["auto"] == default_policies()["auto"]
    weights = {
        name: set(policy.weights.values()) for name, policy in policies.items() if name != "auto"
    }
    assert weights == {"lori-d-3": {0.5}, "lori-d-4": {0.4}, "lori-s-3": {0.4}, "lori-s-4": {0.3}}
    assert [len(policies[name].weights) for name in weights] == [3, 4, 3, 4]


def test_a_file_of_a_presets_name_wins(tmp_path, monkeypatch):
    (tmp_path / "lori").write_text("policies: {mine: {kind: uniform}}")
    monkeypatch.chdir(tmp_path)
    assert list(load_policies(Path("lori"))) == ["mine"]


@pytest.mark.parametrize("name", ["nothing", "presets/lori", "lori.yaml"])
def test_only_a_bare_name_is_a_presets(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidPolicy, match="cannot be read: No such file or directory"):
        load_policies(Path(name))
