"""Starts the jobs of a graph from a process that has imported what they import.

To import pandas, torch and transformers takes most jobs of a small study longer than their work. A
`Forks` imports them once; its `python` is a program that snakemake starts in python's place, and
that has a fork of that process do the work. Code of the project is imported by the fork alone, from
where the job's own PYTHONPATH says.
"""

import os
import subprocess
import sys
from pathlib import Path

SERVER = """
import array, json, os, runpy, signal, socket, sys
import numpy.random, pandas, pyarrow.parquet, pydantic, scipy.sparse, scipy.stats, sklearn.linear_model
import torch, peft, transformers.models.llama.modeling_llama, transformers.models.qwen2.modeling_qwen2

def work(job, files):
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    sys.path[:0] = filter(None, job["environment"].get("PYTHONPATH", "").split(":"))
    option, module, *arguments = job["arguments"]
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0

def finish(code):
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("ready", flush=True)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait for a job
while True:
    connection, _ = listener.accept()
    message, control, _, _ = connection.recvmsg(1 << 20, 1024)
    files = array.array("i")
    for _, _, data in control:
        files.frombytes(data)
    while not message.endswith(b"\\n"):
        message += connection.recv(1 << 20)
    if os.fork() == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        child = os.fork()
        if child == 0:
            connection.close()
            finish(work(json.loads(message), files))
        status = os.waitpid(child, 0)[1]
        connection.sendall(bytes([os.waitstatus_to_exitcode(status) % 256]))
        finish(0)
    connection.close()
    for file in files:
        os.close(file)
"""

CLIENT = """#!{python} -IS
import json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
job = {{"arguments": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}}
socket.send_fds(server, [json.dumps(job).encode() + b"\\n"], [0, 1, 2])
answer = server.recv(1)
sys.exit(answer[0] if answer else 1)
"""


class Forks:
    """A process whose forks do the jobs, and the program that asks it for one.

    Args:
        folder: where the program and the server's address are put; a short path, as addresses are.
    """

    def __init__(self, folder: Path) -> None:
        """Start it, and wait until it has imported everything."""
        address, self.python = folder / "jobs", folder / "python"
        self.python.write_text(CLIENT.format(python=sys.executable, address=str(address)))
        self.python.chmod(0o755)
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(address)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.communicate(timeout=60)
