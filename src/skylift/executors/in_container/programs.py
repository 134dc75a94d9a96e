"""The program of a container, as text: the source of ``main``, ``api``, ``stop``, ``stay``; nothing is installed there.

A container's command is a few lines that get the program and run it. With ``[skylift] payload_url`` it comes from S3,
in one object with the workload. Without it, program and workload are in the command, compressed. The author needs
some of RunTask's 8,192 characters too, so there are three forms (``inline``), and the longest that fits is used.
"""

from __future__ import annotations

import ast
import base64
import re
import zlib
from functools import cache
from pathlib import Path
from threading import Lock

from skylift.executors.in_container.api import NEVER_BEGAN
from skylift.executors.in_container.main import ARRAYS, LINE, WORKLOAD_URL, WORKLOADS_URL

__all__ = ["ARRAYS", "LINE", "fetching", "inline", "program"]

WHOLE = ("api.py", "stop.py", "main.py")
STAY = "stay.py"

UNPACK = "import sys,zlib,base64;exec(zlib.decompress(base64.b85decode(sys.argv[1])))"

SMALL = """from airflow.sdk.execution_time import execute_workload as e,supervisor as s,task_runner as t
import os,signal as g,sys
%(executors)sA,X=s.ActivitySubprocess,t._execute_task
M=A._monitor_subprocess
def x(**k):
 def h(*a):g.getsignal(15)(*a);sys.exit('The container was told to stop, and not by Airflow')
 g.signal(10,h)
 return X(**k)
A._monitor_subprocess=lambda p:(g.signal(15,lambda*_:os.kill(p.pid,10)),M(p))
t._execute_task=x
sys.argv[1:]='--json-string',%(workload)r
e.main()"""
"""Where the whole program has no room: Airflow's own way to run a workload, with a stop from outside as a failure.

The supervisor passes the stop on as SIGUSR1, so that what Airflow itself sends (SIGTERM) is as ever. How far it came,
the executor asks Airflow's database.
"""

CLIENT = "(sys.modules.get('skylift.aws.clients')or __import__('boto3')).client('s3')"
"""The image's own boto3; where a container is a fork of something that has prepared clients, one of these."""

FETCH = f"""import os,sys
try:
 s={CLIENT};b,_,k=os.environ['%(name)s'][5:].partition('/')
 %(line)sp=s.get_object(Bucket=b,Key=k%(range)s)['Body'].read()
except Exception:sys.excepthook(*sys.exc_info());sys.exit({NEVER_BEGAN})
exec(p[:%(size)d]);%(call)s"""

ARRAY_LINE = f"""i={LINE}*int(os.environ['AWS_BATCH_JOB_ARRAY_INDEX']);r='bytes=%%d-%%d'%%(i,i+{LINE - 1})
 l=s.get_object(Bucket=b,Key=k,Range=r)['Body'].read();k='/'.join([*k.split('/')[:-2],l.decode().strip()])
 """
"""A child of an array finds the name of its workload's object in its line of ``{prefix}/arrays/{array}``."""

_ONE_PARSES = Lock()
"""``ast`` in two threads of one process fails now and then up to Python 3.11: "AST constructor recursion depth
mismatch" (a SystemError; https://github.com/python/cpython/issues/106905), when the collector runs Python code in
between. It would fail the first Airflow tasks of a scheduler."""


def program(executors: str, *, stay: bool = False) -> bytes:
    """What an object in S3 begins with, before its workload; the command of ``fetching`` runs it.

    Args:
        executors: value of ``[core] executor`` in the container; "" to leave it.
        stay: for a container that stays for more workloads.
    """
    return f"{text(*WHOLE, *([STAY] if stay else []))}\nEXECUTORS={executors!r}\n".encode()


def fetching(size: int, *, stay: bool = False, array: bool = False) -> tuple[str, ...]:
    """The command that fetches an object, runs its first ``size`` bytes, and gives them the rest.

    Args:
        stay: leave the workload to its own process, so that nothing of it is in the memory of the next.
        array: for all children of an array job.
    """
    words = {
        "name": WORKLOADS_URL if array else WORKLOAD_URL,
        "line": ARRAY_LINE.replace("%%", "%") if array else "",
        "range": f",Range='bytes=0-{size - 1}'" if stay else "",
        "size": size,
        "call": f"stay({size})" if stay else f"main(p[{size}:],s,b,k)",
    }
    return "python", "-c", FETCH % words


def inline(executors: str, workload: str) -> tuple[tuple[str, ...], ...]:
    """Commands that contain the program and the workload: the one that does most first, the shortest last.

    The last is the amazon provider's: wherever its command fits, one of these does.
    """
    whole = f"{text(*WHOLE)}\nEXECUTORS={executors!r}\nmain({workload.encode()!r})"
    listed = f"os.environ['AIRFLOW__CORE__EXECUTOR']={executors!r}\n" if executors else ""
    small = SMALL % {"executors": listed, "workload": workload}
    airflows = ("python", "-m", "airflow.sdk.execution_time.execute_workload", "--json-string", workload)
    return _packed(whole), _packed(small), airflows


def _packed(program: str) -> tuple[str, ...]:
    return "python", "-c", UNPACK, base64.b85encode(zlib.compress(program.encode(), 9)).decode()


def text(*names: str) -> str:
    """Source text of these files in one, without docstrings, argument annotations, comments and our own imports."""
    with _ONE_PARSES:
        return _text(names)


@cache
def _text(names: tuple[str, ...]) -> str:
    trees = [ast.parse(Path(__file__).with_name(name).read_text()) for name in names]
    whole = ast.Module([node for tree in trees for node in tree.body if not _is_import_of_ours(node)], [])
    for node in ast.walk(whole):
        _strip(node)
    # ``unparse`` drops the comments; we indent by one space instead of four.
    return re.sub(
        r"(?m)^(?: {4})+", lambda found: " " * (len(found[0]) // 4), re.sub(r"\n\n+", "\n", ast.unparse(whole))
    )


def _is_import_of_ours(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and str(node.module).startswith(("skylift", "__future__"))


def _strip(node: ast.AST) -> None:
    if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
        node.body = [one for one in node.body if not _is_docstring(one)] or [ast.Pass()]
    if isinstance(node, ast.FunctionDef):
        node.returns = None
        for argument in node.args.args:
            argument.annotation = None


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
