# One image for every container of skylift: scheduler, API server, DAG processor, triggerer, migration, Airflow tasks.
#
#   podman build -t skylift/airflow:3.3.2 .          (or: docker build ...; see docs/containers.md)
#
# No secret goes in, not even at build time: containers get credentials from the role of their ECS task.

ARG BASE_IMAGE=python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS builder
# The base's own Python, 3.11 to 3.13, with venv.
ARG PYTHON=python3
ARG LOCK=src/skylift/localcloud/image_locks/airflow-3.3.2.txt
# Certificates of the base's own store, so that a company's CA is one mounted file (docs/containers.md).
ENV UV_SYSTEM_CERTS=true UV_LINK_MODE=copy UV_NO_PROGRESS=1
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY ${LOCK} ./lock.txt
# uv comes from the same lock: pip checks its hash, then uv checks all others.
RUN --mount=type=cache,target=/root/.cache \
    "$PYTHON" -m venv /tmp/tools \
    && sed -n '/^uv==/,/^ *#/p' lock.txt >/tmp/uv.txt \
    && /tmp/tools/bin/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r /tmp/uv.txt \
    && /tmp/tools/bin/uv venv --quiet --no-python-downloads --python "$PYTHON" /opt/skylift \
    && /tmp/tools/bin/uv pip sync --quiet --require-hashes --no-build --compile-bytecode \
        --python /opt/skylift/bin/python lock.txt
# What changes most comes last, and is small.
COPY src ./src
RUN --mount=type=cache,target=/root/.cache \
    /tmp/tools/bin/uv pip install --quiet --no-deps --compile-bytecode --python /opt/skylift/bin/python .
# Airflow's PythonVirtualenvOperator asks uv for "python", and for one that is no virtual environment's: bases may have no such.
RUN mkdir -p /opt/skylift/system/bin \
    && for name in python python3; do ln -s "$(readlink -f /opt/skylift/bin/python)" "/opt/skylift/system/bin/$name"; done
# A folder of the build context whose content becomes the image's DAGs; empty: DAGs come from S3 at run time.
ARG DAGS=""
RUN --mount=type=bind,target=/context \
    mkdir -p /opt/airflow/dags && if [ -n "$DAGS" ]; then cp -R "/context/$DAGS/." /opt/airflow/dags/; fi

FROM ${BASE_IMAGE}
# Group 0 and group rights: the image also runs under a user id that a platform chooses.
RUN echo 'airflow:x:50000:0:airflow:/home/airflow:/bin/sh' >>/etc/passwd \
    && install -d -o 50000 -g 0 -m 0775 /home/airflow /opt/airflow
COPY --from=builder /opt/skylift /opt/skylift
COPY --from=builder --chown=50000:0 /opt/airflow/dags /opt/airflow/dags
# PYTHONUSERBASE: a virtual environment with the system's packages (the operator's default) has Airflow among them.
ENV PATH=/opt/skylift/bin:/opt/skylift/system/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUSERBASE=/opt/skylift \
    LANG=C.UTF-8 \
    HOME=/home/airflow \
    AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    PYTHONUNBUFFERED=1
WORKDIR /opt/airflow
USER 50000:0
ENTRYPOINT ["python", "-m", "skylift.runtime"]
CMD ["airflow", "version"]
