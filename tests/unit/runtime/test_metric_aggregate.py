"""Values between two sends: what is added, what is kept, what stays separate; and the calls that send them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.runtime.sent import Sent

from skylift.aws.metrics import MOST_DATA, chunks
from skylift.core.errors import Unavailable
from skylift.runtime.metrics.aggregate import MOST_METRICS, MOST_VALUES, Aggregate
from skylift.runtime.metrics.client import Sender
from skylift.runtime.metrics.names import MetricName

pytestmark = pytest.mark.unit

A = MetricName("A", "Count", (("DAG", "one"),))
A2 = MetricName("A", "Count", (("DAG", "two"),))
T = MetricName("T", "Milliseconds", ())


def test_counters_add_up_for_each_set_of_dimensions() -> None:
    values = Aggregate()
    for name, by in ((A, 2), (A2, 5), (A, 1), (A2, -1)):
        values.count(name, by)
    one, two = values.data({"Environment": "e"})
    assert one == {
        "MetricName": "A",
        "Dimensions": [{"Name": "DAG", "Value": "one"}, {"Name": "Environment", "Value": "e"}],
        "Unit": "Count",
        "Value": 3.0,
    }
    assert two["Value"] == 4.0


def test_a_counter_that_only_had_zeros_is_not_sent() -> None:
    values = Aggregate()
    values.count(A, 0)
    assert values.empty()
    assert values.data({}) == []


def test_of_a_gauge_the_last_value_stays_also_when_it_is_zero() -> None:
    values = Aggregate()
    values.gauge(A, 7)
    values.gauge(A, 0)
    values.gauge(A2, 3)
    values.gauge(A2, -2, delta=True)
    assert [one["Value"] for one in values.data({})] == [0, 1]


def test_a_timer_keeps_its_values_and_how_often_each_came() -> None:
    values = Aggregate()
    for value in (5.0, 1.0, 5.0):
        values.time(T, value)
    (sent,) = values.data({})
    assert (sent["Values"], sent["Counts"]) == ([5.0, 1.0], [2.0, 1.0])
    assert sent["Unit"] == "Milliseconds"


def test_a_timer_with_more_values_than_a_call_takes_becomes_a_statistic_set() -> None:
    values = Aggregate()
    for value in range(MOST_VALUES):
        values.time(T, value)
    assert len(values.data({})[0]["Values"]) == MOST_VALUES
    values.time(T, 1000)
    values.time(T, 1000)
    (sent,) = values.data({})
    total = sum(range(MOST_VALUES)) + 2000
    assert "Values" not in sent
    assert sent["StatisticValues"] == {"SampleCount": MOST_VALUES + 2, "Sum": total, "Minimum": 0, "Maximum": 1000}


def test_memory_has_an_end() -> None:
    values = Aggregate()
    for number in range(MOST_METRICS + 3):
        values.count(MetricName(f"M{number}", "Count", ()), 1)
    values.count(MetricName("M0", "Count", ()), 1)  # one that is known goes on
    assert len(values.data({})) == MOST_METRICS
    assert values.dropped == 3


def test_many_metrics_are_few_calls() -> None:
    small: list[Any] = [{"MetricName": str(n)} for n in range(MOST_DATA + 1)]
    assert [len(chunk) for chunk in chunks(small)] == [MOST_DATA, 1]
    large: list[Any] = [{"Values": [0.0] * MOST_VALUES} for _ in range(200)]
    assert [one for chunk in chunks(large) for one in chunk] == large
    assert all(len(chunk) * (MOST_VALUES + 1) <= 20_000 for chunk in chunks(large))
    assert list(chunks([])) == []


def test_what_is_sent_names_its_environment_and_its_time_and_is_forgotten() -> None:
    sent = Sent()
    sender = Sender("mine", 0, sent.put)
    sender.note(lambda values: values.count(A, 1))
    sender.send()
    sender.send()
    ((namespace, (one,)),) = sent.calls
    assert namespace == "AmazonMWAA"
    assert {"Name": "Environment", "Value": "mine"} in one["Dimensions"]
    assert one["Timestamp"].tzinfo is not None


def test_cloudwatch_away_costs_values_and_one_line_of_log(caplog: pytest.LogCaptureFixture) -> None:
    sent = Sent(error=Unavailable("cloudwatch PutMetricData: no answer"))
    sender = Sender("mine", 0, sent.put)
    for _ in range(3):
        sender.note(lambda values: values.count(A, 1))
        sender.send()
    assert len(caplog.records) == 1
    sent.error = None
    sender.note(lambda values: values.count(A, 1))
    sender.send()
    assert "3 were dropped" in caplog.records[-1].getMessage()
    assert [one["Value"] for _, data in sent.calls for one in data] == [1]


def test_a_component_sends_again_and_again() -> None:
    sent = Sent()
    sender = Sender("mine", 0.01, sent.put)
    for _ in range(3):
        sent.arrived.clear()
        sender.note(lambda values: values.count(A, 1))
        assert sent.arrived.wait(30)
    sender.end()
    assert sum(one["Value"] for _, data in sent.calls for one in data) == 3


def test_nobody_waits_for_a_call_that_hangs() -> None:
    sent = Sent(hanging=True)
    sender = Sender("mine", 0.01, sent.put)
    sender.note(lambda values: values.count(A, 1))
    assert sent.begun.wait(30)
    sender.note(lambda values: values.count(A, 1))  # returns while the thread hangs
    sent.go_on.set()
