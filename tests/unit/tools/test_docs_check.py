"""The documentation check finds what it says it finds."""

import subprocess

import pytest

from tools import docs_check


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """An empty repository, in which ``add`` tracks a file."""
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)

    def add(name, text):
        (tmp_path / name).write_text(text)
        subprocess.run(["git", "add", name], check=True)

    return add


def test_links_that_lead_somewhere_pass(checkout, capsys):
    checkout(
        "a.md", "# One `thing`, two\n\n[b](b.md#its-end) [here](#one-thing-two) [x](http://a.b)\n"
    )
    checkout("b.md", "# Its end\n\n```\n[no link](none.md)\n```\n")
    assert docs_check.main() == 0
    assert "2 files" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("see\n[a](none.md)\n", "a.md:2: link to a file that does not exist: none.md"),
        ("[a](#none)\n", "a.md:1: link to an anchor that does not exist: #none"),
        ("blank \n", "a.md:1: blanks at the end of the line"),
        ("one\n`b/none.py`\n", "a.md:2: no file or folder of this name: b/none.py"),
        ("`tests/none/`\n", "a.md:1: no file or folder of this name: tests/none/"),
        (
            "```mermaid\nx[a.md]\na[server/none<br>x]\n```\n",
            "a.md:3: no file or folder of this name: server/none",
        ),
        ("in /" + "tmp/folder\n", "a.md:1: machine path"),
        ("from py" + "pi.org\n", "a.md:1: machine path or registry address"),
    ],
)
def test_faults_are_told_with_their_line(checkout, capsys, text, fault):
    checkout("a.md", text)
    assert docs_check.main() == 1
    assert fault in capsys.readouterr().out


def test_a_file_may_be_named_by_the_end_of_its_path(checkout, capsys, tmp_path):
    (tmp_path / "server" / "edge").mkdir(parents=True)
    checkout("server/edge/guard.py", "")
    checkout(
        "a.md",
        "`server/edge/guard.py`, `edge/guard.py`, `user/folder/`\n\n```\n`not/looked/at.py`\n```\n",
    )
    assert docs_check.main() == 0
    checkout("b.md", "`dge/guard.py`\n")
    assert docs_check.main() == 1


def test_a_drawing_may_leave_a_files_ending_out(checkout, capsys, tmp_path):
    (tmp_path / "server" / "edge").mkdir(parents=True)
    checkout("server/edge/guard.py", "")
    drawn = "a[server/edge<br>x] --> b[server/edge/guard<br>y]\nb --> c[server/] --> d([client])"
    checkout("a.md", f"```mermaid\n{drawn}\n```\n")
    assert docs_check.main() == 0
    checkout("b.md", "```mermaid\na[server/edg]\n```\n")
    assert docs_check.main() == 1


def test_a_long_readme_is_a_fault(checkout, capsys):
    checkout("README.md", "line\n" * 201)
    assert docs_check.main() == 1
    assert "README.md:201: longer than 200 lines" in capsys.readouterr().out
    checkout("README.md", "line\n" * 200 + "<!-- figures\nsettings: 1\n-->\n")
    assert docs_check.main() == 0
