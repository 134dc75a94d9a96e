"""Which references name an image, what of the machine's environment a container gets, and what a failed uv means."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest

from skylift.core.errors import Refused, SkyliftError, Unavailable
from skylift.localcloud.containers.mounts import MWAA_PATHS
from skylift.localcloud.images.build import PackageLayer, build_image, image_base, image_digest, read_package
from skylift.localcloud.images.built import LOCKS, SYSTEM_PATH, BuiltImages
from skylift.localcloud.images.network import network_variables
from skylift.localcloud.images.uv import failure, space_error

pytestmark = pytest.mark.unit
ECR = "000000000000.dkr.ecr.us-east-1.amazonaws.com/"


@pytest.fixture
def images(tmp_path: Path) -> BuiltImages:
    return BuiltImages(tmp_path, tmp_path / "cache", environ={})


def test_only_airflows_image_wants_mwaas_paths_and_only_if_asked(tmp_path: Path, images: BuiltImages) -> None:
    asked = BuiltImages(tmp_path, tmp_path / "cache", environ={MWAA_PATHS.env: "yes"})
    airflow, ray = "skylift/airflow:3.3.2", next(one for one in asked.references if "airflow" not in one)
    told = [
        MWAA_PATHS.env in one._image(name, tmp_path).environment for one in (asked, images) for name in (airflow, ray)
    ]
    assert told == [True, False, False, False]


@pytest.mark.parametrize(
    "reference",
    [
        "nope",
        "skylift/airflow",
        "skylift/airflow:latest",
        "skylift/airflow:9.9.9",
        "docker.io/skylift/airflow:3.3.2",
        "skylift/airflow:3.3.2/../..",
        "",
    ],
)
def test_an_unknown_reference_fails_as_ecs_does(images: BuiltImages, reference: str) -> None:
    assert images.find(reference) is None
    with pytest.raises(Refused, match=r"^CannotPullContainerError: .*not found.*skylift/airflow:3\.3\.2"):
        images.build(reference, print)
    assert not images.folder.exists()


@pytest.mark.parametrize("registry", ["", ECR])
def test_a_known_reference_is_found_once_it_is_there(images: BuiltImages, tmp_path: Path, registry: str) -> None:
    reference = f"{registry}skylift/airflow:3.3.2"
    assert images.find(reference) is None
    root = images.folder / image_digest(image_base(LOCKS / "airflow-3.3.2.txt", {}), read_package())
    (root / "bin").mkdir(parents=True)
    program = root / "bin" / "airflow"
    program.touch(mode=0o755)
    image = images.find(reference)
    assert image is not None
    assert image.reference == reference
    assert image.environment == {
        "PATH": f"{root}/bin:{root}/system/bin:{SYSTEM_PATH}",
        "PYTHONUSERBASE": str(root),
        "VIRTUAL_ENV": str(root),
        "SKYLIFT_LAYER_CACHE": str(tmp_path / "cache" / "layers"),
        "SKYLIFT_DAG_CACHE": str(tmp_path / "cache" / "dags"),
        "UV_CACHE_DIR": str(tmp_path / "cache" / "uv"),
    }
    assert image.executable("airflow") == program
    assert image.executable("sh") is not None
    assert image.executable("no-such-program") is None
    assert images.references == ("skylift/airflow:3.3.2", "skylift/ray:2.60.0")


def test_every_lock_has_hashes_and_its_requirements_beside_it() -> None:
    locks = sorted(LOCKS.glob("*.txt"))
    assert locks
    for lock in locks:
        packages = [line for line in lock.read_text().splitlines() if line[:1].isalnum()]
        assert all("==" in line and line.endswith("\\") for line in packages)
        given = lock.with_suffix(".in").read_text().splitlines()
        wanted = [re.sub(r"\[.*\]", "", line) for line in given if "==" in line]
        assert wanted
        assert all(any(line.startswith(f"{pin} ") for line in packages) for pin in wanted)


def test_a_container_gets_the_network_and_nothing_else() -> None:
    secret = {"AWS_SECRET_ACCESS_KEY": "x", "GITHUB_TOKEN": "x", "HOME": "/root", "PYTHONDONTWRITEBYTECODE": "1"}
    useful = {"SSL_CERT_FILE": "/ca.pem", "UV_INDEX_URL": "https://u/", "UV_INDEX_OURS_PASSWORD": "p"}
    assert network_variables(secret | useful | {"UV_PYTHON": "3.9", "UV_CONSTRAINT": "c", "PIP_TARGET": "t"}) == useful


def test_a_machine_set_up_for_pip_alone_is_set_up_for_uv_too() -> None:
    assert network_variables({"PIP_INDEX_URL": "https://p/", "PIP_CERT": "/ca"}) == {
        "PIP_INDEX_URL": "https://p/",
        "PIP_CERT": "/ca",
        "UV_DEFAULT_INDEX": "https://p/",
        "SSL_CERT_FILE": "/ca",
    }
    assert "UV_DEFAULT_INDEX" not in network_variables({"PIP_INDEX_URL": "https://p/", "UV_INDEX_URL": "https://u/"})


def test_a_proxy_is_never_asked_for_this_machine() -> None:
    chosen = network_variables({"https_proxy": "http://proxy:3128", "NO_PROXY": "corp.example, localhost"})
    assert chosen["https_proxy"] == "http://proxy:3128"
    bypassed = chosen["NO_PROXY"].split(",")
    assert chosen["no_proxy"] == chosen["NO_PROXY"]
    assert bypassed[:2] == ["corp.example", "localhost"]
    assert {"127.0.0.1", "127.66.0.1", "::1"} <= set(bypassed)
    assert bypassed.count("localhost") == 1
    assert "NO_PROXY" not in network_variables({"NO_PROXY": "corp.example"})


@pytest.mark.parametrize(
    ("said", "kind", "advice"),
    [
        (
            [
                "error: Request failed after 3 retries in 4.7s",
                "  cause: Failed to fetch: https://pypi.org/simple/six/",
                "  cause: tcp connect error",
                "  cause: Connection refused (os error 111)",
            ],
            Unavailable,
            "cannot reach the package registry: Failed to fetch: https://pypi.org/simple/six/: Connection refused",
        ),
        (["error: failed to write", "  Caused by: No space left on device (os error 28)"], Refused, "disk is full"),
        (["  x No solution found", "because six==9 was not found"], Refused, "because six==9 was not found"),
    ],
)
def test_a_failed_uv_becomes_advice(said: list[str], kind: type[SkyliftError], advice: str) -> None:
    error = failure(said)
    assert type(error) is kind
    assert advice in str(error)


def test_errors_of_the_disk_become_advice() -> None:
    assert "disk is full" in str(space_error(Path("/x"), OSError(errno.ENOSPC, "No space left on device")))
    assert "/x cannot be written" in str(space_error(Path("/x"), OSError(errno.EROFS, "Read-only file system")))
    assert space_error(Path("/x"), OSError(errno.EIO, "Input/output error")) is None


def test_an_image_is_a_clone_that_shares_the_bases_files(tmp_path: Path) -> None:
    base, root = tmp_path / "base", tmp_path / "image"
    site = base / "lib" / "python3.11" / "site-packages"
    site.mkdir(parents=True)
    (site / "six.py").write_text("")
    (base / "bin").mkdir()
    (base / "bin" / "python").symlink_to("/usr/bin/python3")
    build_image(root, base, PackageLayer({"skylift/__init__.py": b"WORD = 1\n"}, "d"), print)
    clone = root / "lib" / "python3.11" / "site-packages"
    assert (clone / "six.py").samefile(site / "six.py")
    assert (root / "bin" / "python").is_symlink()
    assert (clone / "skylift" / "__init__.py").read_text() == "WORD = 1\n"
    assert len(list((clone / "skylift" / "__pycache__").glob("*.pyc"))) == 1
    assert not (site / "skylift").exists()


def test_the_package_layer_is_the_skylift_that_runs() -> None:
    layer = read_package()
    assert layer.files["skylift/localcloud/images/built.py"] == (LOCKS.parent / "images" / "built.py").read_bytes()
    assert not [name for name in layer.files if "__pycache__" in name]
    assert layer.digest == read_package().digest
    changed = PackageLayer({**layer.files, "skylift/new.py": b""}, "other")
    base = image_base(LOCKS / "airflow-3.3.2.txt", {})
    assert image_digest(base, layer) != image_digest(base, changed)
