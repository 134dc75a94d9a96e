"""A local cloud in a thread of this process, with keys that live as long as it does."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import boto3
from botocore.config import Config

from skylift.core.errors import Unavailable
from skylift.localcloud.alone import AloneCloud
from skylift.localcloud.iam.mode import IamMode
from skylift.localcloud.images.built import BuiltImages
from skylift.localcloud.images.found import LocalImages
from skylift.localcloud.images.registry import NamedImage
from skylift.wire.serve import listen
from skylift.wire.signing.keys import Key

T = TypeVar("T")
ACCOUNT = "000000000000"
REGION = "us-east-1"
START_SECONDS = 60.0
STOP_SECONDS = 60.0


@dataclass(frozen=True)
class Cloud:
    """A local cloud that runs.

    Attributes:
        url: the AWS endpoint.
        region: e.g. ``us-east-1``.
        account: twelve digits.
        key: the key that may do everything.
    """

    url: str
    region: str
    account: str
    key: Key
    _alone: AloneCloud
    _loop: asyncio.AbstractEventLoop

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables with which boto3, the AWS CLI and others of this machine talk to this cloud."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.key.access_key,
            "AWS_SECRET_ACCESS_KEY": self.key.secret,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    def client(self, service: str, **options: Any) -> Any:
        """A boto3 client of this cloud; ``options`` go to ``boto3.client``."""
        return boto3.client(
            service,
            **{
                "endpoint_url": self.url,
                "region_name": self.region,
                "aws_access_key_id": self.key.access_key,
                "aws_secret_access_key": self.key.secret,
                "config": Config(inject_host_prefix=False),
                **options,
            },
        )

    def observed(self) -> list[dict[str, Any]]:
        """Who called what, with ``iam`` not off: ``principal``, ``action``, ``resource``, perhaps ``denied``."""
        return self._on_loop(lambda: [one.shown() for one in self._alone.cloud.observed.since()])

    def fault(self, kind: str, *, name: str = "", **values: object) -> dict[str, Any]:
        """Sets a fault: ``cloud.fault("throttle", preset="ecs-read")``. Kinds and values: docs/faults.md.

        Raises:
            Refused: no such kind or value.
        """
        return self._on_loop(lambda: self._alone.cloud.faults.set(kind, values, name=name))

    def faults(self) -> list[dict[str, Any]]:
        """The faults that are set, with ``hits``."""
        return self._on_loop(self._alone.cloud.faults.shown)

    def clear_faults(self, name: str = "") -> None:
        """Ends one fault, or all."""
        self._on_loop(lambda: self._alone.cloud.faults.clear(name))

    def _on_loop(self, work: Callable[[], T]) -> T:
        async def do() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(do(), self._loop).result(START_SECONDS)


@contextmanager
def running_cloud(
    home: Path,
    *,
    images: Mapping[str, str | Path | NamedImage] | None = None,
    port: int = 0,
    region: str = REGION,
    iam: str = "off",
) -> Iterator[Cloud]:
    """A local cloud while the block runs; at its end every container has ended.

    Args:
        home: a folder for its state, e.g. a temporary one.
        images: what image references stand for: a folder of a virtual environment (``sys.prefix`` is the Python that
            runs the tests), or a ``NamedImage``, which also has variables for its containers.
        port: 0: any free one.
        region: the region in ARNs.
        iam: ``enforce``: IAM's policies are enforced for all keys but ``Cloud.key``; ``observe``: calls are noted.

    Raises:
        Refused: the port is taken, or a folder is no virtual environment.
        Unavailable: it did not start in time.
    """
    thread = _CloudThread(home, images or {}, port, region, IamMode(iam))
    thread.start()
    try:
        yield thread.ready()
    finally:
        thread.stop()


def _named(image: str | Path | NamedImage) -> NamedImage:
    return image if isinstance(image, NamedImage) else NamedImage(Path(image))


class _CloudThread:
    def __init__(
        self, home: Path, images: Mapping[str, str | Path | NamedImage], port: int, region: str, iam: IamMode
    ) -> None:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._key = Key(
            "AKIA" + secrets.token_hex(8).upper(), secrets.token_hex(20), f"arn:aws:iam::{ACCOUNT}:user/test"
        )
        self._region = region
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._up = threading.Event()
        self._failure: BaseException | None = None
        self._alone = AloneCloud(
            home,
            listen(port),
            self._key,
            secrets.token_bytes(32),
            LocalImages(
                BuiltImages(home, home / "cache"), None, {name: _named(image) for name, image in images.items()}
            ),
            account=ACCOUNT,
            region=region,
            iam=iam,
        )
        self._thread = threading.Thread(target=self._run, name="skylift-cloud", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ready(self) -> Cloud:
        if not self._up.wait(START_SECONDS):
            raise Unavailable(f"the local cloud did not start in {START_SECONDS:.0f} s")
        if self._failure is not None:
            raise self._failure
        return Cloud(self._alone.url, self._region, ACCOUNT, self._key, self._alone, self._loop)

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(STOP_SECONDS)
        if self._thread.is_alive():
            raise Unavailable(f"the local cloud did not end in {STOP_SECONDS:.0f} s")
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._alone.run(self._stopping, self._up.set))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        except BaseException as error:  # noqa: BLE001 - whoever started the thread gets it, and can act
            self._failure = error
        finally:
            self._up.set()
            self._loop.close()
