"""Locust users that open a connection for every request."""

from locust import User, task
from locust.exception import StopUser

from harness.load.connect_stage import ConnectStage, NewConnections


class Newcomers(User):
    """One connection after another."""

    op = "connects"
    stage = ConnectStage

    @task
    def window(self) -> None:
        """All blocks of its lane."""
        newcomers = NewConnections(self.environment.stage)
        try:
            newcomers.connect_in_blocks()
        finally:
            newcomers.close()
        raise StopUser
