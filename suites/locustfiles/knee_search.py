"""Locust users whose live connections are asked at one rate after another."""

from locust import User, task
from locust.exception import StopUser

from harness.load.knee_stage import KneeConnection, KneeStage


class KneeSearch(User):
    """One connection, in turns with the others."""

    op = "knee"
    stage = KneeStage

    @task
    def window(self) -> None:
        """All steps."""
        connection = KneeConnection(self.environment.stage)
        try:
            connection.open()
            for _ in connection.steps():
                for intended_ns in connection.turns():
                    connection.ask(intended_ns)
        finally:
            connection.close()
        raise StopUser
