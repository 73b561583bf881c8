"""Locust users that upload in bulk to the backend's sink."""

from locust import User, task
from locust.exception import StopUser

from harness.load.bulk_stage import BulkStage, Upload


class BulkUpload(User):
    """One stream."""

    op = "upload"
    stage = BulkStage

    @task
    def window(self) -> None:
        """All blocks of its lane."""
        stream = Upload(self.environment.stage)
        try:
            stream.open()
            stream.run()
        finally:
            stream.close()
        raise StopUser
