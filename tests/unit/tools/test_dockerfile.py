"""Dockerfiles and .dockerignore are read as an engine reads them."""

import pytest

from tools import dockerfile
from tools.dockerfile import Context, UnknownInstruction, expand, lineage

TEXT = """\
# a comment
FROM debian:12.1-slim AS base
SHELL ["/bin/bash", "-c"]
ENV A=1 \\
    B="two words"

FROM base
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \\
    # a comment between
    echo "$A" \\
    && true
COPY --from=base --chown=1:2 /a /b
HEALTHCHECK --timeout=5s CMD ["true"]
"""


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "Dockerfile"
        path.write_text(text)
        return dockerfile.read(path)

    return read


def test_stages_build_on_each_other(read):
    stages = read(TEXT)
    assert [(stage.base, stage.name) for stage in stages] == [
        ("debian:12.1-slim", "base"),
        ("base", "1"),
    ]
    assert [stage.name for stage in lineage(stages, stages[1])] == ["base", "1"]


def test_lines_are_joined_and_flags_told_apart(read):
    base, final = read(TEXT)
    run, copy, health = final.instructions
    assert (run.line, run.flags) == (8, (("mount", "type=secret,id=pip,target=/etc/pip.conf"),))
    assert run.text.split() == ["echo", '"$A"', "&&", "true"]
    assert dict(copy.flags) == {"from": "base", "chown": "1:2"}
    assert copy.items() == ["/a", "/b"]
    assert health.text == 'CMD ["true"]'
    assert base.instructions[0].items() == ["/bin/bash", "-c"]
    assert base.all("ENV")[0].pairs() == {"A": "1", "B": "two words"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("FROM a\nADD b c\n", "line 2: ADD"),
        ("FROM a\nRUN <<END\n", "line 2: RUN"),
        ("RUN true\n", "RUN before FROM"),
        ("FROM a\nRUN true \\\n", "line 2: it has no end"),
    ],
)
def test_what_is_not_read_is_an_error(read, text, said):
    with pytest.raises(UnknownInstruction, match=said):
        read(text)


def test_variables_are_put_in():
    assert expand("/a:$B:${C}x:$D", {"B": "b", "C": "c"}) == "/a:b:cx:"


@pytest.fixture
def context(tmp_path):
    (tmp_path / ".dockerignore").write_text("# all\n*\n!server\n!docs/a.md\n**/*.pyc\n")
    for name in ("server/x.py", "server/in/y.pyc", "docs/a.md", "docs/b.md", "keys"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    return Context(tmp_path)


@pytest.mark.parametrize(
    ("path", "admitted"),
    [
        ("server/x.py", True),
        ("server/in/y.pyc", False),
        ("docs/a.md", True),
        ("docs/b.md", False),
        ("keys", False),
    ],
)
def test_the_last_rule_that_fits_wins(context, path, admitted):
    assert context.admits(path) is admitted


def test_a_folder_is_copied_as_far_as_it_is_admitted(context):
    assert context.files("server") == ["server/x.py"]
    assert context.files("docs") == ["docs/a.md"]
    assert context.files("none") == []
