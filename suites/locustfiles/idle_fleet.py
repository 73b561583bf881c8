"""Locust users that hold a connection through the window and say nothing meanwhile."""

from locust import User, task
from locust.exception import StopUser

from harness.load.fleet_stage import FleetMember, FleetStage


class IdleFleet(User):
    """One connection."""

    op = "fleet"
    stage = FleetStage

    @task
    def window(self) -> None:
        """One window, and a request after it."""
        member = FleetMember(self.environment.stage)
        try:
            member.open()
            member.prove()
        finally:
            member.close()
        raise StopUser
