"""Does each job it is asked for in a fork of itself, asked by tests/job_forks.py.

Run as a script with the address of its socket. A job is one message: arguments, folder and
environment as JSON, with the files that its input, output and errors go to.
"""

import array
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any

IMPORTS = [
    "pandas",
    "pyarrow.dataset",
    "pydantic.main",
    "pydantic.types",
    "scipy.sparse",
    "scipy.stats",
    "sklearn.linear_model",
    "matplotlib.figure",
    "matplotlib.backends.backend_svg",
    "peft",
    "transformers.models.llama.modeling_llama",
    "transformers.models.qwen2.modeling_qwen2",
]
"""What jobs of a small study import and is none of the project's."""


def work(job: dict[str, Any], files: Sequence[int]) -> int:
    """Run a module as `python -m` would; its exit code."""
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    sys.path[:0] = filter(None, job["environment"].get("PYTHONPATH", "").split(":"))
    _, module, *arguments = job["arguments"]
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # as the interpreter would
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def receive(connection: socket.socket) -> tuple[dict[str, Any], Sequence[int]]:
    """A job and its files."""
    message, control, _, _ = connection.recvmsg(1 << 20, 1024)
    files = array.array("i")
    for _, _, data in control:
        files.frombytes(data)
    while not message.endswith(b"\n"):
        message += connection.recv(1 << 20)
    return json.loads(message), files


def answer(connection: socket.socket) -> None:
    """Do the job in a fork, wait for it and tell its exit code; does not return."""
    job, files = receive(connection)
    child = os.fork()
    if child == 0:
        connection.close()
        _end(work(job, files))
    _, status = os.waitpid(child, 0)
    connection.sendall(bytes([os.waitstatus_to_exitcode(status) % 256]))
    _end(0)


def _end(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def serve(address: str) -> None:
    """Say that everything is imported, then do jobs until ended."""
    for name in IMPORTS:
        importlib.import_module(name)
    gc.freeze()  # a fork looks through its own objects alone
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    print("ready", flush=True)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait for a job
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            answer(connection)
        connection.close()


if __name__ == "__main__":
    serve(sys.argv[1])
