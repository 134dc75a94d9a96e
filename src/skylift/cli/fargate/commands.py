"""``skylift fargate``: the smallest Airflow on Fargate, one command up and one down."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from skylift.aws.account_calls import AccountCalls
from skylift.cli.fargate.asking import asked, plan_lines, wanted_options
from skylift.cli.fargate.following import follow_dags, follow_log
from skylift.cli.fargate.target import calls_of, explaining, my_network, named_of, target_options, words_of
from skylift.cli.terminal import YES_OPTION, Stages, agree, err, goes_on, out, print_table, seconds
from skylift.cli.words import Commands
from skylift.core.errors import Refused
from skylift.deploy.fargate import down as removing
from skylift.deploy.fargate import service, storage
from skylift.deploy.fargate import up as making
from skylift.deploy.fargate.look import AirflowSeen, inventory, look, names
from skylift.deploy.fargate.wanted import Named, check_name

NAME = click.argument("name", metavar="[NAME]", default="airflow")


@click.group(cls=Commands)
def fargate() -> None:
    """The smallest Airflow on AWS Fargate: one container on your own account, for a few cents an hour.

    All that belongs to NAME has the tag skylift:fargate=NAME, and is found by it from any machine. With --local, all
    commands work on the local cloud, with the same calls.
    """


@fargate.command()
@NAME
@click.option("--dags", type=click.Path(path_type=Path), help="Folder with DAGs, copied to S3 and read from there.")
@click.option("-f", "--follow", is_flag=True, help="Stay, and copy each changed DAG file, until Ctrl-C.")
@click.option(
    "--wait", "patience", type=click.FloatRange(0), default=900, show_default=True, help="Seconds until healthy."
)
@wanted_options
@target_options
@YES_OPTION
def up(
    name: str,
    dags: Path | None,
    follow: bool,
    patience: float,
    region: str | None,
    local: bool,
    yes: bool,
    **options: Any,
) -> None:
    """Make an Airflow, or make the one that is there equal to what is asked.

    Shows first what will be made and what it costs, and asks. Ends when Airflow itself says that it is healthy.
    """
    check_name(name)
    if follow and dags is None:
        raise click.UsageError("--follow follows a folder: give --dags, too.")
    if dags is not None and not dags.is_dir():
        raise Refused(f"--dags {dags}: there is no such folder.")
    with Stages(err()) as stages:
        calls = calls_of(region, local, stages)
    wanted = asked(calls, name, my_network(calls, options.pop("allow")), options)
    named = named_of(calls, name, region, local)
    for line in plan_lines(calls, wanted, dags):
        err().print(line, markup=False)
    agree(f"Make it in {words_of(calls)}?", yes, "Nothing was made.", costs=not local)
    removal = named.command("down")
    undone = f"What is made stays, and may cost money. To go on: the same command; to remove it: {removal}"
    with Stages(err()) as stages, goes_on(undone):
        with explaining(named):
            revision = making.make(calls, named, wanted, dags, stages)
            seen = making.await_healthy(calls, named, revision, stages, patience, time.monotonic)
        stages.done("Airflow is HEALTHY")
    _print_access(calls, named, seen, wanted.allow)
    if follow and dags is not None:
        with goes_on(f"Airflow goes on, without following {dags}. To remove it: {removal}"):
            follow_dags(calls, named, dags, err().print)


@fargate.command()
@NAME
@target_options
def ps(name: str, region: str | None, local: bool) -> int:
    """Show its health, address, age and cost so far. Exit code 0 only if it is healthy."""
    calls, named = _there(name, region, local)
    with explaining(named):
        seen = look(calls, named)
        why = making.explain(calls, named) if seen.health != "HEALTHY" else []
    print_table(out(), _table([(name, seen)]))
    for line in why:
        err().print(line, markup=False)
    return 0 if seen.health == "HEALTHY" else 1


@fargate.command(name="list")
@target_options
def list_all(region: str | None, local: bool) -> None:
    """Show every NAME of the account and region, also half-made ones."""
    calls = calls_of(region, local)
    with explaining(named_of(calls, "NAME", region, local)):
        rows = [(name, look(calls, Named(name, calls.account, calls.region))) for name in names(calls)]
    if rows:
        print_table(out(), _table(rows))
    else:
        err().print(f"There is none in {words_of(calls)}.", markup=False)


@fargate.command()
@NAME
@click.option("-f", "--follow", is_flag=True, help="Follow the log until Ctrl-C.")
@click.option("-n", "--lines", type=click.IntRange(1, 10_000), default=100, show_default=True, help="How many.")
@target_options
def logs(name: str, follow: bool, lines: int, region: str | None, local: bool) -> None:
    """Show the last lines of Airflow's components, and with --follow the next ones."""
    calls, named = _there(name, region, local)
    with goes_on(""), explaining(named):
        follow_log(calls, named, lines, follow, click.echo)


