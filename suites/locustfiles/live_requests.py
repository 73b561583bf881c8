"""Locust users that send requests on connections which live through the stage.

A user lives for one stage: it connects and warms up before the first turn, sends in the blocks of its lane,
closes after the last. The driver (harness.load.driver) puts the stage at `environment.stage`.
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
        """All blocks of its lane. A Locust task per request would cost 8 us of each."""
        connection = LiveConnection(self.environment.stage)
        try:
            connection.open()
            for intended_ns in connection.requests():
                connection.ask(intended_ns)
        finally:
            connection.close()
        raise StopUser
