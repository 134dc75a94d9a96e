"""CloudWatch Logs as real boto3 sees it: limits, order, pages, filters, metrics, live tail, queries, restarts."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.local.rest_server import Rest, rest_of_aws

pytestmark = pytest.mark.local
DAY = 86_400_000


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    with rest_of_aws(tmp_path_factory.mktemp("logs") / "rest") as running:
        yield running


@pytest.fixture(scope="module")
def logs(rest: Rest) -> Any:
    return rest.client("logs")


@pytest.fixture
def group(logs: Any, request: pytest.FixtureRequest) -> str:
    """A group of the test's own, with the stream ``s``."""
    name = f"/test/{request.node.name}".partition("[")[0]
    logs.create_log_group(logGroupName=name)
    logs.create_log_stream(logGroupName=name, logStreamName="s")
    return name


def now() -> int:
    return int(time.time() * 1000)


def put(logs: Any, group: str, *messages: str, stream: str = "s", at: int = 0) -> Any:
    events = [{"timestamp": at or now(), "message": one} for one in messages]
    return logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)


def refused(call: Any, **request: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**request)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def filtered(logs: Any, group: str, **request: Any) -> list[str]:
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, **request)
    return [event["message"] for page in pages for event in page["events"]]


def test_every_event_of_many_is_found_page_by_page(logs: Any, group: str) -> None:
    """More than one answer holds: 25,000, in two streams whose times overlap."""
    logs.create_log_stream(logGroupName=group, logStreamName="t")
    begin, expected = now() - 100_000, []
    for batch in range(5):
        for stream in ("s", "t"):
            events = [
                {"timestamp": begin + batch * 1000 + number, "message": f"{stream}{batch}-{number}"}
                for number in range(2_500)
            ]
            logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
            expected += [(event["timestamp"], event["message"]) for event in events]
    found = [
        (event["timestamp"], event["message"])
        for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group)
        for event in page["events"]
    ]
    assert [at for at, _ in found] == sorted(at for at, _ in expected)
    assert sorted(found) == sorted(expected)
    of_stream, token = [], None
    while True:
        more = {"nextToken": token} if token else {}
        page = logs.get_log_events(logGroupName=group, logStreamName="t", startFromHead=True, **more)
        of_stream += [event["message"] for event in page["events"]]
        if page["nextForwardToken"] == token:
            break
        token = page["nextForwardToken"]
    assert sorted(of_stream) == sorted(message for _, message in expected if message.startswith("t"))
    last = logs.get_log_events(logGroupName=group, logStreamName="t", limit=3)
    assert [one["message"] for one in last["events"]] == ["t4-2497", "t4-2498", "t4-2499"]
    before = logs.get_log_events(logGroupName=group, logStreamName="t", limit=2, nextToken=last["nextBackwardToken"])
    assert [one["message"] for one in before["events"]] == ["t4-2495", "t4-2496"]
    assert len(filtered(logs, group, filterPattern='"t4-24"')) == 111
    assert refused(logs.filter_log_events, logGroupName=group, nextToken="x") == (
        "InvalidParameterException",
        "The specified nextToken is invalid.",
    )


def test_streams_by_name_and_by_prefix(logs: Any, group: str) -> None:
    for stream in ("task/a/1", "task/a/2", "task/b/1"):
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
        put(logs, group, stream, stream=stream)
    assert filtered(logs, group, logStreamNamePrefix="task/a/") == ["task/a/1", "task/a/2"]
    assert filtered(logs, group, logStreamNamePrefix="nobody") == []
    assert filtered(logs, group, logStreamNames=["task/b/1"]) == ["task/b/1"]
    both = {"logStreamNames": ["s"], "logStreamNamePrefix": "s"}
    assert refused(logs.filter_log_events, logGroupName=group, **both) == (
        "InvalidParameterException",
        "LogStreamNamePrefix and LogStreamNames are mutually exclusive parameters.",
    )
    code, _ = refused(logs.filter_log_events, logGroupName=group, logStreamNames=["no"])
    assert code == "ResourceNotFoundException"
    shown = logs.describe_log_streams(logGroupName=group, orderBy="LastEventTime", descending=True, limit=1)
    assert [one["logStreamName"] for one in shown["logStreams"]] == ["task/b/1"]
    names = [
        one["logStreamName"]
        for page in logs.get_paginator("describe_log_streams").paginate(
            logGroupName=group, PaginationConfig={"PageSize": 2}
        )
        for one in page["logStreams"]
    ]
    assert names == ["s", "task/a/1", "task/a/2", "task/b/1"]
    assert refused(logs.describe_log_streams, logGroupName=group, orderBy="LastEventTime", logStreamNamePrefix="t") == (
        "InvalidParameterException",
        "Cannot order by LastEventTime with a logStreamNamePrefix.",
    )


