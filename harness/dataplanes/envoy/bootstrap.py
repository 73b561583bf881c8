"""Envoy's configuration for one pod: HBONE both ways, as its own documents describe CONNECT. Pure.

Outbound: what the rules bring to 15001 gets its destination back, and goes into a tunnel where that is a
pod of the mesh, else on as it is. One TCP proxy does the tunnelling: the internal listeners that Istio puts
between are for HTTP inside of tunnels, and would only cost here. Inbound: 15008 ends tunnels, 15006
takes plaintext; both dial the app under the client's address.

Each side writes a line for each connection, as ztunnel does: a data plane that says nothing would have less
to do than one that does.

Clusters to other pods come from a file (`clusters`): replacing it makes Envoy leave its tunnels, for which
it has no command.

Source: envoyproxy/envoy docs, "HTTP upgrades", "Original source", "Original destination", 1.40.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.agent.rules.marks import HBONE_PORT, INBOUND_PORT, OUTBOUND_PORT, PROXY
from harness.controlplane.client import Leaf
from harness.topology.model import Pod, Topology

Json = dict[str, Any]

STREAMS_PER_TUNNEL = 100
"""As ztunnel's POOL_MAX_STREAMS_PER_CONNECTION."""
STREAM_WINDOW_BYTES = 4 << 20
CONNECTION_WINDOW_BYTES = 16 << 20
"""As ztunnel's."""

SOL_SOCKET, SO_MARK = 1, 36
"""asm-generic/socket.h."""

_TYPE = "type.googleapis.com/envoy"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

_HTTP2: Json = {
    "max_concurrent_streams": STREAMS_PER_TUNNEL,
    "initial_stream_window_size": STREAM_WINDOW_BYTES,
    "initial_connection_window_size": CONNECTION_WINDOW_BYTES,
}


def bootstrap(pod: Pod, topology: Topology, leaf: Leaf, *, admin: Path, clusters: Path) -> Json:
    """All of it but the clusters of other pods. Holds the pod's key.

    Args:
        pod: Whose namespace Envoy runs in.
        topology: Who else is in the mesh.
        leaf: The pod's identity.
        admin: Unix socket of Envoy's administration.
        clusters: File that `discovery` was written to.
    """
    return {
        "node": {"id": pod.name, "cluster": "ambientbench"},
        "admin": {"address": {"pipe": {"path": str(admin), "mode": 0o600}}},
        "dynamic_resources": {
            "cds_config": {
                "resource_api_version": "V3",
                "path_config_source": {
                    "path": str(clusters),
                    "watched_directory": {"path": str(clusters.parent)},
                },
            }
        },
        "static_resources": {
            "listeners": [_outbound(pod, topology), _inbound_hbone(pod), _inbound_plaintext()],
            "clusters": [_onward(), _to_app()],
            "secrets": [
                {
                    "name": "leaf",
                    "tls_certificate": {
                        "certificate_chain": {"inline_string": leaf.chain},
                        "private_key": {"inline_string": leaf.key},
                    },
                },
                {
                    "name": "root",
                    "validation_context": {"trusted_ca": {"inline_string": leaf.root}},
                },
            ],
        },
    }


def discovery(pod: Pod, topology: Topology, version: int) -> Json:
    """The clusters to other pods, each version of them unlike the others, so that Envoy makes them anew."""
    return {
        "version_info": str(version),
        "resources": [
            {"@type": f"{_TYPE}.config.cluster.v3.Cluster", **_hbone(other, version)}
            for other in _peers(pod, topology)
        ],
    }


def _peers(pod: Pod, topology: Topology) -> list[Pod]:
    """Pods that are reached through a tunnel; what a pod sends to itself is never captured."""
    return [other for other in topology.pods if other.captured and other.name != pod.name]


def _outbound(pod: Pod, topology: Topology) -> Json:
    chains = [
        {
            "name": f"hbone-{other.name}",
            "filter_chain_match": {
                "prefix_ranges": [{"address_prefix": str(other.address), "prefix_len": 32}]
            },
            "filters": [
                _tcp_proxy(
                    "hbone",
                    f"hbone-{other.name}",
                    tunneling_config={"hostname": "%DOWNSTREAM_LOCAL_ADDRESS%"},
                )
            ],
        }
        for other in _peers(pod, topology)
    ]
    return {
        "name": "outbound",
        "stat_prefix": "outbound",
        "address": _address("0.0.0.0", OUTBOUND_PORT),  # noqa: S104  the pod's own namespace
        "listener_filters": [_ORIGINAL_DESTINATION],
        "filter_chains": chains,
        "default_filter_chain": {"name": "passthrough", "filters": [_tcp_proxy("passthrough", "onward")]},
    }


