"""deploy/nginx: a real nginx, by the file that is installed, before the real application on a port of this machine.

Only where it listens, its certificate and its logs are other than in the file.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from monero_escrow.monero.processes import free_port
from monero_escrow.monero.waiting import until
from monero_escrow.service import _Server
from monero_escrow.web.limits import MOST_BATCH_BYTES, MOST_BODY_BYTES
from monero_escrow.web.pages.install import live_of
from prometheus import DEPLOY, ROOT
from web.world import World, order_body

SITE = DEPLOY / "nginx" / "monero-escrow.conf"
NAME = "escrow.example.com"
SHORT_SECONDS = 1
"""In the place of the ten that a header and a body have to come."""


@cache
def nginx() -> str:
    """The program, as scripts/get-nginx finds or brings it."""
    found = subprocess.run([ROOT / "scripts" / "get-nginx"], check=True, capture_output=True, text=True)
    return found.stdout.splitlines()[-1]


def make_certificate(folder: Path) -> None:
    """A self-signed one for the site's name."""
    key, name, now = ec.generate_private_key(ec.SECP256R1()), _name(), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "fullchain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "privkey.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def _name() -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])


class ToTheSite(httpx2.AsyncHTTPTransport):
    """Goes to the port, and asks TLS for the site by its name."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.extensions = {**request.extensions, "sni_hostname": NAME}
        return await super().handle_async_request(request)


@dataclass(frozen=True)
class Edge:
    """nginx, the application behind it, and the ports of the two servers and of plain HTTP."""

    world: World
    folder: Path
    port: int
    plain_port: int

    def client(self, who: str | None = "shop") -> httpx2.AsyncClient:
        """Somebody who trusts this certificate, with this one's key or with none."""
        headers = {"Host": NAME} | ({"Authorization": f"Bearer {self.world.keys[who]}"} if who else {})
        return httpx2.AsyncClient(
            base_url=f"https://127.0.0.1:{self.port}",
            headers=headers,
            transport=ToTheSite(verify=self.tls()),
            timeout=30,
        )

    def tls(self) -> ssl.SSLContext:
        """Trusts the site's certificate, for its name, and nothing else."""
        return ssl.create_default_context(cafile=str(self.folder / "fullchain.pem"))

    def logged(self) -> str:
        """All that nginx has written down."""
        return "".join(file.read_text() for file in sorted(self.folder.glob("*.log")))


def configured(folder: Path, upstream_port: int, port: int, plain_port: int) -> Path:
    """The site's file within the rest that Debian's nginx.conf has, all its files in this folder."""
    site = SITE.read_text()
    site = re.sub(r"^\s*listen \[::\]:.*\n", "", site, flags=re.M)
    for there, here in {
        "listen 443 ": f"listen 127.0.0.1:{port} ",
        "listen 80": f"listen 127.0.0.1:{plain_port}",
        "server 127.0.0.1:8080": f"server 127.0.0.1:{upstream_port}",
        "/etc/ssl/monero-escrow": str(folder),
        "/var/log/nginx": str(folder),
        "client_header_timeout 10s": f"client_header_timeout {SHORT_SECONDS}s",
        "client_body_timeout 10s": f"client_body_timeout {SHORT_SECONDS}s",
    }.items():
        assert there in site
        site = site.replace(there, here)
    folders = "".join(
        f"{kind}_temp_path {folder / kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(
        f"{'user root;' if os.geteuid() == 0 else ''}\ndaemon off;\nworker_processes 1;\npid {folder / 'pid'};\n"
        f"error_log {folder / 'main.log'} error;\nevents {{ worker_connections 512; }}\n"
        f"http {{\naccess_log off;\n{folders}{site}\n}}\n"
    )
    return config


async def _answers(ask: Callable[[], Awaitable[object]]) -> None:
    async def it_does() -> bool:
        try:
            await ask()
        except httpx2.TransportError:
            return False
        return True

    await until(it_does, limit_seconds=8)


