"""The Docker engine as a place for images. The client is handed in: only `docker` imports the library."""

from __future__ import annotations

import io
import json
import logging
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.engines import supplies
from harness.engines.supplies import Release
from harness.errors import EnvironmentUnfit, RunFailed

log = logging.getLogger("harness.engines.images")

BUILD_LOG_LINES = 12


def public_base(release: Release) -> str:
    """The image that is pulled by digest where a registry answers and mmdebstrap cannot be used."""
    return f"debian:{release.name}-slim"


class DockerImages:
    """Builds and names images on one engine."""

    def __init__(self, client: Any, probe: Any, failures: tuple[type[Exception], ...]) -> None:
        """Args:
        client: The engine's API client.
        probe: One with a short timeout, to ask whether a registry answers.
        failures: What the clients raise.
        """
        self._client = client
        self._probe = probe
        self._failures = failures

    def exists(self, tag: str) -> bool:
        """Whether an image of that name is there."""
        return bool(self._client.images(name=tag, quiet=True))

    def latest(self, tag: str) -> None:
        """Let `:latest` of the tag's repository be this image."""
        repository = tag.rpartition(":")[0]
        self._client.tag(tag, repository, "latest")

    def build(self, tag: str, context: bytes, arguments: Mapping[str, str]) -> None:
        """Build from a tar, without network, with the builder that every engine has.

        Raises:
            RunFailed: A step failed; the last lines of its output are in the message.
        """
        lines: list[str] = []
        stream = self._client.build(
            fileobj=io.BytesIO(context),
            custom_context=True,
            tag=tag,
            buildargs=dict(arguments),
            network_mode="none",
            rm=True,
            forcerm=True,
            decode=True,
        )
        for message in stream:
            lines += [line for line in message.get("stream", "").splitlines() if line.strip()]
            if "error" in message:
                said = "\n  ".join([*lines[-BUILD_LOG_LINES:], message["error"].strip()])
                raise RunFailed(f"build image {tag}:\n  {said}")

    def load_root(
        self, tag: str, release: Release, told: Callable[[str], None], debs: Mapping[str, tuple[str, ...]]
    ) -> None:
        """A bare Debian root, made by mmdebstrap or else pulled, with the packages in the cache.

        Raises:
            EnvironmentUnfit: Neither way is open; both reasons are in the message.
        """
        unfit = supplies.bootstrap_unfit()
        if unfit is None:
            archive = supplies.bootstrap(release, debs, told) / "root.tar"
            repository, _, version = tag.rpartition(":")
            answer = self._client.import_image_from_file(str(archive), repository=repository, tag=version)
            failed = [line for line in str(answer).splitlines() if "error" in json.loads(line or "{}")]
            if failed:
                raise RunFailed(f"import {archive} as {tag}: {failed[0]}")
            return
        public = public_base(release)
        digest = self._public_digest(public, unfit)
        told(f"pulling {public} ({digest})")
        name = f"debian@{digest}"
        self._client.pull(name)
        repository, _, version = tag.rpartition(":")
        self._client.tag(name, repository, version)
        self._download(name, release, debs, told)

    def _public_digest(self, public: str, unfit: str) -> str:
        try:
            found: str = self._probe.inspect_distribution(public)["Descriptor"]["digest"]
        except self._failures as exc:
            raise EnvironmentUnfit(
                f"make a base image: {unfit}, and no registry answers for {public} ({exc}); "
                "either is enough: install mmdebstrap, or log in to a registry"
            ) from exc
        return found

    def _download(
        self,
        image: str,
        release: Release,
        packages: Mapping[str, tuple[str, ...]],
        told: Callable[[str], None],
    ) -> None:
        """Fetch the packages with the pulled image's own apt: the host may be another distribution."""
        final = supplies.debian_folder(release, packages)
        if final.exists():
            return
        told("fetching Debian packages")
        with supplies.making(final) as folder:
            script = ["set -e", "apt-get --quiet update"]
            for name, wanted in packages.items():
                if wanted:
                    (folder / "debs" / name).mkdir(parents=True)
                    target = f"/fetched/debs/{name}"
                    script.append(
                        "apt-get --quiet --yes --no-install-recommends --download-only "
                        f"-o Dir::Cache::Archives={target} install {shlex.join(wanted)}"
                    )
            # Root inside, whoever asked outside: hand the files over, and let them be removed later.
            script.append(f"chown -R {folder.stat().st_uid}:{folder.stat().st_gid} /fetched")
            self._run(image, "\n".join(script), folder)

    def _run(self, image: str, script: str, folder: Path) -> None:
        # label=disable: where SELinux is enforced, the folder would be out of reach
        host = self._client.create_host_config(
            binds=[f"{folder}:/fetched:rw"], security_opt=["label=disable"]
        )
        created = self._client.create_container(image, ["sh", "-c", script], host_config=host)
        try:
            self._client.start(created["Id"])
            code = self._client.wait(created["Id"])["StatusCode"]
            if code != 0:
                said = bytes(self._client.logs(created["Id"])).decode(errors="replace").strip().splitlines()
                raise RunFailed(
                    f"fetch Debian packages in {image}: exit code {code}: {' | '.join(said[-4:])}"
                )
        finally:
            self._client.remove_container(created["Id"], force=True)
