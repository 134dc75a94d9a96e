# One image for every container of skylift: scheduler, API server, DAG processor, triggerer, migration, Airflow tasks.
#
#   podman build -t skylift/airflow:3.3.2 .          (or: docker build ...; see docs/containers.md)
#
# No secret goes in, not even at build time: containers get credentials from the role of their ECS task.

ARG PYTHON_VERSION=3.12
ARG BASE_IMAGE=python:${PYTHON_VERSION}-slim-bookworm

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
# Other Dockerfiles for Airflow take keys here. They would stay in the image, for everybody who may pull it.
ARG aws_access_key_id=""
ARG aws_secret_access_key=""
ARG aws_session_token=""
RUN if [ -n "$aws_access_key_id$aws_secret_access_key$aws_session_token" ]; then \
        echo "No keys in an image: a container on AWS has the role of its ECS task; to try it here, mount ~/.aws (docs/containers.md)." >&2; \
        exit 1; \
    fi
# The AWS CLI, in an environment of its own, because it wants other versions than Airflow.
ARG AWS_CLI=yes
COPY image/awscli.txt ./
RUN --mount=type=cache,target=/root/.cache \
    mkdir -p /opt/aws \
    && if [ "$AWS_CLI" = yes ]; then \
        /tmp/tools/bin/uv venv --quiet --no-python-downloads --python "$PYTHON" /opt/aws \
        && /tmp/tools/bin/uv pip sync --quiet --require-hashes --no-build --compile-bytecode \
            --python /opt/aws/bin/python awscli.txt; \
    fi
# What changes most comes last, and is small.
COPY src ./src
RUN --mount=type=cache,target=/root/.cache \
    /tmp/tools/bin/uv pip install --quiet --no-deps --compile-bytecode --python /opt/skylift/bin/python .
# Airflow's PythonVirtualenvOperator asks uv for "python", and for one that is no virtual environment's: bases may have no such.
RUN mkdir -p /opt/skylift/system/bin \
    && for name in python python3; do ln -s "$(readlink -f /opt/skylift/bin/python)" "/opt/skylift/system/bin/$name"; done
# A folder of the build context whose content becomes the image's DAGs; empty: DAGs come from S3 at run time.
ARG DAGS=""
ARG host_dag_path=${DAGS}
ARG container_dag_path=/opt/airflow/dags
RUN --mount=type=bind,target=/context \
    mkdir -p "/root/dags$container_dag_path" \
    && if [ -n "$host_dag_path" ]; then cp -R "/context/$host_dag_path/." "/root/dags$container_dag_path/"; fi

FROM ${BASE_IMAGE}
# Group 0 and group rights: the image also runs under a user id that a platform chooses.
RUN echo 'airflow:x:50000:0:airflow:/home/airflow:/bin/sh' >>/etc/passwd \
    && install -d -o 50000 -g 0 -m 0775 /home/airflow /opt/airflow
COPY --from=builder /opt/skylift /opt/skylift
COPY --from=builder /opt/aws /opt/aws
ARG container_dag_path=/opt/airflow/dags
COPY --from=builder --chown=50000:0 /root/dags${container_dag_path} ${container_dag_path}
# s3://bucket/prefix: at each start, what is there is copied to the folder with the DAGs.
ARG s3_url=""
# PYTHONUSERBASE: a virtual environment with the system's packages (the operator's default) has Airflow among them.
ENV PATH=/opt/skylift/bin:/opt/skylift/system/bin:/opt/aws/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUSERBASE=/opt/skylift \
    LANG=C.UTF-8 \
    HOME=/home/airflow \
    AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=${container_dag_path} \
    SKYLIFT_S3_DAGS=${s3_url} \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    PYTHONUNBUFFERED=1
WORKDIR /opt/airflow
USER 50000:0
ENTRYPOINT ["python", "-m", "skylift.runtime"]
CMD ["airflow", "version"]
