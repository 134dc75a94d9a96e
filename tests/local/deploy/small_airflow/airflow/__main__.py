"""Airflow's command line: ``db migrate`` makes a database, ``api-server`` answers for its health, the rest waits."""

from __future__ import annotations

import http.server
import json
import os
import sqlite3
import sys
import time

PARTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")
FILE = os.environ.get("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "").partition("sqlite:///")[2]


class Health(http.server.BaseHTTPRequestHandler):
    """Answers every question with the same health."""

    def do_GET(self) -> None:
        """Airflow's words."""
        self.send_response(200)
        self.end_headers()
        status = os.environ.get("STATUS", "healthy")
        self.wfile.write(json.dumps({part: {"status": status} for part in PARTS}).encode())


def main() -> None:
    """Does what the arguments say."""
    command = sys.argv[1]
    # One write: print makes one for each word when Python is unbuffered, and the components share the log.
    sys.stdout.write(f"{command} runs\n")
    if command == "db":
        with sqlite3.connect(FILE) as database:
            database.execute("CREATE TABLE IF NOT EXISTS starts (at REAL)")
            database.execute("INSERT INTO starts VALUES (?)", (time.time(),))
            count = database.execute("SELECT count(*) FROM starts").fetchone()[0]
        sys.stdout.write(f"start number {count}\n")
    elif command == "api-server":
        address, port = sys.argv[sys.argv.index("--host") + 1], int(sys.argv[sys.argv.index("--port") + 1])
        http.server.HTTPServer((address, port), Health).serve_forever()
    elif command == os.environ.get("ENDS"):
        sys.exit(3)
    else:
        time.sleep(600)
