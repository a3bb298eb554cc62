"""Ctrl-C at the end of a step instead of in the middle of one."""

import signal
import threading


class StopRequests:
    """While active, the first SIGINT or SIGTERM only sets ``requested``; a second one acts as usual.

    Does nothing outside the main thread, where Python delivers no signals.
    """

    def __init__(self):
        self.requested = False
        self._previous: dict[int, object] = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *_):
        self._restore()

    def _request(self, number, frame):
        self.requested = True
        self._restore()

    def _restore(self):
        while self._previous:
            number, handler = self._previous.popitem()
            signal.signal(number, handler)
