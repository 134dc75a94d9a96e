"""Any JSON at any place of ``executor_config`` and of the options: a valid request, or one line of advice."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from hypothesis import HealthCheck, given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from tests.unit.executor_airflow import Conf, batch_conf, ecs_conf

from skylift.aws.shapes import mistakes
from skylift.core.attempt import Attempt
from skylift.core.errors import Refused
from skylift.executors.executor_config.batch_request import check_executor_config, job_name, submit_request
from skylift.executors.executor_config.ecs_request import check_options, run_task_request
from skylift.executors.in_container.payload import Payload
from skylift.executors.options.batch import batch_options
from skylift.executors.options.ecs import ECS_SETTINGS, ecs_options
from skylift.executors.options.queues import QUEUE_WORDS

pytestmark = pytest.mark.unit
ID = "00000000-0000-0000-0000-000000000001"
PAYLOAD = Payload(("python",), {"A": "1"})
# A machine may be busy: how many examples there are bounds the test, not how long one takes.
BOUNDED = settings_of_hypothesis(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)


@cache
def shape_of(service: str, operation: str) -> Any:
    return botocore.session.get_session().get_service_model(service).operation_model(operation).input_shape


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-1, 3),
        st.floats(allow_nan=False, width=16),
        st.sampled_from(["", "x", "FARGATE", "fargate", "FARGATE_SPOT", "EC2", "airflow", "main", "ENABLED", "1.4.0"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(st.sampled_from(["name", "containers", "command", "A", "capacityProvider"]), inner, max_size=2),
    ),
    max_leaves=5,
)


def filled(shape: Any, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values of a shape, with any other JSON in some places."""
    if depth > 6:
        return JSON
    wrong = st.integers(0, 6)
    right: st.SearchStrategy[Any]
    if shape.type_name == "structure":
        members = {name: filled(member, depth + 1) for name, member in shape.members.items()}
        right = st.lists(st.sampled_from([*members]), max_size=4, unique=True).flatmap(
            lambda names: st.fixed_dictionaries({name: members[name] for name in names})
        )
    elif shape.type_name == "list":
        right = st.lists(filled(shape.member, depth + 1), max_size=2)
    elif shape.type_name == "map":
        right = st.dictionaries(st.sampled_from(["a", "b_c"]), filled(shape.value, depth + 1), max_size=2)
    elif shape.type_name == "string":
        right = st.sampled_from(getattr(shape, "enum", []) or ["x", "airflow", "main", "subnet-1"])
    elif shape.type_name == "boolean":
        right = st.booleans()
    else:
        right = st.integers(0, 5)
    return wrong.flatmap(lambda one: JSON if one == 0 else right)


def answered(make: Callable[[], Any]) -> Any:
    """What it makes, or ``None`` after advice in one line."""
    try:
        return make()
    except Refused as error:
        advice = str(error)
    assert advice.strip()
    assert "\n" not in advice
    return None


def check(service: str, operation: str, request: Any) -> None:
    if request is not None:
        assert not ParamValidator().validate(request, shape_of(service, operation)).has_errors()
        json.dumps(request)


def ecs_answer(conf: Conf, executor_config: Any = None, queue: str = "", shortages: int = 0) -> Any:
    def make() -> Any:
        options = ecs_options(conf)
        check_options(options)
        attempt = Attempt(ID, 1, lambda: "{}", executor_config=executor_config or {}, shortages=shortages)
        return run_task_request(options.of(queue), attempt, PAYLOAD, tags=True)

    return answered(make)


def batch_answer(conf: Conf, executor_config: Any = None, queue: str = "") -> Any:
    def make() -> Any:
        options = batch_options(conf).of(queue)
        attempt = Attempt(ID, 1, lambda: "{}", executor_config=executor_config or {})
        check_executor_config(attempt.executor_config, options.container)
        return submit_request(options, [attempt], PAYLOAD, job_name(options, attempt), tags=True)

    return answered(make)


ECS_REQUESTS = st.deferred(lambda: filled(shape_of("ecs", "RunTask")))
BATCH_REQUESTS = st.deferred(lambda: filled(shape_of("batch", "SubmitJob")))


@BOUNDED
@given(ECS_REQUESTS)
def test_any_executor_config_of_ecs_makes_a_valid_request_or_advice(executor_config: Any) -> None:
    before = deepcopy(executor_config)
    for conf in (ecs_conf(), ecs_conf(launch_type="FARGATE", subnets="subnet-1", security_groups="sg-1")):
        check("ecs", "RunTask", ecs_answer(conf, executor_config))
    assert executor_config == before


