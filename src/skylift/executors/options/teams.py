"""A team's configuration, where Airflow has teams: what the team sets itself, and everybody's values for the rest.

Airflow's own ``conf.get`` with a team gives the default for whatever the team does not set, not everybody's value: a
``payload_url`` that everybody has set would not hold for a team, and its tokens would stand in commands.
"""

from __future__ import annotations

from typing import Any

RIVALS = (
    ("launch_type", "capacity_provider_strategy"),
    ("conn_id", "aws_conn_id"),
    ("region_name", "region"),
)
"""Options of which one stands for all: a team that sets one of them gets none of everybody's others."""


class TeamsOwn:
    """Stands where Airflow's conf would, and has only what the team sets itself."""

    def __init__(self, team: str) -> None:
        self.team = team

    def get(self, section: str, option: str, fallback: Any = None) -> Any:
        """As Airflow's."""
        if not _airflow().team_sets(self.team, section, option):
            return fallback
        return _airflow().conf_of(self.team).get(section, option, fallback=fallback)

    def rules(self, section: str, option: str) -> bool:
        """Whether the team decides about this option, so that everybody's value does not hold."""
        same = next((names for names in RIVALS if option in names), (option,))
        return any(_airflow().team_sets(self.team, section, name) for name in same)


def team_of(executor: Any) -> str | None:
    """The team that an executor, or its conf, is for; ``None`` where Airflow has no teams."""
    return getattr(executor, "team_name", None) or None


def variable_of(team: str, section: str, option: str) -> str:
    """The environment variable with which a team sets an option (Airflow 3.2 and 3.3)."""
    return f"AIRFLOW__{team.upper()}___{section.upper()}__{option.upper()}"


def sources_of(conf: Any) -> tuple[Any, TeamsOwn | None]:
    """Everybody's conf, and the team's own."""
    team = team_of(conf)
    return (_airflow().conf_of(None), TeamsOwn(team)) if team else (conf, None)


def _airflow() -> Any:
    from skylift.executors import airflow_compat  # lazy: Airflow reads our declaration while it makes its conf

    return airflow_compat