def test_times_are_bounds_as_documented(logs: Any, group: str) -> None:
    """FilterLogEvents takes in its end; GetLogEvents does not."""
    begin = now() - 1000
    for number in range(4):
        put(logs, group, f"{number}", at=begin + number)
    assert filtered(logs, group, startTime=begin + 1, endTime=begin + 2) == ["1", "2"]
    page = logs.get_log_events(logGroupName=group, logStreamName="s", startTime=begin + 1, endTime=begin + 2)
    assert [one["message"] for one in page["events"]] == ["1"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("a:b", "Invalid character(s) in term 'a:b'"),
        ("{ $.a = 1", "If a filter pattern starts with '{' it must end with '}'"),
        ("{ $.a = }", "Invalid filter pattern"),
    ],
)
def test_a_pattern_that_is_none_is_refused_everywhere(logs: Any, rest: Rest, pattern: str, message: str) -> None:
    name = "/test/patterns"
    if not logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]:
        logs.create_log_group(logGroupName=name)
    transformation = {"metricName": "m", "metricNamespace": "n", "metricValue": "1"}
    place = {"logGroupName": name, "filterName": "f", "filterPattern": pattern}
    expected = "InvalidParameterException", message
    assert refused(logs.filter_log_events, logGroupName=name, filterPattern=pattern) == expected
    assert refused(logs.test_metric_filter, filterPattern=pattern, logEventMessages=["x"]) == expected
    assert refused(logs.put_metric_filter, **place, metricTransformations=[transformation]) == expected


def test_what_put_log_events_refuses_and_leaves_out(logs: Any, group: str) -> None:
    code, message = refused(lambda: put(logs, group, *["x" * 200_000] * 6))
    assert (code, message) == (
        "InvalidParameterException",
        f"Upload too large: {6 * 200_026} bytes exceeds limit of 1048576",
    )
    place = {"logGroupName": group, "logStreamName": "s"}
    at = now()
    pair = [{"timestamp": at, "message": "b"}, {"timestamp": at - 1, "message": "a"}]
    assert refused(logs.put_log_events, **place, logEvents=pair)[1] == (
        "Log events in a single PutLogEvents request must be in chronological order."
    )
    answer = put(logs, group, "old", at=at - 15 * DAY)
    assert answer["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1}
    answer = put(logs, group, "new", at=at + 3 * 3_600_000)
    assert answer["rejectedLogEventsInfo"] == {"tooNewLogEventStartIndex": 0}
    assert filtered(logs, group) == []
    assert refused(lambda: put(logs, group, "x", stream="none")) == (
        "ResourceNotFoundException",
        "The specified log stream does not exist.",
    )
    assert refused(lambda: put(logs, "/none", "x")) == (
        "ResourceNotFoundException",
        "The specified log group does not exist.",
    )
    put(logs, group, "é" * 300_000)
    assert [len(one) for one in filtered(logs, group)] == [300_000]


def test_retention_hides_old_events(logs: Any, group: str) -> None:
    at = now() - 2 * DAY
    put(logs, group, "old", at=at)
    put(logs, group, "new")
    logs.put_retention_policy(logGroupName=group, retentionInDays=1)
    assert filtered(logs, group) == ["new"]
    page = logs.get_log_events(logGroupName=group, logStreamName="s", startFromHead=True)
    assert [one["message"] for one in page["events"]] == ["new"]
    assert put(logs, group, "late", at=at)["rejectedLogEventsInfo"] == {"expiredLogEventEndIndex": 1}
    code, message = refused(logs.put_retention_policy, logGroupName=group, retentionInDays=2)
    assert code == "InvalidParameterException"
    assert "Member must satisfy enum value set: [1, 3, 5, 7" in message
    logs.delete_retention_policy(logGroupName=group)
    (shown,) = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert "retentionInDays" not in shown


def test_groups_tags_and_protection(logs: Any) -> None:
    for number in range(3):
        logs.create_log_group(logGroupName=f"/many/{number}", tags={"n": str(number)})
    assert refused(logs.create_log_group, logGroupName="/many/0") == (
        "ResourceAlreadyExistsException",
        "The specified log group already exists",
    )
    pages = logs.get_paginator("describe_log_groups").paginate(
        logGroupNamePrefix="/many/", PaginationConfig={"PageSize": 2}
    )
    groups = [one for page in pages for one in page["logGroups"]]
    assert [one["logGroupName"] for one in groups] == ["/many/0", "/many/1", "/many/2"]
    arn = groups[0]["logGroupArn"]
    assert groups[0]["arn"] == f"{arn}:*"
    logs.tag_resource(resourceArn=arn, tags={"x": "y"})
    logs.untag_resource(resourceArn=arn, tagKeys=["n"])
    assert logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"x": "y"}
    logs.put_log_group_deletion_protection(logGroupIdentifier=arn, deletionProtectionEnabled=True)
    assert refused(logs.delete_log_group, logGroupName="/many/0")[0] == "ValidationException"
    logs.put_log_group_deletion_protection(logGroupIdentifier=arn, deletionProtectionEnabled=False)
    logs.delete_log_group(logGroupName="/many/0")
    assert refused(logs.delete_log_group, logGroupName="/many/0")[0] == "ResourceNotFoundException"


