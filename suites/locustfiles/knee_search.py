"""Locust users whose live connections are asked at one rate after another."""

from locust import User, task
from locust.exception import StopUser

from harness.load.knee_stage import KneeStage
from harness.load.request_stage import LiveConnection


class KneeSearch(User):
    """One connection, in turns with the others."""

    op = "knee"
    stage = KneeStage

    @task
    def window(self) -> None:
        """All steps."""
        connection = LiveConnection(self.environment.stage)
        try:
            connection.open()
            for intended_ns in connection.requests():
                connection.ask(intended_ns)
        finally:
            connection.close()
        raise StopUser
