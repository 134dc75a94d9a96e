"""A team's configuration, if Airflow has teams: the team's own values, and the common values for the rest.

Airflow's own ``conf.get`` with a team returns the default for whatever the team does not set, not the common value. A
common ``payload_url`` would then not apply to a team, and its tokens would appear in commands.
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
    """Replaces Airflow's conf, with only what the team itself sets."""

    def __init__(self, team: str) -> None:
        self.team = team

    def get(self, section: str, option: str, fallback: Any = None) -> Any:
        """Like Airflow's."""
        if not _airflow().team_sets(self.team, section, option):
            return fallback
        return _airflow().conf_of(self.team).get(section, option, fallback=fallback)

    def rules(self, section: str, option: str) -> bool:
        """Whether the team sets this option, so that the common value does not apply."""
        same = next((names for names in RIVALS if option in names), (option,))
        return any(_airflow().team_sets(self.team, section, name) for name in same)


def team_of(executor: Any) -> str | None:
    """The team of an executor, or of its conf; ``None`` if Airflow has no teams."""
    return getattr(executor, "team_name", None) or None


def variable_of(team: str, section: str, option: str) -> str:
    """The environment variable with which a team sets an option (Airflow 3.2 and 3.3)."""
    return f"AIRFLOW__{team.upper()}___{section.upper()}__{option.upper()}"


def sources_of(conf: Any) -> tuple[Any, TeamsOwn | None]:
    """The common conf, and the team's own."""
    team = team_of(conf)
    return (_airflow().conf_of(None), TeamsOwn(team)) if team else (conf, None)


def _airflow() -> Any:
    from skylift.executors import airflow_compat  # lazy: Airflow reads our declaration while it makes its conf

    return airflow_compat
