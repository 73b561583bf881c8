"""Locust users that upload without end to the backend's sink."""

from locust import User, task
from locust.exception import StopUser

from harness.load.upload_stage import UploadStage, UploadStream


class BulkUpload(User):
    """One stream."""

    op = "upload"
    stage = UploadStage

    @task
    def window(self) -> None:
        """One window, whole, and the sink's answer."""
        stream = UploadStream(self.environment.stage)
        try:
            stream.open()
            stream.upload()
        finally:
            stream.close()
        raise StopUser
