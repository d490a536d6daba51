"""examples/lori, as printed, at smoke sizes against a real server: from data to a served merge."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.running_server import RunningServer

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "lori"
BLOCKS = re.findall(
    r"^```bash\n(.*?)^```$", (EXAMPLE / "README.md").read_text(), re.MULTILINE | re.DOTALL
)


@pytest.mark.timeout(1200)
def test_five_commands_lead_from_data_to_a_served_merge(
    server: RunningServer, tmp_path: Path
) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    programs = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "LORALLOY_URL": server.url,
        "LORALLOY_BASE_MODEL": str(server.base_folder),
        "STEPS": "2",
    }
    assert len(BLOCKS) == 6, "five commands, and a question"
    said = ""
    try:
        for block in BLOCKS:
            done = subprocess.run(
                ["bash", "-ec", block.replace("http://127.0.0.1:8000", server.url)],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
            said = done.stdout
        assert json.loads(said)["mixture"]["adapters"] == {"merged": 1.0}
    finally:
        httpx.delete(f"{server.url}/v1/adapters/merged", timeout=60)
