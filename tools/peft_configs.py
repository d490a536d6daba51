"""Writes down what each version of PEFT saves for a LoRA with nothing set.

    python -m pip download --no-deps -d wheels peft==0.5.0      # and so on, for each version
    python -m tools.peft_configs wheels tests/support/peft_configs

The wheels are read as archives and their code as syntax: nothing of them is installed or run. For
each version one JSON file is written:

    peft                 the version
    safe_serialization   whether weights are saved as safetensors unless told otherwise
    config               adapter_config.json of a ``LoraConfig`` whose fields have their defaults
"""

import ast
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

_CONFIGS: Final = ("peft/tuners/lora/config.py", "peft/tuners/lora.py")
_BASE: Final = "peft/config.py"
_MODEL: Final = "peft/peft_model.py"


class UnreadableWheel(Exception):
    """The code is not written as in the versions that this was made for."""


def main(wheels: Path, folder: Path) -> None:
    """Read every wheel of a folder, and write what it saves into another one."""
    folder.mkdir(parents=True, exist_ok=True)
    for wheel in sorted(wheels.glob("peft-*.whl")):
        version = wheel.name.split("-")[1]
        with zipfile.ZipFile(wheel) as archive:
            saved = {"peft": version, **saved_by(archive, version)}
        path = folder / f"{version}.json"
        path.write_text(json.dumps(saved, indent=1, sort_keys=True) + "\n")
        print(f"{path}: {len(saved['config'])} keys")


def saved_by(archive: zipfile.ZipFile, version: str) -> dict[str, Any]:
    """How a version saves weights, and the config that it saves with them."""
    names = set(archive.namelist())
    lora = next(name for name in _CONFIGS if name in names)
    classes = {
        found.name: found
        for name in (_BASE, lora)
        for found in ast.walk(ast.parse(archive.read(name)))
        if isinstance(found, ast.ClassDef)
    }
    config = _defaults("LoraConfig", classes)
    for removed in _removed(classes["LoraConfig"]):
        del config[removed]
    config["peft_type"] = "LORA"
    if "peft_version" in config:
        config["peft_version"] = version
    return {"safe_serialization": _is_safe(archive.read(_MODEL)), "config": config}


def _defaults(name: str, classes: dict[str, ast.ClassDef]) -> dict[str, Any]:
    """Field → default of a dataclass, those of its ancestors first."""
    found = classes[name]
    fields: dict[str, Any] = {}
    for base in found.bases:
        if isinstance(base, ast.Name) and base.id in classes:
            fields |= _defaults(base.id, classes)
    for statement in found.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            fields[statement.target.id] = _default(statement.value, classes)
    return fields


def _default(value: ast.expr | None, classes: dict[str, ast.ClassDef]) -> Any:  # noqa: ANN401
    if not isinstance(value, ast.Call):
        return None if value is None else ast.literal_eval(value)
    given = {keyword.arg: keyword.value for keyword in value.keywords}
    if "default" in given:
        return ast.literal_eval(given["default"])
    factory = given["default_factory"]
    if not isinstance(factory, ast.Name):
        raise UnreadableWheel(f"line {factory.lineno}: a default that is neither plain nor named")
    if factory.id in classes:
        return _defaults(factory.id, classes)
    return {"dict": {}, "list": []}[factory.id]


def _removed(config: ast.ClassDef) -> Iterator[str]:
    """What ``to_dict`` leaves out of the file."""
    for call in ast.walk(config):
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and call.func.attr == "pop"
        ):
            yield ast.literal_eval(call.args[0])


def _is_safe(model: bytes) -> bool:
    """The default of ``safe_serialization`` when a model is saved."""
    for found in ast.walk(ast.parse(model)):
        if isinstance(found, ast.FunctionDef) and found.name == "save_pretrained":
            arguments = found.args.args[-len(found.args.defaults) :]
            for argument, default in zip(arguments, found.args.defaults, strict=True):
                if argument.arg == "safe_serialization":
                    return bool(ast.literal_eval(default))
    raise UnreadableWheel("save_pretrained has no argument safe_serialization")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
