"""Makes orders from Airflow's workloads and from task instances of a dead scheduler, and asks Airflow's database."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from skylift.core.errors import Broken, Unavailable
from skylift.executors import airflow_compat
from skylift.executors.fleet.flight import AirflowState, Order
from skylift.executors.fleet.settle import WorkloadKind


def order_of(workload: Any, generator: Callable[[], Any]) -> Order:
    """The order for one of Airflow's workloads. Raises ``Broken`` for a kind that we do not run."""
    kind = airflow_compat.kind_of(workload)
    if kind is None:
        raise Broken(f"{type(workload).__name__} is not supported")
    return Order(
        key=airflow_compat.key_of(workload),
        kind=kind,
        external_id=airflow_compat.external_id_of(workload),
        document=airflow_compat.document_of(workload, generator),
        executor_config=airflow_compat.executor_config_of(workload),
        labels=airflow_compat.labels_of(workload),
        queue=airflow_compat.queue_of(workload),
        log_path=airflow_compat.log_path_of(workload),
        subject=airflow_compat.subject_of(workload) if kind is WorkloadKind.TASK else "",
        # The ids of these are not new for each launch: a dead scheduler may have submitted them.
        adopted=kind is not WorkloadKind.TASK,
    )


def adopted(ti: Any, generator: Callable[[], Any], *, foreign: bool) -> Order:
    """The order to continue a task instance that another scheduler had queued. Reads the database (its session is
    open).

    Args:
        ti: Airflow's row, with an ``external_executor_id``.
        generator: gives the executor's ``jwt_generator``.
        foreign: the amazon provider's executor launched it: we watch its container, but never repeat it.

    Raises:
        Exception: whatever Airflow raises for a queued one that can no longer be described (its DAG is gone).
    """
    began = foreign or not airflow_compat.is_queued(ti)
    try:
        order = order_of(airflow_compat.workload_of(ti, generator()), generator)
    except (AttributeError, LookupError, ValueError):
        if not began:
            raise
        # It runs, and seeing its end needs no DAG.
        order = _watched(ti)
    known = ti.external_executor_id if foreign else ""
    return replace(order, external_id=ti.external_executor_id, ref=known, began=began, repeat=not foreign, adopted=True)


def orphan(ti: Any) -> Order:
    """An order only to find and stop the container. It has its own key, because Airflow launches ``ti``
    again."""
    return replace(_watched(ti), key=("orphan", ti.external_executor_id), adopted=True)


def stand_in(workload: Any) -> Order:
    """The order under which a workload fails if no real order can be made for it."""
    return Order(
        key=airflow_compat.key_of(workload),
        kind=airflow_compat.kind_of(workload) or WorkloadKind.TASK,
        external_id="",
        document=str,
        log_path=airflow_compat.log_path_of(workload),
    )


class AirflowDatabase(AirflowState):
    """Asks Airflow's own database. For worker threads."""

    def wanted(self, orders: Sequence[Order]) -> Collection[str]:
        try:
            return airflow_compat.still_wanted({order.subject: order.external_id for order in orders})
        except SQLAlchemyError as error:
            # Its text contains the whole query with all its parameters.
            raise Unavailable(f"{type(error).__name__}: {getattr(error, 'orig', None) or 'no connection'}") from error


def _watched(ti: Any) -> Order:
    return Order(
        key=getattr(ti, "key", None),
        kind=WorkloadKind.TASK,
        external_id=ti.external_executor_id,
        document=str,
        executor_config=getattr(ti, "executor_config", None) or {},
        labels={name: str(getattr(ti, name, "")) for name in airflow_compat.LABELS},
        queue=str(getattr(ti, "queue", None) or ""),
        subject=str(getattr(ti, "id", "")),
        began=True,
        repeat=False,
    )
