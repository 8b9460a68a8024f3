"""torchrun that ends with its parent; a module to run, with the arguments of torchrun."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable

from torch.distributed.run import main


def when_parent_ends(act: Callable[[], None]) -> None:
    """Acts soon after the parent of this process has ended, in whatever way."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        act()

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    # torchrun then ends its ranks before itself.
    when_parent_ends(lambda: os.kill(os.getpid(), signal.SIGTERM))
    main(sys.argv[1:])
