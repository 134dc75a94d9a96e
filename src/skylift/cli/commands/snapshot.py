"""``skylift snapshot``, ``snapshots``, ``restore`` and ``clone``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.table import Table

from skylift.cli import account, environments
from skylift.cli.completion import complete_environment
from skylift.cli.connection import Connection
from skylift.cli.interrupting import running_work
from skylift.cli.naming import NAME, opened
from skylift.cli.projects import buckets
from skylift.cli.projects.project import Project, open_project
from skylift.cli.snapshots import store, taking
from skylift.cli.snapshots.putting_back import clone as make_clone
from skylift.cli.snapshots.putting_back import restore as put_back
from skylift.cli.terminal import YES_OPTION, Stages, agree, err, goes_on, out, print_table

KILOBYTE = 1000


@click.command()
@NAME
@click.option("--keep", type=click.IntRange(1), help="Keep the newest so many, this one included; delete older ones.")
def snapshot(name: str | None, keep: int | None) -> None:
    """Take a snapshot of the environment NAME (default: this folder's, else the only one), while it runs.

    It has all rows of Airflow's database as they were at one moment, the configuration, and the versions of the DAG
    files. It is in the environment's bucket, below snapshots/.

    \b
      skylift snapshot demo --keep 7
    """
    here, found = opened(name, environments.USABLE)
    s3 = here.client("s3")
    with Stages(err()) as stages:
        made = take(here, found, stages)
        for gone in taking.keep_newest(s3, found, keep) if keep else []:
            stages.done(f"snapshot {gone} deleted")
    click.echo(made)


def take(here: Connection, found: dict[str, Any], stages: Stages) -> str:
    """Takes a snapshot; returns its id."""
    made, told = taking.take(here, found, stages.now)
    stages.done(f"{told}, as {made}")
    return made


@click.command()
@NAME
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def snapshots(name: str | None, as_json: bool) -> None:
    """List the snapshots of the environment NAME (default: this folder's, else the only one)."""
    here, found = opened(name, environments.USABLE)
    rows = store.listed(here.client("s3"), found)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in rows], indent=2))
    elif rows:
        shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
        for column in ("id", "rows", "kB"):
            shown.add_column(column, justify="left" if column == "id" else "right", no_wrap=True)
        for one in rows:
            shown.add_row(one.id, str(one.rows), str(one.size // KILOBYTE))
        print_table(out(), shown)
    else:
        err().print(f"There is no snapshot of {found['Name']}.", markup=False)


@click.command()
@click.argument("name", shell_complete=complete_environment)
@click.argument("snapshot_id", metavar="[SNAPSHOT]", required=False)
@YES_OPTION
def restore(name: str, snapshot_id: str | None, yes: bool) -> None:
    """Make the environment NAME as it was in SNAPSHOT (default: the newest): rows, configuration, DAG files.

    What happened since is lost; take a snapshot first if you want it. The environment is stopped meanwhile. If the
    command is interrupted, it stays stopped, with all old rows or all new ones: skylift start.
    """
    here, found = opened(name, environments.USABLE)
    chosen = store.the_snapshot(here.client("s3"), found, snapshot_id)
    for line in running_work(here.client("ecs"), name):
        err().print(f"This fails unless it ends soon: {line}.", markup=False)
    agree(f"Replace all of {name} by its snapshot {chosen.id}?", yes, "Nothing was changed.")
    with Stages(err()) as stages, goes_on(f"{name} may be stopped now. To start it: skylift start {name}"):
        put_back(here, found, chosen, stages)
        stages.done(f"environment {name} is as it was in {chosen.id}")
    if name in buckets.followed(here.home):
        folder = buckets.followed(here.home)[name].project.folder
        err().print(f"[yellow]![/] The folder {folder} stays as it is; its files go into the bucket with skylift up.")


@click.command()
@click.argument("name", shell_complete=complete_environment)
@click.argument("new")
@click.option("--snapshot", "snapshot_id", metavar="ID", help="Of this snapshot; default: of one that is taken now.")
@click.option("--project", "folder", type=click.Path(path_type=Path), help="With the files of this folder.")
def clone(name: str, new: str, snapshot_id: str | None, folder: Path | None) -> None:
    """Make the environment NEW from NAME: with a database of its own, all its rows, and all DAGs paused.

    Its variables and connections are copies; with --project, its files are another folder's, as of a branch. To end it:
    skylift env delete.

    \b
      skylift clone demo preview --project ../branch
    """
    here, found = opened(name, environments.USABLE)
    project = open_project(folder, new) if folder else Project(Path(), new)
    environments.refuse_existing(here.client("mwaa"), project)
    s3 = here.client("s3")
    with Stages(err()) as stages, goes_on(f"To give up what there is of it: skylift env delete {new}"):
        if folder:
            account.ensure_bucket(s3, project.bucket)
            buckets.sync(s3, here.home, project)
        chosen = store.the_snapshot(s3, found, snapshot_id or take(here, found, stages))
        make_clone(here, found, chosen, project, folder is not None, stages)
        stages.done(f"environment {new} has all rows of {name}; its DAGs are paused. Its UI: skylift env open {new}")
