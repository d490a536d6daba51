"""Loading and unloading in vLLM's words, without an engine."""

import asyncio

import httpx

from tests.unit.server.sources.conftest import CONFIG, WEIGHTS


def test_vllms_words_load_and_unload(served, tmp_path, good_folder, other_folder):
    root = tmp_path / "root"
    root.mkdir()
    (root / "good").mkdir()
    for name in (CONFIG, WEIGHTS):
        (root / "good" / name).write_bytes((good_folder / name).read_bytes())
    (root / "out").symlink_to(other_folder)
    made = served(file=root)

    async def run() -> None:
        async with made.running() as http:

            async def load(path: object, **more: object) -> httpx.Response:
                body = {"lora_name": "sql", "lora_path": str(path), **more}
                return await http.post("/v1/load_lora_adapter", json=body)

            for path in (root / "good", "good"):
                answer = await load(path)
                assert (answer.status_code, answer.text) == (
                    200,
                    "Success: LoRA adapter 'sql' added successfully.",
                )
                assert answer.headers["content-type"].startswith("text/plain")
            assert "sql" in made.catalogue.names.adapters
            assert (await load("good", load_inplace=True)).status_code == 200
            for path in (
                "/etc",
                "../root-2",
                "out",
                "",
                "a\x00b",
                "org/repo",
                "hf://org/repo@main",
            ):
                refused = await load(path)
                error = refused.json()["error"]
                assert error["param"] == "lora_path", path
                assert error["code"] in {
                    "source_not_allowed",
                    "source_invalid",
                    "source_not_found",
                }, path
                assert str(root) not in refused.text
            three = await load("good", is_3d_lora_weight=True)
            assert three.json()["error"]["code"] == "unsupported_parameter"
            gone = await http.post(
                "/v1/unload_lora_adapter", json={"lora_name": "sql", "lora_int_id": 1}
            )
            assert gone.text == "Success: LoRA adapter 'sql' removed successfully."
            missing = await http.post("/v1/unload_lora_adapter", json={"lora_name": "sql"})
            assert (missing.status_code, missing.json()["error"]["code"]) == (
                404,
                "adapter_not_found",
            )

    asyncio.run(run())
    assert ("adapter.add", "sql", "done") in made.audited()
    assert made.audited()[-1] == ("adapter.remove", "sql", "adapter_not_found")


def test_vllms_words_are_off_without_a_folder(served):
    async def run() -> None:
        async with served().running() as http:
            for path, body in (
                ("load", {"lora_name": "x", "lora_path": "/tmp"}),
                ("unload", {"lora_name": "x"}),
            ):
                refused = await http.post(f"/v1/{path}_lora_adapter", json=body)
                assert refused.json()["error"]["code"] == "source_not_allowed"

    asyncio.run(run())
