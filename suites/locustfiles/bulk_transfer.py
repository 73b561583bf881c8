"""Locust users that download without end from the backend's source."""

from locust import User, task
from locust.exception import StopUser

from harness.load.transfer_stage import BulkStream, TransferStage


class BulkTransfer(User):
    """One stream."""

    op = "transfer"
    stage = TransferStage

    @task
    def window(self) -> None:
        """One window, whole."""
        stream = BulkStream(self.environment.stage)
        try:
            stream.open()
            stream.download()
        finally:
            stream.close()
        raise StopUser
