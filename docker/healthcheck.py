"""The container's health check: whether the server is ready. ``/ready`` needs no key."""

import os
import sys
import urllib.request

TIMEOUT_S = 4


def main() -> int:
    """0 once the server answers 200, 1 as long as it does not."""
    url = f"http://127.0.0.1:{os.environ.get('LORALLOY_PORT', '8000')}/ready"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            print(answer.read().decode())
    except OSError as error:  # HTTPError is one
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
