"""Ray started in a thread, while the driver opens its ledger and asks for the first points."""

from __future__ import annotations

import threading
from collections.abc import Callable

from rnnsweep.adapters.ray.cluster import RaySettings, connect, heed_again


class EarlyStart:
    """`connect`, and what comes next, in a thread of its own.

    The thread outlives the start: the kernel ends Ray's processes together with the thread that started them.

    Args:
        settings: of the Ray to be started.
        then: called in that thread once Ray is up.
    """

    def __init__(self, settings: RaySettings, then: Callable[[], None]) -> None:
        self._settings, self._then = settings, then
        self._owned = False
        self._error: BaseException | None = None
        self._over, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="Ray's start", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._owned = connect(self._settings)
            self._then()
        except BaseException as error:  # noqa: BLE001 - whatever it is, `result` raises it where it is waited for
            self._error = error
        finally:
            self._over.set()
        self._end.wait()

    def result(self) -> bool:
        """Wait for the start; what `connect` returned.

        Raises:
            BaseException: what the start has raised.
        """
        self.wait()
        if self._error is not None:
            raise self._error
        return self._owned

    def wait(self) -> bool:
        """Wait until Ray is up or could not be started; whether there is one to be ended."""
        self._over.wait()
        heed_again()
        return self._owned

    def end(self) -> None:
        """Ray is gone, or somebody else's: let the thread go."""
        self._end.set()
        self._thread.join()
