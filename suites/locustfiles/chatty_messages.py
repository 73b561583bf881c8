"""Locust users that send messages in many small writes."""

from locust import User, task
from locust.exception import StopUser

from harness.load.chatty_stage import ChattyConnection, ChattyStage


class ChattyMessages(User):
    """One message after another."""

    op = "chatty"
    stage = ChattyStage

    @task
    def window(self) -> None:
        """All blocks of its lane."""
        connection = ChattyConnection(self.environment.stage)
        try:
            connection.open()
            connection.chat()
        finally:
            connection.close()
        raise StopUser
