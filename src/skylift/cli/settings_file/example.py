"""The commented example of ``skylift.toml``: its reference for people. A test reads it with every line switched on."""

from __future__ import annotations

EXAMPLE = """\
# What `skylift up` makes of this project. Every line is optional. This is also what `skylift toml` prints.
# A change is applied by the next `skylift up`, as an update: proven first, undone if it fails.

# name = "demo"                     # of the environment; default: the folder's name
# class = "mw1.small"               # size
# executors = ["ecs"]               # where Airflow tasks run: "ecs", "batch", "celery"; the first is the default
# schedulers = 1
# workers = { min = 0, max = 5 }    # of "celery"
# webservers = { min = 1, max = 2 }
# maintenance_window = "SUN:02:00"  # UTC
# snapshots = { hours = 24, keep = 7 }  # one a day while skylift runs; the newest seven stay
# role = "arn:aws:iam::000000000000:role/mine"  # an execution role of your own; default: skylift makes one
# [[statements]]                    # what that role may do beside what skylift needs, as IAM says it
# Effect = "Allow"
# Action = ["sqs:SendMessage"]
# Resource = ["arn:aws:sqs:us-east-1:000000000000:orders"]

# [options]                         # Airflow's options
# "core.default_timezone" = "Europe/Berlin"
# "scheduler.catchup_by_default" = false

# [environment]                     # environment variables. All of .env are also set
# GREETING = "hello"
# API_KEY = { env = "API_KEY" }     # a value of .env, or of the shell that types skylift up
# TOKEN = { secret = "prod/api", key = "token" }  # stays in Secrets Manager
# LIMIT = { parameter = "/prod/limit" }           # stays in SSM

# [connections]                     # Airflow's connections: a URI, a table, or where one of both is
# warehouse = { conn_type = "postgres", host = "db.test", login = "etl", password = { env = "DB_PASSWORD" } }
# billing = { secret = "prod/billing" }
# files = "ftp://files.test"

# [variables]                       # Airflow's variables; tables and lists become JSON
# sales_bucket = "sales"
# shops = ["Lisbon", "Porto"]

# [pools]                           # slots by name
# slow = 3

# [logs]                            # levels by module: dag-processing, scheduler, task, webserver, worker
# scheduler = "WARNING"
# worker = "off"
"""


def switched_on() -> str:
    """The example with all its lines in force."""
    lines = EXAMPLE.splitlines()
    kept = [line.removeprefix("# ") for line in lines if line.startswith("# ") and _is_code(line[2:])]
    return "\n".join(kept) + "\n"


def _is_code(line: str) -> bool:
    return line.startswith(("[", '"')) or (line.partition(" = ")[0].replace("_", "").isalnum() and " = " in line)
