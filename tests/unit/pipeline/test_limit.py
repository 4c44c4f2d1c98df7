"""The time that tokenizing may take."""

import subprocess
import sys

from reranker_core.pipeline.limit import Limit


def test_the_limit_ends_a_process_that_hangs_even_in_native_code_that_holds_the_lock():
    program = (
        "import ctypes; from reranker_core.pipeline.limit import Limit\n"
        "with Limit(0.2) as limit:\n"
        "    limit.restart(0)\n"
        "    ctypes.PyDLL(None).sleep(60)"  # PyDLL does not release it
    )
    ended = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, timeout=50)
    assert ended.returncode == 1
    assert b"Timeout" in ended.stderr


def test_the_limit_grows_with_the_text_and_ends_with_the_work():
    assert Limit(1200).seconds(0) == 60
    assert Limit(10).seconds(0) == 10
    assert Limit(10).seconds(200_000_000) > 1000
    program = (
        "import time; from reranker_core.pipeline.limit import Limit\n"
        "with Limit(0.2) as limit:\n"
        "    limit.restart(0)\n"
        "time.sleep(1)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=50).returncode == 0
