"""Locust users that send and read in bulk at the same time, through the backend's echo."""

from locust import User, task
from locust.exception import StopUser

from harness.load.bulk_stage import BothWays, BulkStage


class BulkBothWays(User):
    """One stream."""

    op = "both-ways"
    stage = BulkStage

    @task
    def window(self) -> None:
        """All blocks of its lane."""
        stream = BothWays(self.environment.stage)
        try:
            stream.open()
            stream.run()
        finally:
            stream.close()
        raise StopUser
