"""Locust users that send requests on connections which live through the window.

A user lives for one window: it connects and warms up before the window opens, sends while it is open,
closes after it. The driver (harness.load.driver) puts the window at `environment.stage`.
"""

from locust import User, task
from locust.exception import StopUser

from harness.load.request_stage import LiveConnection, RequestStage


class LiveRequests(User):
    """Back to back, or in turns at a fixed rate, whichever the stage says."""

    op = "requests"
    stage = RequestStage

    @task
    def window(self) -> None:
        """One window, whole. A Locust task per request would cost 8 us of each."""
        connection = LiveConnection(self.environment.stage)
        try:
            connection.open()
            for intended_ns in connection.turns():
                connection.ask(intended_ns)
        finally:
            connection.close()
        raise StopUser