@pytest.fixture
def web_settings() -> dict[str, Any]:
    """As deploy/ sets it: the proxy on this machine is believed, and the limits at the edge are met before ours."""
    return {"behind_tls_proxy": True, "trusted_proxies": (ip_network("127.0.0.1/32"),)}


@asynccontextmanager
async def served(world: World) -> AsyncIterator[int]:
    """The application on a port, as the service serves it."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        world.app, log_config=None, access_log=False, proxy_headers=False, timeout_graceful_shutdown=3
    )
    server = _Server(config, on_exit=live_of(world.app).close)
    serving = asyncio.create_task(server.serve([listening]))
    try:
        yield listening.getsockname()[1]
    finally:
        live_of(world.app).close()
        server.should_exit = True
        await serving


@asynccontextmanager
async def nginx_before(world: World, folder: Path, upstream_port: int) -> AsyncIterator[Edge]:
    """nginx, once it answers, before what listens on this port."""
    make_certificate(folder)
    edge = Edge(world, folder, free_port(), free_port())
    config = configured(folder, upstream_port, edge.port, edge.plain_port)
    arguments = ("-p", str(folder), "-e", str(folder / "main.log"), "-c", str(config))
    process = await asyncio.create_subprocess_exec(nginx(), *arguments)
    try:
        async with edge.client(None) as anybody:
            await _answers(lambda: anybody.get("/livez"))
        yield edge
    finally:
        process.terminate()
        await process.wait()


@pytest_asyncio.fixture
async def edge(world: World, tmp_path: Path) -> AsyncIterator[Edge]:
    """nginx before the application."""
    folder = tmp_path / "edge"
    folder.mkdir()
    async with served(world) as upstream_port, nginx_before(world, folder, upstream_port) as made:
        yield made


async def test_ordinary_calls_pass_and_nothing_secret_is_written_down(edge: Edge) -> None:
    async with edge.client() as shop:
        made = await shop.post("/api/orders/order-1/init-escrow?note=never-to-be-logged", json=order_body())
        assert made.status_code == 201
        assert made.headers["Strict-Transport-Security"].startswith("max-age=")
        assert made.headers["Server"] == "nginx"  # and not which
        again = await shop.get(made.headers["Location"], headers={"X-Request-ID": "of-the-shop"})
        assert again.status_code == 200
        assert again.headers["X-Request-ID"] == "of-the-shop"
        wrong = await shop.get("/api/escrows/nosuch")
        assert wrong.json()["code"] == "not_found"
    async with edge.client() as shop:
        for path in ("/metrics", "/livez", "/readyz"):
            assert (await shop.get(path)).status_code == 404

    async def it_is_logged() -> bool:
        return "/api/escrows/nosuch 404" in edge.logged()

    await until(it_is_logged, limit_seconds=10)
    logged = edge.logged()
    assert "POST /api/orders/order-1/init-escrow 201" in logged
    assert "of-the-shop" in logged
    assert "never-to-be-logged" not in logged
    assert edge.world.keys["shop"] not in logged


async def test_what_a_caller_says_of_its_address_is_not_believed(edge: Edge) -> None:
    lies = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9", "X-Real-IP": "203.0.113.9"}
    async with edge.client() as shop:
        made = await shop.post("/api/orders/order-1/init-escrow", json=order_body(), headers=lies)
    assert made.status_code == 201
    rows = await edge.world.store.read(lambda tx: tx.audit.of(made.json()["escrow_id"]))
    assert {row.source for row in rows if row.actor.startswith("shop")} == {"127.0.0.1"}


async def test_another_name_is_not_served_and_plain_http_is_sent_to_tls(edge: Edge) -> None:
    with pytest.raises(ssl.SSLError):
        await asyncio.open_connection("127.0.0.1", edge.port, ssl=edge.tls(), server_hostname="other.example.com")
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{edge.plain_port}") as plain:
        with pytest.raises(httpx2.RemoteProtocolError):
            await plain.get("/docs")
        moved = await plain.get("/docs", headers={"Host": NAME})
    assert (moved.status_code, moved.headers["Location"]) == (301, f"https://{NAME}/docs")


async def test_a_flood_of_orders_is_answered_with_429_and_the_other_calls_go_on(edge: Edge) -> None:
    async with edge.client(None) as flood, edge.client() as shop:
        began = time.monotonic()
        answers = await asyncio.gather(
            *(flood.post(f"/api/orders/order-{number}/init-escrow", json={}) for number in range(100))
        )
        counts = Counter(answer.status_code for answer in answers)
        assert counts.keys() <= {401, 429}
        assert 20 <= counts[401] <= 22 + 5 * (time.monotonic() - began)  # a burst of 20, and 5 a second
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.headers["Retry-After"] == "1"
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["code"] == "rate_limited"
        assert (await shop.get("/api/escrows")).status_code == 200
        began = time.monotonic()
        others = Counter(
            answer.status_code for answer in await asyncio.gather(*(flood.get("/api/escrows") for _ in range(250)))
        )
        assert others.keys() <= {401, 429}
        assert 90 <= others[401] <= 102 + 50 * (time.monotonic() - began)


async def test_guesses_of_a_key_at_the_sign_in_are_slowed_down(edge: Edge) -> None:
    async with edge.client(None) as guesser:
        answers = [await guesser.post("/admin/sign-in", data={"key": f"guess-{n}"}) for n in range(8)]
    assert [answer.status_code for answer in answers].count(429) >= 1


async def test_a_body_that_is_too_large_is_answered_with_413_and_a_batch_may_be_larger(edge: Edge) -> None:
    async with edge.client() as shop:
        for path, size in (
            ("/api/orders/order-1/init-escrow", MOST_BODY_BYTES + 1),
            ("/api/escrows/batch", MOST_BATCH_BYTES + 1),
        ):
            refused = await shop.post(path, content=b" " * size, headers={"Content-Type": "application/json"})
            assert refused.status_code == 413
            assert refused.json()["code"] == "body_too_large"
        taken = await shop.post(
            "/api/escrows/batch", content=b" " * MOST_BATCH_BYTES, headers={"Content-Type": "application/json"}
        )
        assert taken.status_code in (400, 422)  # the service read it: all white space


async def test_a_header_that_is_too_large_is_refused_before_the_service_sees_it(edge: Edge) -> None:
    async with edge.client() as shop:
        assert (await shop.get("/api/escrows", headers={"X-Long": "x" * 20_000})).status_code == 400
        assert (await shop.get("/api/escrows", params={"q": "x" * 20_000})).status_code == 414


@pytest.mark.parametrize(
    "half",
    [
        "GET /docs HTTP/1.1\r\nHost: escr",
        f"POST /api/escrows/batch HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 100\r\n\r\nhalf",
    ],
)
async def test_whoever_sends_half_a_request_is_let_go(edge: Edge, half: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port, ssl=edge.tls(), server_hostname=NAME)
    writer.write(half.encode())
    async with asyncio.timeout(20):
        with suppress(ConnectionResetError):
            said = await reader.read(-1)
            assert said == b"" or b" 408 " in said
    writer.close()


async def test_a_service_that_is_away_is_told_as_the_service_tells_such_things(world: World, tmp_path: Path) -> None:
    async with nginx_before(world, tmp_path, free_port()) as edge, edge.client() as shop:
        away = await shop.get("/api/escrows")
    assert (away.status_code, away.headers["Retry-After"], away.json()["code"]) == (503, "10", "unavailable")


async def test_the_overviews_stream_comes_through_as_it_is_sent(edge: Edge) -> None:
    async with edge.client(None) as browser:
        signed_in = await browser.post(
            "/admin/sign-in",
            data={"key": edge.world.keys["operator"], "next": "/admin"},
            headers={"Origin": f"https://{NAME}"},
        )
        assert signed_in.status_code == 303, signed_in.text
        assert "Secure" in signed_in.headers["set-cookie"]
        async with asyncio.timeout(30), browser.stream("GET", "/admin/live") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            async for part in stream.aiter_raw():
                assert part  # the stream has not ended, and its beginning is here
                break