def test_a_metric_filter_counts_and_measures(logs: Any, rest: Rest, group: str) -> None:
    def put_filter(name: str, pattern: str, **transformation: Any) -> None:
        whole = {"metricName": name, "metricNamespace": "Filtered", "metricValue": "1", **transformation}
        logs.put_metric_filter(
            logGroupName=group, filterName=name, filterPattern=pattern, metricTransformations=[whole]
        )

    put_filter("errors", "ERROR", defaultValue=0.0)
    put_filter("latency", "{ $.latency = * }", metricValue="$.latency", dimensions={"Path": "$.path"})
    put(logs, group, "an ERROR", "and an ERROR", "fine")
    put(logs, group, *(json.dumps({"latency": value, "path": "/a"}) for value in (10, 20.5)))
    cloudwatch = rest.client("cloudwatch")

    def sums(name: str, **dimensions: str) -> list[float]:
        found = cloudwatch.get_metric_statistics(
            Namespace="Filtered", MetricName=name, StartTime=time.time() - 300, EndTime=time.time() + 60, Period=3600,
            Statistics=["Sum"], Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
        )  # fmt: skip
        return [point["Sum"] for point in found["Datapoints"]]

    assert sum(sums("errors")) == 2
    assert sum(sums("latency", Path="/a")) == 30.5
    assert logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]["metricFilterCount"] == 2
    found = logs.describe_metric_filters(metricName="errors", metricNamespace="Filtered")["metricFilters"]
    assert [one["filterName"] for one in found] == ["errors"]
    both = {"metricName": "m", "metricNamespace": "n", "metricValue": "1", "defaultValue": 0.0}
    request = {"logGroupName": group, "filterName": "x", "filterPattern": "{ $.a = 1 }"}
    assert refused(logs.put_metric_filter, **request, metricTransformations=[{**both, "dimensions": {"D": "$.a"}}]) == (
        "InvalidParameterException",
        "Invalid metric transformation: dimensions and default value are mutually exclusive properties.",
    )
    matches = logs.test_metric_filter(filterPattern="[ip, n > 5]", logEventMessages=["a 6", "b 5"])["matches"]
    assert matches == [{"eventNumber": 1, "eventMessage": "a 6", "extractedValues": {"$ip": "a", "$n": "6"}}]
    logs.delete_metric_filter(logGroupName=group, filterName="errors")
    assert refused(logs.delete_metric_filter, logGroupName=group, filterName="errors")[0] == "ResourceNotFoundException"


def test_a_live_tail_shows_what_comes_and_ends_with_its_connection(logs: Any, group: str) -> None:
    arn = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]["logGroupArn"]
    put(logs, group, "before ERROR")
    stream = logs.start_live_tail(logGroupIdentifiers=[arn], logEventFilterPattern="ERROR")["responseStream"]
    events = iter(stream)
    begun = next(events)["sessionStart"]
    assert begun["logGroupIdentifiers"] == [arn]
    threading.Timer(0.1, lambda: put(logs, group, "an ERROR", "fine")).start()
    found = list[Any]()
    deadline = time.monotonic() + 30
    while not found:
        assert time.monotonic() < deadline
        found = next(events)["sessionUpdate"]["sessionResults"]
    assert [(one["logStreamName"], one["message"]) for one in found] == [("s", "an ERROR")]
    stream.close()
    code, _ = refused(logs.start_live_tail, logGroupIdentifiers=["/none"])
    assert code == "InvalidParameterException"


