"""The fake's HTTP: Anyscale's addresses, with answers of the form that its own client reads."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

from skylift.anyscale_fake.answers import CLOUD, COMPUTE, PIECE, PROJECT, USER, job_shown, run_shown
from skylift.anyscale_fake.images import FakeImages
from skylift.anyscale_fake.jobs import DONE, JobRuns
from skylift.anyscale_fake.records import JobRecord, Records, new_id, now
from skylift.anyscale_fake.services import NEEDED_OF_SERVICE, FakeServices
from skylift.core.errors import SkyliftError
from skylift.wire.asgi import (
    Answer,
    BodyTooLong,
    ClientGone,
    Head,
    Receive,
    Scope,
    Send,
    head_of,
    origin_form,
    read_body,
    send_answer,
)

MOST_BODY_BYTES = 512 * 1024 * 1024
LINES_PER_PIECE = 200
PACKAGE = re.compile(r"pkg_[0-9a-f]{32}\.zip")


@dataclass(frozen=True)
class FakeRequest:
    """One request.

    Attributes:
        key: the API key.
        token: a job container's (``program.TOKEN``).
    """

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes
    key: str
    token: str

    def json(self) -> dict[str, Any]:
        """Its body. Raises ``FakeRefusal`` if it is none."""
        try:
            found = json.loads(self.body or b"{}")
        except ValueError as error:
            raise FakeRefusal(422, "the body is not JSON") from error
        if not isinstance(found, dict):
            raise FakeRefusal(422, "the body is not an object")
        return found

    def whole(self, name: str, default: int) -> int:
        """A number of the query. Raises ``FakeRefusal`` if it is none."""
        given = self.query.get(name, str(default))
        if not given.isdecimal():
            raise FakeRefusal(422, f"{name} must be a number")
        return int(given)


class FakeRefusal(Exception):
    """An error that the caller is told."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


Handler = Callable[[FakeRequest, "re.Match[str]"], Awaitable[Any]]


