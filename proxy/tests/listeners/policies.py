"""Who is who in the cluster, and policies over them."""

from __future__ import annotations

from proxy.identity.spiffe import SpiffeId
from proxy.rbac import Action, Match, Policy, Scope, StringKind, StringMatch

CLIENT, SERVER = SpiffeId("cluster.local", "ns", "client"), SpiffeId("cluster.local", "ns", "server")


def policy(action: Action, *matches: Match, name: str = "policy", namespace: str = "ns") -> Policy:
    scope = Scope.NAMESPACE if namespace else Scope.GLOBAL
    return Policy(name=name, namespace=namespace, scope=scope, action=action, rules=((matches,),))


ALLOW_OTHERS = policy(
    Action.ALLOW, Match(principals=(StringMatch(StringKind.EXACT, "cluster.local/ns/ns/sa/other"),))
)
STRICT = policy(
    Action.DENY, Match(not_principals=(StringMatch(StringKind.PRESENCE, ""),)), name="strict", namespace=""
)
