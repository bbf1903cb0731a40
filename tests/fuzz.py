"""Run the property-based tests with new seeds until the time is up, or a test fails.

``python tests/fuzz.py [minutes]`` prints the seed of each round, and after a failure the command
that repeats it.
"""

import os
import secrets
import shlex
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
TESTS = [str(path) for path in sorted(HERE.glob("test_properties*.py"))]


def main(minutes=10.0):
    """Run rounds of all tests; return the exit status of the last one."""
    end, n_rounds = time.monotonic() + 60 * minutes, 0
    environment = os.environ | {"HYPOTHESIS_PROFILE": "fuzz"}
    while time.monotonic() < end:
        seed = secrets.randbelow(2**32)
        options = ["-n", "auto", "--maxprocesses", "4", "-x", "-q", f"--hypothesis-seed={seed}"]
        command = [sys.executable, "-m", "pytest", *options, *TESTS]
        print(f"round {n_rounds + 1}: --hypothesis-seed={seed}", flush=True)
        status = subprocess.run(command, env=environment, check=False).returncode
        if status:
            print(f"Repeat it with: HYPOTHESIS_PROFILE=fuzz {shlex.join(command)}")
            return status
        n_rounds += 1
    print(f"{n_rounds} rounds without a failure")
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:])))
