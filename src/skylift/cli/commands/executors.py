"""``skylift executors``: about the executors of an Airflow of your own."""

from __future__ import annotations

import click

from skylift.executors import check as checking


@click.group()
def executors() -> None:
    """The executors of an Airflow of your own."""


@executors.command()
@click.pass_context
def check(context: click.Context) -> None:
    """Is this Airflow ready for skylift's executors, and who takes over what runs?

    Run it where Airflow's scheduler runs, with the scheduler's environment, before and after a change of [core]
    executor. It reads Airflow's configuration and database and asks AWS what the executors ask when they start; it
    changes nothing.
    The same: python -m skylift.executors.check
    """
    context.exit(checking.main())