def _inbound_hbone(pod: Pod) -> Json:
    manager = {
        "@type": f"{_TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "inbound",
        "codec_type": "HTTP2",
        "access_log": [_line("inbound")],
        "stream_idle_timeout": "0s",
        "http2_protocol_options": {**_HTTP2, "allow_connect": True},
        "upgrade_configs": [{"upgrade_type": "CONNECT"}],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "pod",
                    "domains": [f"{pod.address}:*"],
                    "routes": [
                        {
                            "match": {"connect_matcher": {}},
                            "route": {
                                "cluster": "app",
                                "timeout": "0s",
                                "upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}],
                            },
                        }
                    ],
                }
            ]
        },
        "http_filters": [
            {
                "name": "original_src",
                "typed_config": {
                    "@type": f"{_TYPE}.extensions.filters.http.original_src.v3.OriginalSrc",
                    "mark": PROXY,
                },
            },
            {
                "name": "router",
                "typed_config": {"@type": f"{_TYPE}.extensions.filters.http.router.v3.Router"},
            },
        ],
    }
    tls = {
        "@type": f"{_TYPE}.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": True,
        "disable_stateless_session_resumption": True,
        "disable_stateful_session_resumption": True,
        "common_tls_context": _tls(),
    }
    return {
        "name": "inbound_hbone",
        "stat_prefix": "inbound_hbone",
        "address": _address("0.0.0.0", HBONE_PORT),  # noqa: S104  the pod's own namespace
        "filter_chains": [
            {
                "transport_socket": {"name": "tls", "typed_config": tls},
                "filters": [{"name": "http", "typed_config": manager}],
            }
        ],
    }


def _inbound_plaintext() -> Json:
    source = {
        "name": "original_src",
        "typed_config": {
            "@type": f"{_TYPE}.extensions.filters.listener.original_src.v3.OriginalSrc",
            "mark": PROXY,
        },
    }
    return {
        "name": "inbound_plaintext",
        "stat_prefix": "inbound_plaintext",
        "address": _address("0.0.0.0", INBOUND_PORT),  # noqa: S104  the pod's own namespace
        "listener_filters": [_ORIGINAL_DESTINATION, source],
        "filter_chains": [{"filters": [_tcp_proxy("plaintext", "onward")]}],
    }


def _hbone(other: Pod, version: int) -> Json:
    tls = {
        "@type": f"{_TYPE}.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "max_session_keys": 0,
        "common_tls_context": _tls(other),
    }
    return {
        "name": f"hbone-{other.name}",
        "alt_stat_name": "hbone",
        "type": "STATIC",
        "connect_timeout": f"10.{version:09d}s",
        "load_assignment": {
            "cluster_name": f"hbone-{other.name}",
            "endpoints": [
                {
                    "lb_endpoints": [
                        {"endpoint": {"address": _address(str(other.address), HBONE_PORT)}},
                    ]
                }
            ],
        },
        "typed_extension_protocol_options": {
            _HTTP_OPTIONS: {
                "@type": f"type.googleapis.com/{_HTTP_OPTIONS}",
                "explicit_http_config": {"http2_protocol_options": _HTTP2},
            }
        },
        "transport_socket": {"name": "tls", "typed_config": tls},
        "upstream_bind_config": _MARKED,
    }


def _onward() -> Json:
    """To where the connection was going, in plaintext."""
    return {
        "name": "onward",
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "upstream_bind_config": _MARKED,
    }


def _to_app() -> Json:
    """To what the CONNECT names; the virtual host has seen to it that this is the pod's own address."""
    return {
        **_onward(),
        "name": "app",
        "original_dst_lb_config": {"use_http_header": True, "http_header_name": ":authority"},
    }


def _tls(other: Pod | None = None) -> Json:
    """Mutual TLS 1.3; the peer has to be `other`, or anybody of the mesh."""
    validation: Json = {}
    if other is not None:
        name = {"san_type": "URI", "matcher": {"exact": other.spiffe_id}}
        validation = {"match_typed_subject_alt_names": [name]}
    return {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
        "alpn_protocols": ["h2"],
        "tls_certificate_sds_secret_configs": [{"name": "leaf"}],
        "combined_validation_context": {
            "default_validation_context": validation,
            "validation_context_sds_secret_config": {"name": "root"},
        },
    }


def _tcp_proxy(stat_prefix: str, cluster: str, **settings: Mapping[str, object]) -> Json:
    return {
        "name": "tcp",
        "typed_config": {
            "@type": f"{_TYPE}.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": stat_prefix,
            "cluster": cluster,
            "access_log": [_line(stat_prefix)],
            **settings,
        },
    }


def _line(direction: str) -> Json:
    """An access log, with what ztunnel's lines say and Envoy knows."""
    text = (
        "%START_TIME% src.addr=%DOWNSTREAM_REMOTE_ADDRESS% dst.addr=%DOWNSTREAM_LOCAL_ADDRESS% "
        'dst.hbone_addr=%UPSTREAM_HOST% dst.identity="%UPSTREAM_PEER_URI_SAN%" '
        f'src.identity="%DOWNSTREAM_PEER_URI_SAN%" direction="{direction}" bytes_sent=%BYTES_SENT% '
        'bytes_recv=%BYTES_RECEIVED% duration="%DURATION%ms" flag="%RESPONSE_FLAGS%"\n'
    )
    return {
        "name": "stdout",
        "typed_config": {
            "@type": f"{_TYPE}.extensions.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": {"text_format_source": {"inline_string": text}},
        },
    }


def _address(address: str, port: int) -> Json:
    return {"socket_address": {"address": address, "port_value": port}}


_ORIGINAL_DESTINATION: Json = {
    "name": "original_dst",
    "typed_config": {"@type": f"{_TYPE}.extensions.filters.listener.original_dst.v3.OriginalDst"},
}

_MARKED: Json = {
    "source_address": {"address": "0.0.0.0", "port_value": 0},  # noqa: S104  no address of its own choice
    "socket_options": [
        {"level": SOL_SOCKET, "name": SO_MARK, "int_value": PROXY, "state": "STATE_PREBIND"},
    ],
}
"""On every socket that Envoy opens, so that its own connections are not captured again."""
