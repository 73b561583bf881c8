"""Locust users that connect all at once, one connection and one request each."""

from locust import User, task
from locust.exception import StopUser

from harness.load.storm_stage import StormConnection, StormStage


class ConnectionStorm(User):
    """One connection."""

    op = "storm"
    stage = StormStage

    @task
    def window(self) -> None:
        """The burst."""
        connection = StormConnection(self.environment.stage)
        try:
            connection.connect_once()
        finally:
            connection.close()
        raise StopUser
