"""requirements.txt: which constraints hold, what is installed, and how a refusal reads (uv 0.13's own words)."""

from __future__ import annotations

from pathlib import Path

import pytest

from skylift.runtime.requirements import (
    constraints_for,
    explain,
    image_packages,
    localised,
    logical_lines,
    missing_only,
    read,
    unreachable,
    uv_environment,
)

pytestmark = pytest.mark.unit
IMAGE = {"apache-airflow-core": "3.3.2", "requests": "2.34.2", "sqlalchemy": "2.0.57"}


def test_lines_keep_their_numbers() -> None:
    found = read("# charts\n-r more.txt\nPyGal[svg] == 3.0 # why\n\nrequests @ https://x/y.whl\n")
    assert [(one.line, one.name) for one in found] == [(3, "pygal"), (5, "requests")]
    assert found[0].text == "PyGal[svg] == 3.0"


def test_the_image_is_the_constraint() -> None:
    assert constraints_for("pygal\n", IMAGE) == "apache-airflow-core==3.3.2\nrequests==2.34.2\nsqlalchemy==2.0.57\n"


@pytest.mark.parametrize(
    "line", ["-c mine.txt", "--constraint mine.txt", "# --constraint mine.txt", "--constraint=mine.txt"]
)
def test_the_users_own_constraints_take_its_place_but_for_the_guarded(line: str) -> None:
    assert constraints_for(f"{line}\npygal\n", IMAGE) == "apache-airflow-core==3.3.2\nsqlalchemy==2.0.57\n"


def test_only_what_the_image_lacks_is_installed() -> None:
    resolved = (
        "--index-url https://x/simple\npygal==3.0.5\nrequests==2.34.2\nsqlalchemy==2.0.56\nother @ https://x/o.whl\n"
    )
    kept = "--index-url https://x/simple\npygal==3.0.5\nsqlalchemy==2.0.56\nother @ https://x/o.whl\n"
    assert missing_only(resolved, IMAGE) == kept


def test_this_python_has_packages_and_skylift_is_not_a_constraint() -> None:
    packages = image_packages()
    assert packages["apache-airflow-core"].startswith("3.")
    assert "skylift" not in packages


def test_mwaas_paths_are_found_in_options_and_in_requirements() -> None:
    text = (
        '--find-links /usr/local/airflow/plugins\n-c "${AIRFLOW_HOME}/dags/c.txt"\n'
        'x @ file:///usr/local/airflow/plugins/x.whl ; python_version > "3"\n/usr/local/airflow/dags/y.whl\n'
        "# /usr/local/airflow is MWAA's\n"
    )
    assert localised(text, Path("/w")).splitlines() == [
        "--find-links /w/plugins",
        "-c /w/dags/c.txt",
        'x @ file:///w/plugins/x.whl ; python_version > "3"',
        "/w/dags/y.whl",
        "# /usr/local/airflow is MWAA's",
    ]


NOT_FOUND = """error: No solution found when resolving dependencies
  cause: Because foo-xyz was not found in the package registry and you require foo-xyz==9.9, we can conclude that your requirements are unsatisfiable.
"""
CONFLICT = """error: No solution found when resolving dependencies
  cause: Because you require sqlalchemy>=2.1 and sqlalchemy==2.0.57, we can conclude that your requirements are unsatisfiable.
"""
UNREADABLE = """error: Couldn't parse requirement in `requirements.txt` at position 6
  cause: Expected one of `@`, `(`, `<`, found `i`
         this is not valid!!
              ^
"""
DEAD = """error: Request failed after 1 retry in 1.2s
  cause: Failed to fetch: http://me:secret@127.0.0.1:9/simple/pygal/
  cause: Connection refused (os error 111)
"""


@pytest.mark.parametrize(
    ("output", "text", "expected"),
    [
        (
            NOT_FOUND,
            "pygal\nFoo_XYZ==9.9\n",
            "line 2: Foo_XYZ==9.9: No solution found when resolving dependencies Because",
        ),
        (CONFLICT, "# x\n\nsqlalchemy>=2.1\n", "line 3: sqlalchemy>=2.1: No solution"),
        (UNREADABLE, "pygal\nthis is not valid!!\n", "line 2: Couldn't parse requirement"),
        (DEAD, "pygal\n", "the package registry cannot be reached. Check the network"),
    ],
)
def test_a_refusal_names_requirement_and_line(output: str, text: str, expected: str) -> None:
    assert explain(output, text).startswith(expected)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (DEAD, True),
        (NOT_FOUND, False),
        ("error: Failed to fetch: `https://x/a.whl`\n  Caused by: HTTP status client error (404 Not Found)", False),
        ("error: Failed to fetch: `https://x/simple/`\n  Caused by: HTTP status server error (503 Down)", True),
    ],
)
def test_a_registry_that_says_no_was_reached(output: str, expected: bool) -> None:
    assert unreachable(output) is expected


def test_a_reason_never_shows_the_registrys_password() -> None:
    assert "secret" not in explain(DEAD, "pygal\n")


def test_what_is_set_for_pip_counts_for_uv() -> None:
    ready = uv_environment(
        {"PIP_INDEX_URL": "https://x/simple", "PIP_FIND_LINKS": "/a /b", "PYTHONDONTWRITEBYTECODE": "1"}
    )
    assert ready["UV_DEFAULT_INDEX"] == "https://x/simple"
    assert ready["UV_FIND_LINKS"] == "/a,/b"
    assert "PYTHONDONTWRITEBYTECODE" not in ready
    assert (
        uv_environment({"PIP_INDEX_URL": "https://x", "UV_DEFAULT_INDEX": "https://y"})["UV_DEFAULT_INDEX"]
        == "https://y"
    )


def test_a_line_that_goes_on_in_the_next_one() -> None:
    """As pip reads it; names and numbers of lines are those of the beginning."""
    text = "# a comment \\\nrequests==2.32.0 \\\n    --hash=sha256:abc \\\n    --hash=sha256:def\n\n-c \\\n/usr/local/airflow/dags/c.txt\nattrs"
    assert [(one.line, one.name) for one in read(text)] == [(2, "requests"), (8, "attrs")]
    lines = localised(text, Path("/w")).splitlines()
    assert len(lines) == len(text.splitlines())
    assert lines[1].split() == ["requests==2.32.0", "--hash=sha256:abc", "--hash=sha256:def"]
    assert lines[5].split() == ["-c", "/w/dags/c.txt"]
    assert lines[7] == "attrs"
    assert [one.name for one in read("attrs \\")] == ["attrs"]
    assert logical_lines("requ\\\nests\nsix \\\n# a comment\n==1.0") == [
        (1, "requests"),
        (3, "six  # a comment"),
        (5, "==1.0"),
    ]
