"""Locust users that send and read in bulk at the same time, through the backend's echo."""

from locust import User, task
from locust.exception import StopUser

from harness.load.echo_stage import EchoStage, EchoStream


class BulkBothWays(User):
    """One stream."""

    op = "both-ways"
    stage = EchoStage

    @task
    def window(self) -> None:
        """One window, whole."""
        stream = EchoStream(self.environment.stage)
        try:
            stream.open()
            stream.exchange()
        finally:
            stream.close()
        raise StopUser