class Routes:
    """The ASGI application.

    Args:
        key: the API key that may do everything.
        looker: an API key that may only look.
        token: of job containers.
        packages: folder of what was uploaded.
        url: our own address.
    """

    def __init__(
        self,
        records: Records,
        runs: JobRuns,
        services: FakeServices,
        packages: Path,
        url: str,
        key: str,
        looker: str,
        token: str,
    ) -> None:
        self._records = records
        self._runs = runs
        self._services = services
        self._images = FakeImages()
        self._packages = packages
        self._url = url
        self._keys = {key: True, looker: False}
        self._token = token
        self.asked: deque[tuple[str, str]] = deque(maxlen=10_000)
        self._silent_until = 0.0
        self._refusals: list[tuple[int, str]] = []
        self._table: list[tuple[str, re.Pattern[str], Handler]] = [
            (method, re.compile(pattern), handler)
            for method, pattern, handler in (
                ("GET", r"/api/v2/userinfo/?", self._fixed(USER)),
                ("GET", r"/ext/v0/clouds/(?:default|[\w-]+)", self._fixed(CLOUD)),
                ("POST", r"/api/v2/clouds/find_by_name", self._find_cloud),
                ("GET", r"/ext/v0/cluster_computes/(?:default|[\w-]+)", self._fixed(COMPUTE)),
                ("GET", r"/api/v2/compute_templates/[\w-]+", self._fixed(COMPUTE)),
                ("POST", r"/api/v2/compute_templates/", self._fixed(COMPUTE)),
                ("POST", r"/api/v2/compute_templates/search", self._search_compute),
                ("GET", r"/ext/v0/projects/default_project", self._fixed(PROJECT)),
                ("GET", r"/api/v2/projects/[\w-]+", self._fixed(PROJECT)),
                ("POST", r"/ext/v0/projects/search", self._search_project),
                ("GET", r"/api/v2/workos/deployment_infra", self._fixed({"deployment_infra": "aws"})),
                *self._of_images(),
                ("POST", r"/api/v2/clouds/[\w-]+/generate_cloud_data_bucket_presigned_url", self._presigned),
                ("POST", r"/api/v2/decorated_ha_jobs/create", self._create_job),
                ("GET", r"/api/v2/decorated_ha_jobs/", self._list_jobs),
                ("POST", r"/api/v2/decorated_ha_jobs/job_runs/search", self._search_runs),
                ("GET", r"/ext/v0/production_jobs/([\w-]+)", self._job),
                ("POST", r"/ext/v0/production_jobs/([\w-]+)/terminate", self._terminate_job),
                ("GET", r"/api/v2/logs/job_logs_download_v2/([\w-]+)", self._log_pieces),
                ("GET", r"/api/v2/services-v2/", self._list_services),
                ("PUT", r"/api/v2/services-v2/apply", self._apply_service),
                ("GET", r"/api/v2/services-v2/([\w-]+)", self._service),
                ("POST", r"/(?:api/v2|ext/v0)/services-v2/([\w-]+)/(terminate|rollback)", self._act_on_service),
            )
        ]
        self._open: list[tuple[str, re.Pattern[str], Handler]] = [
            ("PUT", re.compile(r"/packages/([\w.]+)"), self._put_package),
            ("GET", re.compile(r"/packages/([\w.]+)"), self._get_package),
            ("GET", re.compile(r"/specs/([\w-]+)"), self._spec),
            ("GET", re.compile(r"/pieces/([\w-]+)/(\d+)"), self._piece),
            ("GET", re.compile(r"/(?:jobs|services)/[\w-]+"), self._page),
        ]
        """Without API key: addresses that only those know who were told; a description needs a container's token,
        too."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = head_of(origin_form(scope))
        while (left := self._silent_until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 0.1))
        try:
            answer = await self._answer(head, await read_body(receive, MOST_BODY_BYTES))
        except FakeRefusal as said:
            answer = _json(said.status, {"error": {"detail": said.detail}})
        except BodyTooLong:
            answer = _json(413, {"error": {"detail": "the body is too long"}})
        except SkyliftError as error:
            answer = _json(503, {"error": {"detail": str(error)}})
        except ClientGone:
            return
        await send_answer(send, answer)

    def silent(self, seconds: float) -> None:
        """Answers nothing for some time."""
        self._silent_until = time.monotonic() + seconds

    def refuse(self, status: int, times: int, path: str) -> None:
        """Answers the next requests whose path holds this text with a status."""
        self._refusals = [(status, path)] * times

    async def _answer(self, head: Head, body: bytes) -> Answer:
        query = {name: values[0] for name, values in parse_qs(head.query).items()}
        cookies = dict(part.strip().partition("=")[::2] for part in head.headers.get("cookie", "").split(";"))
        token = head.headers.get("authorization", "").removeprefix("Bearer ")
        ask = FakeRequest(head.method, head.path, query, body, cookies.get("cli_token", ""), token)
        for method, pattern, handler in self._open:
            if method == head.method and (match := pattern.fullmatch(head.path)):
                found = await handler(ask, match)
                return found if isinstance(found, Answer) else _json(200, found)
        self.asked.append((head.method, head.path))
        if self._refusals and self._refusals[0][1] in head.path:
            raise FakeRefusal(self._refusals.pop(0)[0], "The test wants it so.")
        if ask.key not in self._keys:
            raise FakeRefusal(401, "Unauthenticated: this API key is not known.")
        for method, pattern, handler in self._table:
            if method == head.method and (match := pattern.fullmatch(head.path)):
                found = await handler(ask, match)
                return _json(200, found if "results" in found else {"result": found})
        raise FakeRefusal(404, f"{head.method} {head.path} is not in this fake of Anyscale")

    def _must_change(self, ask: FakeRequest) -> None:
        if not self._keys[ask.key]:
            raise FakeRefusal(403, "You do not have permission to do that.")

    def _fixed(self, answer: dict[str, Any]) -> Handler:
        async def give(_ask: FakeRequest, _match: re.Match[str]) -> Any:
            return answer

        return give

    async def _find_cloud(self, ask: FakeRequest, _match: re.Match[str]) -> Any:
        name = ask.json().get("name")
        if name != CLOUD["name"]:
            raise FakeRefusal(404, f"Cloud {name} was not found. This fake has one: {CLOUD['name']}.")
        return CLOUD

    async def _search_compute(self, ask: FakeRequest, _match: re.Match[str]) -> Any:
        name = (ask.json().get("name") or {}).get("equals")
        return _listed([COMPUTE] if name == COMPUTE["name"] else [])

    async def _search_project(self, ask: FakeRequest, _match: re.Match[str]) -> Any:
        name = (ask.json().get("name") or {}).get("equals")
        return _listed([PROJECT] if name == PROJECT["name"] else [])

    def _of_images(self) -> tuple[tuple[str, str, Handler], ...]:
        return (
            ("POST", r"/ext/v0/cluster_environments/search", self._search_environment),
            ("POST", r"/ext/v0/cluster_environments/", self._make_environment),
            ("GET", r"/ext/v0/cluster_environments/([\w-]+)", self._environment),
            ("GET", r"/ext/v0/cluster_environment_builds/", self._list_builds),
            ("POST", r"/ext/v0/cluster_environment_builds/", self._begin_build),
            ("GET", r"/ext/v0/cluster_environment_builds/([\w-]+)", self._build),
            ("POST", r"/api/v2/builds/get_or_create_build_from_image_uri", self._build_of_image),
        )

    async def _search_environment(self, ask: FakeRequest, _match: re.Match[str]) -> Any:
        return _listed(self._images.named(str((ask.json().get("name") or {}).get("equals"))))

    async def _make_environment(self, ask: FakeRequest, _match: re.Match[str]) -> Any:
        self._must_change(ask)
        name = ask.json().get("name")
        if not name:
            raise FakeRefusal(422, "name is missing")
        if (made := self._images.make(str(name))) is None:
            raise FakeRefusal(409, f"There is a cluster environment {name} already.")
        return made

    async def _environment(self, _ask: FakeRequest, match: re.Match[str]) -> Any:
        return self._images.environment(match[1])

    async def _list_builds(self, ask: FakeRequest, _match: re.Match[str]) -> Any:
        return _listed(self._images.builds(ask.query.get("cluster_environment_id", "")))

    async def _begin_build(self, ask: FakeRequest, _match: re.Match[str]) -> Any:
        self._must_change(ask)
        body = ask.json()
        begun = self._images.begin(str(body.get("cluster_environment_id")), str(body.get("containerfile") or ""))
        if begun is None:
            raise FakeRefusal(400, "Invalid containerfile: it has no FROM.")
        return begun

    async def _build(self, _ask: FakeRequest, match: re.Match[str]) -> Any:
        return self._images.build(match[1])

    async def _build_of_image(self, ask: FakeRequest, _match: re.Match[str]) -> Any:
        image = str(ask.json().get("image_uri", ""))
        if (build := self._images.build_of(image)) is None:
            raise FakeRefusal(404, f"Image {image} was not found.")
        return build

    async def _presigned(self, ask: FakeRequest, _match: re.Match[str]) -> Any:
        self._must_change(ask)
        name = str(ask.json().get("file_name", ""))
        if not PACKAGE.fullmatch(name):
            raise FakeRefusal(422, "file_name must be pkg_<md5>.zip")
        place = f"{self._url}/packages/{name}"
        exists = (self._packages / name).exists()
        answer = {"url": place, "file_uri": place, "file_exists": exists, "url_scheme": "http"}
        return {**answer, "bucket_name": "local", "bucket_path": f"packages/{name}"}

    async def _put_package(self, ask: FakeRequest, match: re.Match[str]) -> Any:
        if not PACKAGE.fullmatch(match[1]):
            raise FakeRefusal(404, "no such package")

        def keep() -> None:
            self._packages.mkdir(parents=True, exist_ok=True, mode=0o700)
            beside = self._packages / f".{new_id('new')}"
            beside.write_bytes(ask.body)
            beside.rename(self._packages / match[1])

        await asyncio.to_thread(keep)
        return Answer(200, {}, b"")

    async def _get_package(self, _ask: FakeRequest, match: re.Match[str]) -> Any:
        path = self._packages / match[1]
        if not PACKAGE.fullmatch(match[1]) or not path.exists():
            raise FakeRefusal(404, "no such package")
        return Answer(200, {"content-type": "application/zip"}, await asyncio.to_thread(path.read_bytes))

    async def _spec(self, ask: FakeRequest, match: re.Match[str]) -> Any:
        found = self._runs.spec(match[1], ask.query.get("key", ""))
        if found is None or not secrets.compare_digest(ask.token, self._token):
            raise FakeRefusal(404, "no such job run")
        return found

    async def _create_job(self, ask: FakeRequest, _match: re.Match[str]) -> Any:
        self._must_change(ask)
        body = ask.json()
        if not isinstance(body.get("config"), dict) or not body["config"].get("entrypoint"):
            raise FakeRefusal(422, "config.entrypoint is missing")
        job = JobRecord(new_id("prodjob"), body, now(), str(USER["id"]), since=now())
        self._records.jobs[job.id] = job
        self._records.save()
        return job_shown(job, self._url)

    async def _list_jobs(self, ask: FakeRequest, _match: re.Match[str]) -> Any:
        name, most = ask.query.get("name", ""), ask.whole("count", 50)
        newest = sorted(self._records.jobs.values(), key=lambda job: job.created_at, reverse=True)
        same = [job_shown(job, self._url) for job in newest if name in {"", job.body.get("name")}]
        return {"results": same[:most], "metadata": {"total": len(same), "next_paging_token": None}}

    async def _search_runs(self, ask: FakeRequest, _match: re.Match[str]) -> Any:
        wanted = ask.json().get("ha_job_ids") or []
        known = [self._records.jobs[one] for one in wanted if one in self._records.jobs]
        return {"results": {job.id: [run_shown(job, run) for run in job.runs] for job in known}}

    def _job_of(self, one: str) -> JobRecord:
        if one not in self._records.jobs:
            raise FakeRefusal(404, f"Job {one} was not found.")
        return self._records.jobs[one]

    async def _job(self, _ask: FakeRequest, match: re.Match[str]) -> Any:
        return job_shown(self._job_of(match[1]), self._url)

    async def _terminate_job(self, ask: FakeRequest, match: re.Match[str]) -> Any:
        self._must_change(ask)
        job = self._job_of(match[1])
        if job.state not in DONE:
            job.ending = True
            self._records.save()
        return job_shown(job, self._url)

    async def _log_pieces(self, ask: FakeRequest, match: re.Match[str]) -> Any:
        lines = await asyncio.to_thread(self._runs.log, match[1])
        most, begin = ask.whole("page_size", 1000), ask.whole("next_page_token", 0)
        count = -(-len(lines) // LINES_PER_PIECE)
        numbers = range(begin, min(count, begin + most))
        pieces = [{**PIECE, "chunk_url": f"{self._url}/pieces/{match[1]}/{one}"} for one in numbers]
        following = str(begin + most) if begin + most < count else None
        return {"log_chunks": pieces, "next_page_token": following, "bearer_token": None}

    async def _piece(self, _ask: FakeRequest, match: re.Match[str]) -> Any:
        lines = await asyncio.to_thread(self._runs.log, match[1])
        begin = int(match[2]) * LINES_PER_PIECE
        text = "".join(f"{line}\n" for line in lines[begin : begin + LINES_PER_PIECE])
        return Answer(200, {"content-type": "text/plain"}, text.encode())

    async def _list_services(self, ask: FakeRequest, _match: re.Match[str]) -> Any:
        return _listed(self._services.listed(ask.query.get("name", "")))

    async def _apply_service(self, ask: FakeRequest, _match: re.Match[str]) -> Any:
        self._must_change(ask)
        body = ask.json()
        if missing := [name for name in NEEDED_OF_SERVICE if not body.get(name)]:
            raise FakeRefusal(422, f"{', '.join(missing)} is missing")
        return self._services.apply(body)

    async def _service(self, _ask: FakeRequest, match: re.Match[str]) -> Any:
        found = self._services.by_id(match[1])
        if found is None:
            raise FakeRefusal(404, f"Service {match[1]} was not found.")
        return self._services.shown(found)

    async def _act_on_service(self, ask: FakeRequest, match: re.Match[str]) -> Any:
        self._must_change(ask)
        found = self._services.by_id(match[1])
        if found is None:
            raise FakeRefusal(404, f"Service {match[1]} was not found.")
        return self._services.act(found, match[2])

    async def _page(self, ask: FakeRequest, _match: re.Match[str]) -> Any:
        text = f"A fake of Anyscale, on this machine: {quote(ask.path)}. Its jobs are ECS tasks of the local cloud."
        return Answer(200, {"content-type": "text/plain"}, text.encode())


def _listed(found: list[dict[str, Any]]) -> dict[str, Any]:
    return {"results": found, "metadata": {"total": len(found), "next_paging_token": None}}


def _json(status: int, value: object) -> Answer:
    return Answer(status, {"content-type": "application/json"}, json.dumps(value).encode())
