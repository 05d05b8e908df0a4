"""Play the attacks of tests/support/attack_scene.py among many established sockets, and print what was alarmed on.

python tests/tools/attacks.py [SOCKETS]    18,000 by default; needs what the suite's network namespaces need
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))

from support import namespace


def main() -> int:
    seen = namespace.play("attacks", sys.argv[1] if sys.argv[1:] else "18000", "none", script=namespace.ATTACKS)
    print(f"{seen['established']} established sockets, {seen['reports']} reports")
    for reading, summary, value in seen["events"]:
        print(f"reading {reading}: {summary} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