@fargate.command(name="open")
@NAME
@click.option("--password", is_flag=True, help="Print the password of the user admin, too.")
@target_options
def open_ui(name: str, password: bool, region: str | None, local: bool) -> None:
    """Print Airflow's address, and open it in a browser if this is a terminal."""
    calls, named = _there(name, region, local)
    with explaining(named):
        seen = look(calls, named)
        secret = storage.password(calls, named) if password else ""
    if not seen.address:
        raise Refused(f"{name} has no address: it is {seen.state}. See: {named.command('ps')}")
    out().print(seen.address, markup=False)
    if password:
        out().print(f"admin {secret}", markup=False)
    if out().is_terminal:
        click.launch(seen.address)


@fargate.command()
@NAME
@click.option("--keep-data", is_flag=True, help="Keep the bucket: DAGs, and Airflow's history for the next up.")
@click.option(
    "--wait",
    "patience",
    type=click.FloatRange(0),
    default=1800,
    show_default=True,
    help="Seconds to wait for what is not ours and holds the network.",
)
@target_options
@YES_OPTION
def down(name: str, keep_data: bool, patience: float, region: str | None, local: bool, yes: bool) -> None:
    """Remove all of it. Works from any machine and from any half-made point, and twice.

    Only what has the tag is removed. What of others is in the way (an ECS task, a Batch job, an instance) is named and
    waited for.
    """
    check_name(name)
    calls = calls_of(region, local)
    named = named_of(calls, name, region, local)
    with explaining(named):
        found = inventory(calls, named)
    if not found:
        err().print(f"Nothing of {name} is in {words_of(calls)}.", markup=False)
        return
    err().print(f"Of {name}, in {words_of(calls)}:", markup=False)
    for one in found:
        stays = keep_data and one == f"bucket {named.bucket}"
        err().print(f"  {one}{' (is kept)' if stays else ''}", markup=False)
    agree("Remove it?", yes, "Nothing was removed.")
    with Stages(err()) as stages, goes_on(f"Not all is removed. To go on: {named.command('down')}"):
        work = removing.Removing(calls, named, stages, time.monotonic, time.monotonic() + patience)
        with explaining(named):
            kept = removing.remove(work, keep_data=keep_data)
        for one in kept:
            stages.note(f"kept: {one}")
        stages.done("nothing else of it is left" if kept else "nothing of it is left")


def _there(name: str, region: str | None, local: bool) -> tuple[AccountCalls, Named]:
    """The account, and the names of NAME. Raises ``Refused`` if nothing of it is there."""
    check_name(name)
    calls = calls_of(region, local)
    named = named_of(calls, name, region, local)
    with explaining(named):
        found = service.find_service(calls, named) is not None or inventory(calls, named)
    if not found:
        listed = f"skylift fargate list {named.typed}".rstrip()
        raise Refused(f"There is no {name} in {words_of(calls)}. See: {listed}")
    return calls, named


def _table(rows: list[tuple[str, AirflowSeen]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("NAME", "HEALTH", "STATE", "ADDRESS", "AGE", "COST", "TASK"):
        table.add_column(column)
    for name, seen in rows:
        age = seconds(seen.seconds) if seen.seconds else ""
        table.add_row(name, seen.health or "-", seen.state, seen.address or "-", age, seen.cost, seen.task)
    return table


def _print_access(calls: AccountCalls, named: Named, seen: AirflowSeen, allow: str) -> None:
    console = out()
    console.print(f"Airflow   {seen.address}", markup=False)
    console.print(f"user      admin, password: {named.command('open')} --password", markup=False)
    console.print(f"health    {named.command('ps')}", markup=False)
    console.print(f"log       {named.command('logs')} -f", markup=False)
    console.print(f"remove    {named.command('down')}", markup=False)
    if calls.real:
        err().print(f"The address is plain HTTP, open to {allow} only.", markup=False)
