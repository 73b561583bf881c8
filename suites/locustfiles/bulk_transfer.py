"""Locust users that download in bulk from the backend's source."""

from locust import User, task
from locust.exception import StopUser

from harness.load.bulk_stage import BulkStage, Download


class BulkTransfer(User):
    """One stream."""

    op = "transfer"
    stage = BulkStage

    @task
    def window(self) -> None:
        """All blocks of its lane."""
        stream = Download(self.environment.stage)
        try:
            stream.open()
            stream.run()
        finally:
            stream.close()
        raise StopUser
