"""``python -m server``: the same as ``loralloy serve``."""

import sys

from server.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["serve"]
    main()