@BOUNDED
@given(BATCH_REQUESTS)
def test_any_executor_config_of_batch_makes_a_valid_request_or_advice(executor_config: Any) -> None:
    before = deepcopy(executor_config)
    several = '{"ecsPropertiesOverride": {"taskProperties": [{"containers": [{"name": "main"}]}]}}'
    for conf in (batch_conf(), batch_conf(submit_job_kwargs=several)):
        check("batch", "SubmitJob", batch_answer(conf, executor_config))
    assert executor_config == before


@BOUNDED
@given(ECS_REQUESTS)
def test_any_run_task_kwargs_are_a_valid_request_or_advice_at_the_start(given_: Any) -> None:
    check("ecs", "RunTask", ecs_answer(ecs_conf(run_task_kwargs=json.dumps(given_), subnets="subnet-1")))
    queues = json.dumps({"q": {"run_task_kwargs": given_}})
    check("ecs", "RunTask", ecs_answer(ecs_conf(skylift_queues=queues, launch_type="EC2"), queue="q"))


@BOUNDED
@given(BATCH_REQUESTS)
def test_any_submit_job_kwargs_are_a_valid_request_or_advice_at_the_start(given_: Any) -> None:
    check("batch", "SubmitJob", batch_answer(batch_conf(submit_job_kwargs=json.dumps(given_))))
    queues = json.dumps({"q": {"submit_job_kwargs": given_}})
    check("batch", "SubmitJob", batch_answer(batch_conf(skylift_queues=queues), queue="q"))


ENTRIES = st.dictionaries(st.sampled_from(QUEUE_WORDS), JSON, max_size=3)


@BOUNDED
@given(st.one_of(JSON, st.dictionaries(st.just("q"), st.one_of(JSON, ENTRIES))))
def test_any_map_of_queues_is_usable_or_advice_at_the_start(queues: Any) -> None:
    check("ecs", "RunTask", ecs_answer(ecs_conf(skylift_queues=json.dumps(queues)), queue="q"))
    check("batch", "SubmitJob", batch_answer(batch_conf(skylift_queues=json.dumps(queues)), queue="q"))


@BOUNDED
@given(st.one_of(JSON, st.lists(st.one_of(JSON, ENTRIES), max_size=3)))
def test_any_list_of_fallbacks_is_usable_or_advice_at_the_start(fallbacks: Any) -> None:
    text = json.dumps(fallbacks)
    for shortages in range(4):
        check("ecs", "RunTask", ecs_answer(ecs_conf(skylift_capacity_fallback=text), shortages=shortages))
    check("batch", "SubmitJob", batch_answer(batch_conf(skylift_capacity_fallback=text)))


@BOUNDED
@given(st.sampled_from(ECS_SETTINGS), st.one_of(JSON.map(json.dumps), st.text(max_size=8)))
def test_any_text_of_any_option_is_usable_or_advice_at_the_start(setting: Any, text: str) -> None:
    check("ecs", "RunTask", ecs_answer(ecs_conf(**{setting.name: text})))


