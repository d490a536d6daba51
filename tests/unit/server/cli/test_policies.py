"""``loralloy policies`` against a server: what is sent, and what is printed of the answer."""

import json

from tests.support.scripted_server import refuses, says, scripted
from tests.unit.server.cli.test_command import loralloy

FILE = """
policies:
  auto: {kind: nearest}
  blend: {kind: softmax, temperature: 0.2, candidates: {exclude: [code]}, window: tail}
"""
POLICY = {"id": "blend", "kind": "softmax", "version": "1a2b3c4d5e6f"}


def test_one_policy_of_a_file_is_sent(tmp_path):
    file = tmp_path / "policies.yaml"
    file.write_text(FILE)
    with scripted(says(POLICY)) as server:
        done = loralloy(
            *("policies", "put", "blend", str(file), "--expect", "0123456789ab"),
            *("--url", server.url, "--api-key", "sesame"),
        )
    assert (done.returncode, done.stdout) == (0, "blend: kind softmax, version 1a2b3c4d5e6f\n")
    ((method, path, headers, body),) = server.seen
    assert (method, path) == ("PUT", "/v1/policies/blend")
    assert (headers["If-Match"], headers["Authorization"]) == ('"0123456789ab"', "Bearer sesame")
    assert json.loads(body) == {
        "kind": "softmax",
        "temperature": 0.2,
        "candidates": {"exclude": ["code"]},
        "window": {"part": "tail"},
    }


def test_faults_are_told_before_anything_is_sent(tmp_path):
    file = tmp_path / "policies.yaml"
    file.write_text("policies:\n  blend: {kind: softmax, topk: 2}\n")
    with scripted(says(POLICY)) as server:
        wrong = loralloy("policies", "put", "blend", str(file), "--url", server.url)
        file.write_text(FILE)
        missing = loralloy("policies", "put", "blond", str(file), "--url", server.url)
    assert "line 2: policies.blend.topk" in wrong.stderr
    assert missing.stderr.startswith("error: ")
    assert "no policy 'blond'; it has auto, blend" in missing.stderr
    assert (wrong.returncode, missing.returncode, server.seen) == (1, 1, [])


def test_what_is_there_is_listed_and_shown():
    listed = {"data": [{**POLICY, "source": "api", "description": None}]}
    with scripted(says(listed), says(POLICY)) as server:
        table = loralloy("policies", "list", "--url", server.url).stdout
        shown = loralloy("policies", "show", "blend", "--url", server.url).stdout
        loralloy("policies", "show", "blend", "--versions", "--url", server.url)
    assert ["blend", "softmax", "1a2b3c4d5e6f", "api"] in [
        row.split() for row in table.splitlines()
    ]
    assert json.loads(shown) == POLICY
    assert [path for _, path, _, _ in server.seen[1:]] == [
        "/v1/policies/blend",
        "/v1/policies/blend/versions",
    ]


def test_a_removal_says_what_counts_again():
    answers = ({"file_version": None}, {"file_version": "aabbccddeeff"})
    with scripted(*map(says, answers), refuses(409, "policy_not_removable")) as server:
        done = [loralloy("policies", "remove", "blend", "--url", server.url) for _ in range(3)]
    assert done[0].stdout == "blend: removed\n"
    assert done[1].stdout == "blend: removed; the file's counts again, version aabbccddeeff\n"
    assert (done[2].returncode, done[2].stderr) == (1, "error: no (policy_not_removable)\n")
    assert {method for method, *_ in server.seen} == {"DELETE"}
