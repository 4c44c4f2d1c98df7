"""What Ray would print is kept from the user's terminal, and nothing else is."""

import subprocess
import sys

import pytest
from ray._private import worker

from reranker_core.pipeline import prose

LINE = "[2026-11-25 14:05:27,542 I 30524 30524] logging.cc:303: Set ray log level from …\n"


@pytest.mark.parametrize("end", ["pass", "raise SystemExit"])
def test_lines_of_rays_log_are_left_out_and_all_others_come_out_in_order(end):
    program = f"""
import os, sys
from reranker_core.pipeline import prose
try:
    with prose.without_log_lines():
        os.write(2, b"first\\n")
        os.write(2, {LINE!r}.encode())
        print("[a list] of ours", file=sys.stderr)
        {end}
finally:
    print("last", file=sys.stderr)
"""
    ended = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    assert ended.stderr == "first\n[a list] of ours\nlast\n"


def test_messages_of_dead_processes_are_kept_and_not_printed(capsys):
    plain = worker.print_to_stdstream  # if Ray renames it, they are printed again
    message = "Task _map_task failed. There are infinite retries remaining"
    prose.taken()
    with prose.recorded():
        worker.print_to_stdstream({"lines": [message], "pid": "raylet", "is_err": False})
    assert worker.print_to_stdstream is plain
    assert prose.taken() == [message]
    assert prose.taken() == []
    assert capsys.readouterr() == ("", "")
