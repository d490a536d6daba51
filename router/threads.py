"""The library behind numpy's products, kept to one thread.

Its threads wait for each other in a loop, so beside an engine that keeps every core busy a product
that two of them share takes tens of milliseconds instead of one. numpy does nothing else in a
server that is worth two threads.
"""

from threadpoolctl import threadpool_limits


def one_thread() -> None:
    """Let numpy's products take one thread in this process from now on."""
    threadpool_limits(limits=1, user_api="blas")
