"""What is left after kills, measured: ``python -m tests.reliability``.

Prints the figures of ``SECURITY.md``, with the machine, and ends with 1 if one of them is not as promised there.
"""

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path

from tests.reliability import cache, saving, updates

PARTS = {"saving": saving.report, "cache": cache.report, "updates": updates.report}


def main() -> int:
    """Run the parts that the command line names, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all without")
    parser.add_argument("--kills", type=int, default=1000, help="processes that are killed in each part")
    parser.add_argument("--seconds", type=float, default=60, help="of loading while another process saves")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    print(f"{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    faults: list[str] = []
    for part in chosen.parts or PARTS:
        with tempfile.TemporaryDirectory() as directory:
            faults += PARTS[part](Path(directory).resolve(), chosen.kills, chosen.seconds, chosen.seed)
    for fault in faults:
        print(f"NOT AS PROMISED: {fault}")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
