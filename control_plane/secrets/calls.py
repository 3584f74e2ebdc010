"""Blocking calls to a server that may be slow, hung or away: threads, one deadline, bounded retries, our own errors.

Used by vault.py for everything it asks of Vault. Nothing of a request or an answer gets into an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import requests

from bartizan import tasks
from bartizan.errors import BartizanError, Conflict, DependencyRefused, DependencyUnavailable, NotFound
from bartizan.telemetry import metrics
from bartizan.telemetry.tracing import step

T = TypeVar("T")
_FIRST_DELAY, _LONGEST_DELAY = 0.05, 1.0


class Answered(Exception):
    """Vault's answer was not 2xx. Keeps only what we classify by, never the text."""

    def __init__(self, status: int, retry_after: float | None, cas_lost: bool) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.retry_after = retry_after
        self.cas_lost = cas_lost


class Calls:
    """Runs blocking work. At most `concurrency` threads ever exist; `deadline` seconds cover waiting and retries."""

    def __init__(
        self,
        *,
        deadline: float,
        concurrency: int,
        new_credential: Callable[[], bool],
        misshapen: tuple[type[Exception], ...],
    ) -> None:
        self._deadline = deadline
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="vault")
        self._slots = asyncio.Semaphore(concurrency)
        self._new_credential = new_credential
        self._misshapen: tuple[type[Exception], ...] = (LookupError, TypeError, ValueError, *misshapen)

    def close(self) -> None:
        """Threads that still wait for a hung server end at their own timeout."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def run(self, operation: str, work: Callable[[], T], *, safe: bool = False) -> T:
        """Run `work` within the deadline. `safe`: it may be repeated even when its first fate is unknown."""
        started = time.monotonic()
        try:
            with step(f"vault.{operation}"):
                async with tasks.timeout(self._deadline):
                    return await self._retried(work, safe=safe)
        except TimeoutError:
            metrics.VAULT_ERRORS.labels(operation).inc()
            raise DependencyUnavailable(
                f"Vault did not answer {operation} within {self._deadline:g} s"
            ) from None
        except Answered as answer:
            if answer.status != 404:
                metrics.VAULT_ERRORS.labels(operation).inc()
            raise _classify(operation, answer) from None
        except requests.RequestException as error:
            metrics.VAULT_ERRORS.labels(operation).inc()
            if _untrusted(error):
                raise DependencyRefused("Vault's certificate is not signed by the configured CA") from None
            raise DependencyUnavailable(f"Vault can't be reached for {operation}") from None
        except self._misshapen:
            metrics.VAULT_ERRORS.labels(operation).inc()
            raise DependencyUnavailable(f"Vault's answer to {operation} has an unexpected shape") from None
        finally:
            metrics.VAULT_SECONDS.labels(operation).observe(time.monotonic() - started)

    async def _retried(self, work: Callable[[], T], *, safe: bool) -> T:
        ceiling, reread = _FIRST_DELAY, False
        while True:
            try:
                return await self._in_thread(work)
            except Answered as answer:
                if answer.status == 403 and not reread and self._new_credential():
                    reread = True
                    continue
                # 429 and 503 (sealed, standby) were not executed; others may have been
                if not (answer.status in {429, 503} or (safe and answer.status in {500, 502, 504})):
                    raise
                least = answer.retry_after or 0.0
            except requests.ConnectionError as error:
                if not safe or isinstance(error, requests.ConnectTimeout) or _untrusted(error):
                    raise
                least = 0.0
            await asyncio.sleep(least + random.uniform(0.0, ceiling))  # noqa: S311 - full jitter
            ceiling = min(ceiling * 2, _LONGEST_DELAY)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """The slot is given back when the thread ends, not when the caller gives up: threads can't pile up."""
        loop = asyncio.get_running_loop()
        await self._slots.acquire()

        def release(_: Future[T]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for slots any more
                loop.call_soon_threadsafe(self._slots.release)

        try:
            running = self._pool.submit(work)
        except RuntimeError:
            self._slots.release()
            raise DependencyUnavailable("the Vault adapter is closed") from None
        running.add_done_callback(release)
        waited: Awaitable[T] = asyncio.wrap_future(running)
        return await waited


def _untrusted(error: requests.RequestException) -> bool:
    return isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error)


def _classify(operation: str, answer: Answered) -> BartizanError:
    if answer.cas_lost:
        return Conflict("another version of this secret was written meanwhile")
    if answer.status == 404:
        return NotFound(f"Vault has nothing there ({operation})")
    if answer.status == 429 or answer.status >= 500:
        return DependencyUnavailable(f"Vault answered {answer.status} to {operation}", answer.retry_after)
    hint = "; the token has expired or lacks the policy" if answer.status in {401, 403} else ""
    return DependencyRefused(f"Vault answered {answer.status} to {operation}{hint}")
