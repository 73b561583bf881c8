"""Two nodes' proxies as they are run, `python -m proxy`, between real namespaces with istio-cni's rules.

The agents and the certificate authority are the tests' own; everything else is the product.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from proxy.tests.bed import CLIENT, HOST, SERVER, VIP, Bed, bed_in, call, echo

pytestmark = pytest.mark.netns


def test_a_connection_through_two_proxies_from_start_to_drain(tmp_path: Path) -> None:
    payload = os.urandom(1_000_000)

    async def story(bed: Bed, peers: list[str]) -> None:
        for address, port in ((SERVER, 8080), (VIP, 80)):
            assert await asyncio.to_thread(call, bed.client, address, port, payload) == payload
        assert peers == [CLIENT, CLIENT]
        assert await asyncio.to_thread(call, bed.client, HOST, 8080, payload) == payload

        sent, received = await bed.a.ask("control", "stats"), await bed.b.ask("control", "stats")
        assert (sent["completed_outbound_hbone"], sent["completed_outbound_passthrough"]) == (2, 1)
        assert (sent["tunnels_opened"], sent["streams_opened"]) == (1, 2)
        assert (received["connects_received"], received["connects_accepted"]) == (2, 2)
        assert (sent["tls_resumptions"], sent["certificates_fetched"]) == (0, 1)

        async with asyncio.TaskGroup() as tasks:
            drops = [tasks.create_task(node.ask("bench", "drop-tunnels")) for node in (bed.a, bed.b)]
        left = {"tunnels_outbound": 0, "tunnels_inbound": 0}
        assert [{name: drop.result()[name] for name in left} for drop in drops] == [left] * 2
        assert await asyncio.to_thread(call, bed.client, SERVER, 8080, b"again") == b"again"
        assert (await bed.a.ask("control", "stats"))["tunnels_opened"] == 2

        bed.mesh("Deny")
        await bed.b.log_has("mesh state in force version=2")
        with pytest.raises(ConnectionResetError):
            await asyncio.to_thread(call, bed.client, SERVER, 8080, b"no")
        await bed.b.log_has('error="explicitly denied by: bench/only-client"')
        assert (await bed.b.ask("control", "stats"))["connects_denied"] == 1

        assert await bed.a.end() == 0
        assert await bed.b.end() == 0
        assert "Traceback" not in (bed.folder / "a/log").read_text() + (bed.folder / "b/log").read_text()

    async def run() -> None:
        async with bed_in(tmp_path) as bed:
            with echo(bed.server, 8080) as peers, echo(bed.host, 8080):
                await story(bed, peers)

    asyncio.run(run())
