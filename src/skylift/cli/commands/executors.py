"""``skylift executors``: about the executors of an Airflow of your own."""

from __future__ import annotations

import click

from skylift.executors import check as checking


@click.group()
def executors() -> None:
    """Check the executors in your own Airflow."""


@executors.command()
@click.pass_context
def check(context: click.Context) -> None:
    """Check whether this Airflow is ready for skylift's executors, and who will adopt running work.

    Run it where Airflow's scheduler runs, with the scheduler's environment, before and after you change [core]
    executor. It reads Airflow's configuration and database, and asks AWS what the executors ask when they start. It
    changes nothing.
    python -m skylift.executors.check does the same.
    """
    context.exit(checking.main())