def test_a_query_of_insights(logs: Any, group: str) -> None:
    at = now() - 60_000
    for number in range(10):
        put(logs, group, json.dumps({"status": 500 if number % 5 == 0 else 200, "took": number}), at=at + number)

    def answer(query: str) -> tuple[list[dict[str, str]], Any]:
        number = logs.start_query(
            logGroupName=group, startTime=at // 1000 - 10, endTime=at // 1000 + 10, queryString=query
        )["queryId"]
        deadline = time.monotonic() + 30
        while (found := logs.get_query_results(queryId=number))["status"] == "Running":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert found["status"] == "Complete"
        return [{one["field"]: one["value"] for one in row} for row in found["results"]], found["statistics"]

    rows, statistics = answer("filter status = 500 | stats count(*) as n, max(took) as longest by status")
    assert rows == [{"status": "500", "n": "2", "longest": "5"}]
    assert (statistics["recordsMatched"], statistics["recordsScanned"]) == (2, 10)
    rows, _ = answer("fields @timestamp, took | sort took desc | limit 1")
    record = logs.get_log_record(logRecordPointer=rows[0]["@ptr"])["logRecord"]
    assert (rows[0]["took"], record["took"], record["@logStream"]) == ("9", "9", "s")
    fields = logs.get_log_group_fields(logGroupName=group)["logGroupFields"]
    assert {"name": "status", "percent": 100} in fields
    code, message = refused(logs.start_query, logGroupName=group, startTime=0, endTime=1, queryString="feilds x")
    assert (code, message) == ("MalformedQueryException", "unexpected symbol found feilds at position 1")
    assert answer("fields took | limit 3")[1]["resultCount"] == 3
    assert logs.describe_queries(logGroupName=group)["queries"][0]["status"] == "Complete"


def test_a_subscription_delivers_to_a_stream(logs: Any, rest: Rest, group: str) -> None:
    kinesis = rest.client("kinesis")
    request = {"logGroupName": group, "filterName": "f", "filterPattern": "ERROR"}
    arn = "arn:aws:kinesis:us-east-1:000000000000:stream/subscribed"
    assert refused(logs.put_subscription_filter, **request, destinationArn=arn)[1].startswith(
        "Could not deliver test message to specified Kinesis stream."
    )
    kinesis.create_stream(StreamName="subscribed", ShardCount=1)
    logs.put_subscription_filter(**request, destinationArn=arn)
    put(logs, group, "an ERROR", "fine")
    shard = kinesis.list_shards(StreamName="subscribed")["Shards"][0]["ShardId"]
    position = kinesis.get_shard_iterator(StreamName="subscribed", ShardId=shard, ShardIteratorType="TRIM_HORIZON")[
        "ShardIterator"
    ]
    records = [
        json.loads(gzip.decompress(one["Data"])) for one in kinesis.get_records(ShardIterator=position)["Records"]
    ]
    assert [one["messageType"] for one in records] == ["CONTROL_MESSAGE", "DATA_MESSAGE"]
    assert [one["message"] for one in records[1]["logEvents"]] == ["an ERROR"]
    assert records[1]["logGroup"] == group


def test_records_of_policies_destinations_and_definitions(logs: Any) -> None:
    logs.put_resource_policy(policyName="p", policyDocument="{}")
    assert [one["policyName"] for one in logs.describe_resource_policies()["resourcePolicies"]] == ["p"]
    logs.delete_resource_policy(policyName="p")
    assert logs.describe_resource_policies()["resourcePolicies"] == []
    made = logs.put_query_definition(name="d", queryString="fields @message")["queryDefinitionId"]
    assert [one["queryDefinitionId"] for one in logs.describe_query_definitions()["queryDefinitions"]] == [made]
    assert logs.delete_query_definition(queryDefinitionId=made)["success"]
    logs.put_destination(destinationName="x", targetArn="arn:aws:kinesis:us-east-1:0:stream/s", roleArn="arn:r")
    assert [one["destinationName"] for one in logs.describe_destinations()["destinations"]] == ["x"]


def test_what_was_acknowledged_is_there_after_kill_9(tmp_path: Path) -> None:
    folder = tmp_path / "rest"
    with rest_of_aws(folder) as rest:
        logs = rest.client("logs")
        logs.create_log_group(logGroupName="g")
        logs.create_log_stream(logGroupName="g", logStreamName="s")
        acknowledged = []
        for number in range(50):
            put(logs, "g", f"{number}")
            acknowledged.append(f"{number}")
        rest.kill()
    with rest_of_aws(folder) as rest:
        assert filtered(rest.client("logs"), "g") == acknowledged
        rest.end()


def test_a_compressed_batch(logs: Any, rest: Rest, group: str) -> None:
    """As Fluent Bit and Vector send it."""

    def compress(request: Any, **_: Any) -> None:
        request.data = gzip.compress(request.data)
        request.headers["Content-Encoding"] = "gzip"

    client = rest.client("logs")
    client.meta.events.register("before-sign.logs.PutLogEvents", compress)
    put(client, group, "compressed")
    assert filtered(logs, group) == ["compressed"]


def test_what_is_not_served_says_so(logs: Any) -> None:
    code, message = refused(logs.list_anomalies)
    assert code == "NotImplemented"
    assert "ListAnomalies" in message
