"""Locust users that open a connection to a service for every request."""

from locust import User, task
from locust.exception import StopUser

from harness.load.connect_stage import NewConnections
from harness.load.endpoint_stage import EndpointStage


class ServiceClients(User):
    """One connection after another."""

    op = "endpoints"
    stage = EndpointStage

    @task
    def window(self) -> None:
        """All blocks of its lane."""
        newcomers = NewConnections(self.environment.stage)
        try:
            newcomers.connect_in_blocks()
        finally:
            newcomers.close()
        raise StopUser
