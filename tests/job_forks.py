"""Starts the jobs of a graph from a process that has imported what they import.

To import pandas, torch and transformers takes most jobs of a small study longer than their work. A
`Forks` imports them once; its `python` is a program that snakemake starts in python's place, and
that has a fork of that process do the work. Code of the project is imported by the fork alone, from
where the job's own PYTHONPATH says.
"""

import os
import shlex
import subprocess
import sys
from pathlib import Path

SERVER = Path(__file__).with_name("job_server.py")
CLIENT = """
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
        address, client, self.python = folder / "jobs", folder / "client.py", folder / "python"
        client.write_text(CLIENT.format(address=str(address)))
        command = shlex.join([sys.executable, "-IS", str(client)])
        self.python.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        self.python.chmod(0o755)
        self.process = subprocess.Popen(
            [sys.executable, "-P", SERVER, address],
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
