"""What ``skylift check`` tells and remembers, and what ``skylift init`` writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from skylift.cli import new_project
from skylift.cli.checking.check import CheckResult, together
from skylift.cli.checking.known import Digests, KnownResults, files_of
from skylift.cli.commands.check import github, summary, text
from skylift.cli.home import Home
from skylift.cli.main import run
from skylift.cli.projects.project import Project, open_project
from skylift.core.errors import Refused
from skylift.runtime.parsing.one_file import line_of
from skylift.runtime.parsing.request import ParsedFile, ReadDag, Remark

pytestmark = pytest.mark.unit
WRONG = Remark("dags/a.py", 3, 7, "import", "KeyError: 'a,b: 100%\n'")
ODD = Remark("dags/b.py", 0, 0, "deprecated", "do not", error=False)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo" / "dags").mkdir(parents=True)
    for name in ("a", "b", "c"):
        (tmp_path / "demo" / "dags" / f"{name}.py").write_text(f"# {name}\n")
    (tmp_path / "demo" / "dags" / "c.yaml").write_text("1")
    return open_project(tmp_path / "demo")


def test_a_remark_is_one_line_that_editors_and_github_understand(project: Project) -> None:
    assert list(text([WRONG, ODD], project)) == [
        "demo/dags/a.py:3:7: error: KeyError: 'a,b: 100%\n' [import]",
        "demo/dags/b.py: warning: do not [deprecated]",
    ]
    assert list(github([WRONG, ODD], project)) == [
        "::error file=demo/dags/a.py,line=3,col=7,title=import::KeyError: 'a,b: 100%25%0A'",
        "::warning file=demo/dags/b.py,title=deprecated::do not",
    ]
    result = CheckResult((("dags/a.py", ReadDag("a", 1, 2)),), (WRONG, ODD), 3, 1, 0.5)
    assert summary(result) == "1 DAG in 3 files, 1 error, 1 warning (1 read in 0.5 s)"


def test_secrets_in_an_exception_are_hidden(project: Project) -> None:
    wrong = Remark("dags/a.py", 1, 0, "import", "no answer from postgres://me:hunter2@db/x")
    assert "hunter2" not in "".join([*text([wrong], project), *github([wrong], project)])


def test_an_id_that_two_files_have_is_told_at_both() -> None:
    results = {name: ParsedFile(name, dags=(ReadDag("same", line, 1),)) for name, line in (("x.py", 4), ("y.py", 9))}
    results["z.py"] = ParsedFile("z.py", dags=(ReadDag("other", 1, 1),))
    found = together(results)
    assert [(one.file, one.line, one.code) for one in found] == [
        ("x.py", 4, "duplicate-id"),
        ("y.py", 9, "duplicate-id"),
    ]
    assert "y.py" in found[0].text


def test_a_result_holds_until_something_that_it_depends_on_changes(project: Project, tmp_path: Path) -> None:
    known = KnownResults(Home(tmp_path / "home"), project, "python")
    results = {
        "dags/a.py": ParsedFile("dags/a.py", dags=(ReadDag("a", 1, 1, {"db": 2}),)),
        "dags/b.py": ParsedFile("dags/b.py", remarks=(WRONG,)),
        "dags/c.py": ParsedFile("dags/c.py", read=("dags/c.yaml",), listed=("dags/more",)),
    }
    known.write(results, files_of(project), Digests(project))

    def still() -> set[str]:
        return {one[5:6] for one in known.read(files_of(project), Digests(project))}

    assert known.read(files_of(project), Digests(project)) == results
    (project.folder / "dags" / "a.py").write_text("# changed\n")
    assert still() == {"c"}, "what had an error is read again after any change"
    (project.folder / "dags" / "more").mkdir()
    assert still() == set()
    (project.folder / "dags" / "more").rmdir()
    (project.folder / "dags" / "a.py").write_text("# a\n")
    assert still() == {"a", "b", "c"}
    (project.folder / "dags" / "c.yaml").write_text("2")
    assert still() == {"a"}
    (project.folder / "dags" / ".airflowignore").write_text("x")
    assert still() == set()
    assert KnownResults(Home(tmp_path / "home"), project, "other").read(files_of(project), Digests(project)) == {}


def test_what_is_remembered_may_be_broken(project: Project, tmp_path: Path) -> None:
    known = KnownResults(Home(tmp_path / "home"), project, "python")
    known.write({}, files_of(project), Digests(project))
    file = next((tmp_path / "home" / "cache" / "check").glob("*.json"))
    for content in ("", "{}", '{"identity": 1}', "[]"):
        file.write_text(content)
        assert known.read(files_of(project), Digests(project)) == {}


def test_a_word_is_found_as_a_whole() -> None:
    assert line_of("x = my_dag\ny = 'dag'\n", "dag") == 2
    assert line_of("nothing", "dag") == 0


def test_a_new_project_has_what_its_readme_says(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["init", str(tmp_path / "my demo")]) == 0
    shown = capfd.readouterr().out
    folder = tmp_path / "my demo"
    assert {"dags/daily_sales.py", ".gitignore", ".vscode/tasks.json", "tests/test_daily_sales.py"} <= set(
        shown.split("\n")
    )
    assert f"cd '{folder}' && " in shown
    assert "skylift env open my-demo" in (folder / "README.md").read_text()
    assert not [path for path in folder.rglob("*") if path.suffix == ".in" or "__NAME__" in path.name]
    assert open_project(folder).name == "my-demo"
    for path in (folder / ".vscode").iterdir():
        json.loads(path.read_text())


def test_init_replaces_nothing(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    written = new_project.make(tmp_path, "demo")
    assert "README.md" not in written
    assert (tmp_path / "README.md").read_text() == "mine"
    with pytest.raises(Refused, match=r"dags, requirements\.txt, skylift\.toml already"):
        new_project.make(tmp_path, "demo")


@pytest.mark.parametrize("name", ["1st", "a b", "x" * 56, "ends-"])
def test_init_refuses_a_name_that_no_environment_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused, match="--name"):
        new_project.make(tmp_path / "demo", name)
    assert not (tmp_path / "demo").exists()