@pytest.mark.parametrize(
    ("make", "advice"),
    [
        (
            lambda: ecs_answer_raised({"networkConfiguration": None}),
            "executor_config: networkConfiguration is null: expected an object with awsvpcConfiguration",
        ),
        (lambda: ecs_answer_raised({"overrides": None}), "executor_config: overrides is null: expected an object with"),
        (
            lambda: ecs_answer_raised({"overrides": {"containerOverrides": {"A": "1"}}}),
            r"executor_config: overrides.containerOverrides is an object: expected a list of objects with name",
        ),
        (
            lambda: ecs_answer_raised({"launchType": "FARGATE_SPOT"}),
            "executor_config: launchType = 'FARGATE_SPOT' is none of .*Spot is a capacity provider",
        ),
        (lambda: ecs_answer_raised({"launchType": "fargate"}), r"did you mean FARGATE\?"),
        (lambda: ecs_answer_raised({"count": 2}), "must not set 'count'"),
        (
            lambda: ecs_answer_raised({"launchType": "EC2", "capacityProviderStrategy": [{"capacityProvider": "x"}]}),
            "exclude each other",
        ),
        (lambda: ecs_answer_raised({"propagateTags": "task_definition"}), r"did you mean TASK_DEFINITION\?"),
        (
            lambda: batch_answer_raised({"containerOverrides": {"environment": {"A": "1"}}}),
            "executor_config: containerOverrides.environment is an object: expected a list of objects with name, value",
        ),
        (
            lambda: batch_answer_raised({"ecsPropertiesOverride": {"taskProperties": [{"containers": []}]}}),
            "executor_config: ecsPropertiesOverride names no container",
        ),
        (
            lambda: batch_answer_raised({"ecsPropertiesOverride": {"taskProperties": None}}),
            r"ecsPropertiesOverride\.taskProperties is null",
        ),
        (lambda: batch_answer_raised({"ecsPropertiesOverride": None}), "ecsPropertiesOverride is null"),
        (lambda: batch_answer_raised({"parameters": {"a": 1}}), "parameters.a is a whole number: expected text"),
        (
            lambda: batch_answer_raised({"retryStrategy": {"attempts": True}}),
            "attempts is true: expected a whole number",
        ),
        (
            lambda: ecs_options(ecs_conf(run_task_kwargs='{"networkConfiguration": null}')),
            r"\[aws_ecs_executor\] run_task_kwargs: networkConfiguration is null",
        ),
        (
            lambda: ecs_options(ecs_conf(run_task_kwargs='{"count": 3}')),
            r"\[aws_ecs_executor\] run_task_kwargs: count must not be set",
        ),
        (lambda: ecs_options(ecs_conf(run_task_kwargs="[" * 100_000)), r"\[aws_ecs_executor\] run_task_kwargs"),
        (
            lambda: ecs_options(ecs_conf(launch_type="FARGATE_SPOT")),
            r"\[aws_ecs_executor\] launch_type: 'FARGATE_SPOT' cannot be used: Spot is a capacity provider",
        ),
        (lambda: ecs_options(ecs_conf(launch_type="fargate")), "launch_type: 'fargate' cannot be used: write FARGATE"),
        (
            lambda: ecs_options(ecs_conf(launch_type="ON_DEMAND")),
            "launch_type: 'ON_DEMAND' cannot be used: expected one of FARGATE",
        ),
        (
            lambda: ecs_options(ecs_conf(capacity_provider_strategy="[1]")),
            r"capacity_provider_strategy: capacityProviderStrategy\[0\] is a whole number",
        ),
        (
            lambda: ecs_options(ecs_conf(skylift_queues='{"b": {"subnets": null}}')),
            r"\[skylift\] queues: .*queue 'b': subnets is null: leave it out",
        ),
        (
            lambda: ecs_options(ecs_conf(skylift_queues='{"b": {"launch_type": "FARGATE_SPOT"}}')),
            "queue 'b': launch_type 'FARGATE_SPOT' cannot be used: Spot",
        ),
        (
            lambda: ecs_options(ecs_conf(skylift_queues='{"b": {"task_definition": 5}}')),
            "queue 'b': task_definition must be text",
        ),
        (
            lambda: ecs_options(ecs_conf(skylift_queues='{"b": {"run_task_kwargs": {"tags": {}}}}')),
            "queue 'b': run_task_kwargs: tags is an object",
        ),
        (lambda: ecs_options(ecs_conf(skylift_capacity_fallback='["fargate_spot"]')), "write FARGATE_SPOT"),
        (lambda: ecs_options(ecs_conf(skylift_capacity_fallback='[{"subnets": null}]')), "entry 1: subnets is null"),
        (
            lambda: batch_options(batch_conf(submit_job_kwargs='{"parameters": null}')),
            r"\[aws_batch_executor\] submit_job_kwargs: parameters is null",
        ),
        (lambda: batch_options(batch_conf(submit_job_kwargs='{"tags": [null]}')), r"submit_job_kwargs: tags is a list"),
        (
            lambda: batch_options(batch_conf(skylift_queues='{"b": {"job_queue": ["a"]}}')),
            "queue 'b': job_queue must be text",
        ),
        (lambda: batch_options(batch_conf(skylift_queues='{"b": {"job_queue": ""}}')), "queue 'b': job_queue is empty"),
    ],
)
def test_a_wrong_shape_says_where_it_is_and_what_was_expected(make: Callable[[], Any], advice: str) -> None:
    with pytest.raises(Refused, match=advice) as refused:
        make()
    assert "\n" not in str(refused.value)


def ecs_answer_raised(executor_config: Any) -> Any:
    attempt = Attempt(ID, 1, lambda: "{}", executor_config=executor_config)
    return run_task_request(ecs_options(ecs_conf()), attempt, PAYLOAD, tags=True)


def batch_answer_raised(executor_config: Any) -> Any:
    check_executor_config(executor_config, "")


def test_a_value_that_may_be_a_secret_is_never_quoted() -> None:
    secret = {"containerOverrides": {"environment": {"PASSWORD": "hunter2"}}}
    assert "hunter2" not in mistakes("batch", "SubmitJob", secret, partial=True)
    assert "hunter2" not in mistakes("ecs", "RunTask", {"tags": "hunter2", "count": "hunter2"}, partial=True)


@pytest.mark.parametrize("text", ["nan", "inf", "-1"])
def test_seconds_are_a_number_that_ends(text: str) -> None:
    from skylift.executors.options.settings import POLL_SECONDS, WARM_SECONDS  # lazy: only here

    for setting in (POLL_SECONDS, WARM_SECONDS):
        with pytest.raises(ValueError, match="seconds"):
            setting.parse(text)
