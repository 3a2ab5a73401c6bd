"""Monero's programs as child processes: found, started until they answer, and stopped, each by its own process id.

A child lives in a session of its own, so that Ctrl-C in a terminal reaches us first, and is killed by the kernel
should we die (`setpriv --pdeathsig`, where there is one; start children from the main thread, for the kernel watches
the thread). No process is ever looked up or ended by name. Only loopback is bound. A login and keys reach the program
in files of mode 0600, never on its command line. Of our environment a child gets only what every program needs, and so
no key or login of ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final
from urllib.parse import urlsplit

from monero_escrow.core.address import Network
from monero_escrow.core.errors import InvalidInputError, UnavailableError
from monero_escrow.monero.access import Access
from monero_escrow.monero.daemon import DaemonClient
from monero_escrow.monero.errors import TransportError
from monero_escrow.monero.programs import MoneroPrograms
from monero_escrow.monero.rpc import Credentials
from monero_escrow.monero.waiting import until
from monero_escrow.monero.wallet_rpc import WalletRpcClient

LOOPBACK: Final = "127.0.0.1"
START_LIMIT_SECONDS: Final = 60.0
_LASTING_PORTS: Final = range(18_400, 32_000)
_MOST_PORTS_TRIED: Final = 1_000
_OUTPUT_KEPT_BYTES: Final = 1 << 20
_PASSED_ON: Final = frozenset({"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH"})
# At level 0 wallet2 still writes transactions down before they are published: that tells the real ring member.
_LOG_FLAGS: Final = ("--log-level", "0,wallet.wallet2:ERROR", "--max-log-file-size", "10485760", "--max-log-files", "3")
_NETWORK_FLAGS: Final[dict[Network, tuple[str, ...]]] = {
    Network.MAINNET: (),
    Network.STAGENET: ("--stagenet",),
    Network.TESTNET: ("--testnet",),
    Network.REGTEST: ("--allow-mismatched-daemon-version",),  # its hard forks are not mainnet's
}


class ProgramFailedError(UnavailableError):
    """A program ended by itself, or did not answer in time, while it was being started."""

    code = "program_failed"
    what_to_do = "Read the program's log, whose last lines stand above."


class ChildProcess:
    """One running program. As an async context manager it is stopped at the end. `url` is its RPC."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, url: str, log_file: Path) -> None:
        self.name = name
        self.url = url
        self.log_file = log_file
        self._process = process

    def __repr__(self) -> str:
        return f"ChildProcess({self.name!r}, pid={self.pid}, {self.url!r})"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def ended(self) -> int:
        """Return when it has ended, however that came about: its exit code, or minus the signal that ended it."""
        return await self._process.wait()

    def adopt(self, started_again: ChildProcess) -> None:
        """Go on as the same program started again, at the same URL: whoever holds on to this one notices nothing."""
        self._process = started_again._process

    async def stop(self, *, grace_seconds: float = 8.0) -> None:
        """SIGTERM, wait, and SIGKILL when the grace is over. A wallet-rpc told to end writes its open wallet first."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(grace_seconds):
                await self._process.wait()
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """SIGKILL, as a crash would."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    def memory_bytes(self) -> int:
        """What it has in memory (resident), shared pages included; 0 when it has ended, or where there is no /proc."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            if self.running:
                resident_pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
                return resident_pages * os.sysconf("SC_PAGE_SIZE")
        return 0

    def trim_output(self) -> None:
        """Empty the file of what it writes to its terminal if that has grown: its log, which it rotates, has the same.

        The program writes at the end of the file wherever that is.
        """
        output = self.log_file.with_suffix(".out")
        with contextlib.suppress(OSError):
            if output.stat().st_size > _OUTPUT_KEPT_BYTES:
                os.truncate(output, 0)

    def wrote(self, lines: int = 8) -> str:
        """The beginning and the end of what the program wrote, for an error message: a refused flag stands first."""
        written: list[str] = []
        for file in (self.log_file.with_suffix(".out"), self.log_file):
            with contextlib.suppress(OSError):
                written += [line.rstrip() for line in file.read_text(errors="replace").splitlines() if line.strip()]
        if len(written) > 2 * lines:
            written[lines:-lines] = ["…"]
        return "\n".join(written)

    async def __aenter__(self) -> ChildProcess:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


async def start_monerod_regtest(
    programs: MoneroPrograms,
    folder: Path,
    *,
    keep_chain: bool = False,
    port: int | None = None,
    extra_flags: Sequence[str] = (),
) -> ChildProcess:
    """A private chain: offline, difficulty 1, only on loopback, on free ports unless `port` is given for its RPC. Its
    blocks stay in `folder` with `keep_chain`, also after a kill.
    """
    _make_folders(folder)
    port = free_port() if port is None else _still_free(port)
    arguments = [
        *("--regtest", "--offline", "--fixed-difficulty", "1", "--non-interactive"),
        *("--data-dir", str(folder / "chain"), *(("--keep-fakechain",) if keep_chain else ())),
        *("--rpc-bind-ip", LOOPBACK, "--rpc-bind-port", str(port), "--rpc-ssl", "disabled"),
        *("--p2p-bind-ip", LOOPBACK, "--p2p-bind-port", str(free_port())),
        *("--no-zmq", "--no-igd", "--disable-dns-checkpoints", "--check-updates", "disabled"),
        *extra_flags,
    ]
    child = await _started("monerod", programs.monerod, arguments, folder / "monerod.log", f"http://{LOOPBACK}:{port}")
    client = DaemonClient(child.url, pauses_seconds=())
    await _until_it_answers(child, client.get_info, client.aclose)
    return child


async def start_wallet_rpc(
    programs: MoneroPrograms,
    folder: Path,
    *,
    network: Network,
    daemon_url: str | None,
    name: str = "wallet-rpc",
    wallet_dir: Path | None = None,
    port: int | None = None,
    credentials: Credentials | None = None,
    access: Access | None = None,
    config_file: Path | None = None,
    extra_flags: Sequence[str] = (),
) -> ChildProcess:
    """One wallet-rpc process with nothing open. Without `daemon_url` it is `--offline`.

    `folder` holds its log, its settings and (unless `wallet_dir` is given) its wallets; `port` is a free one by
    default. A `config_file` that is given stands on its command line, by which the process can be told from any
    other. With `access`, made in the same folder, it takes calls over TLS from the holder of that alone, and the files
    that told it so are gone when this returns or raises. `credentials` are a login without TLS.
    """
    wallets = wallet_dir or folder / "wallets"
    config = config_file or folder / f"{name}.conf"
    login, tls = (access.login, access.tls) if access is not None else (credentials, None)
    try:
        _make_folders(folder, wallets)
        port = free_port() if port is None else _still_free(port)
        arguments = [
            *("--rpc-bind-ip", LOOPBACK, "--rpc-bind-port", str(port), *(() if tls else ("--rpc-ssl", "disabled"))),
            *("--wallet-dir", str(wallets), "--shared-ringdb-dir", str(folder / "ringdb"), "--non-interactive"),
            *_NETWORK_FLAGS[network],
            *_daemon_flags(daemon_url),
            *_login_flags(config, login, access.settings if access else (), always=config_file is not None),
            *extra_flags,
        ]
        url = f"{'https' if tls else 'http'}://{LOOPBACK}:{port}"
        child = await _started(name, programs.wallet_rpc, arguments, folder / f"{name}.log", url)
        client = WalletRpcClient(url, credentials=login, tls=tls)
        await _until_it_answers(child, client.get_version, client.aclose)
    finally:
        if access is not None:  # it has read them, once, or never will
            access.forget()
            config.unlink(missing_ok=True)
    return child


def free_port() -> int:
    """A loopback port nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def lasting_port(besides: Collection[int] = ()) -> int:
    """A free loopback port, none of `besides`, for a program that may have to be started again on it.

    It lies below those the kernel hands out by itself, so that nobody's outgoing connection, and not even a client
    that tries to reach the very port, takes it while the program is away. Raises ProgramFailedError when there is none.
    """
    for _ in range(_MOST_PORTS_TRIED):
        port = _LASTING_PORTS.start + secrets.randbelow(len(_LASTING_PORTS))
        if port not in besides:
            with contextlib.suppress(ProgramFailedError):
                return _still_free(port)
    taken = f"{_LASTING_PORTS.start} to {_LASTING_PORTS.stop - 1}"
    raise ProgramFailedError(
        f"There is no free port from {taken}.", what_to_do="Stop the programs that listen there, or run fewer."
    )


def _still_free(port: int) -> int:
    """Refuse a port that is taken: the program would end, and whoever listens there would be taken for it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            raise ProgramFailedError(f"Port {port} is taken by another program.") from None
    return port


def _make_folders(*folders: Path) -> None:
    for folder in folders:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _daemon_flags(daemon_url: str | None) -> tuple[str, ...]:
    # Unless TLS is switched off, the wallet makes an RSA key of 4096 bits for the connection at every opening: 1-5 s.
    if daemon_url is None:
        return ("--offline", "--daemon-ssl", "disabled")
    parts = urlsplit(daemon_url)
    trust = ("--trusted-daemon",) if parts.hostname in {LOOPBACK, "localhost", "::1"} else ()
    ssl_flags = ("--daemon-ssl", "enabled") if parts.scheme == "https" else ("--daemon-ssl", "disabled")
    return ("--daemon-address", parts.netloc, *ssl_flags, *trust)


def _login_flags(
    config: Path, credentials: Credentials | None, settings: Sequence[str], *, always: bool
) -> tuple[str, ...]:
    """How the program learns of its login, or that it has none: by a file, written `always` or if there is a login.
    `settings` are further lines of that file.
    """
    if credentials is None and not always:
        return ("--disable-rpc-login",)
    config.unlink(missing_ok=True)
    descriptor = os.open(config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write("disable-rpc-login=1\n" if credentials is None else _login_line(credentials))
        file.writelines(f"{setting}\n" for setting in settings)
    return ("--config-file", str(config))


def _login_line(credentials: Credentials) -> str:
    if ":" in credentials.user or "\n" in credentials.user + credentials.password:
        raise InvalidInputError("The RPC user must not contain a colon, nor user or password a line break.")
    return f"rpc-login={credentials.user}:{credentials.password}\n"


async def _started(name: str, program: Path, arguments: Sequence[str], log_file: Path, url: str) -> ChildProcess:
    setpriv = shutil.which("setpriv")
    # KILL, not TERM: wallet-rpc's handler can wait for ever for a lock that the thread it interrupted holds.
    watched = (setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()
    with log_file.with_suffix(".out").open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *watched,
            str(program),
            *arguments,
            *("--log-file", str(log_file), *_LOG_FLAGS),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=log_file.parent,
            env={name: value for name, value in os.environ.items() if name in _PASSED_ON},
            start_new_session=True,
        )
    return ChildProcess(name, process, url, log_file)


async def _until_it_answers(
    child: ChildProcess, ask: Callable[[], Awaitable[object]], close: Callable[[], Awaitable[None]]
) -> None:
    """Ask until there is an answer; stop the child and say what it wrote when it ends first or the time is up."""

    async def answers_or_ended() -> bool:
        with contextlib.suppress(TransportError, UnavailableError):
            await ask()
            return True
        return not child.running

    try:
        await until(answers_or_ended, limit_seconds=START_LIMIT_SECONDS)
        if not child.running:
            raise ProgramFailedError(f"{child.name} ended by itself at its start:\n{child.wrote()}")  # noqa: TRY301
    except TimeoutError:
        await child.stop()
        raise ProgramFailedError(f"{child.name} does not answer after its start:\n{child.wrote()}") from None
    except BaseException:
        await child.stop()
        raise
    finally:
        await close()
