# SPDX-License-Identifier: Apache-2.0
"""A sequence that outlives its backend: when one fails, the next goes on with the same tokens.

The host knows every token that was read, so a backend that is lost takes nothing with it.  The next
one restores the latest saved state that it understands, reads the tokens behind that again, and
answers what the lost one owed.  Backends compute the same integers, and a draw depends on the
generator's state ahead of it, which the host keeps too: so the tokens are those of an undisturbed
run.

A device that computes something else without saying so is found by trials, ahead of its use and
every so often: a few known tokens, whose successors the CPU gave.  What it answered since the last
good trial is then asked again of the next backend, and a difference is told; states that it saved
since are not used.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from golden_model.weights import DecoderWeights
from host.backends.base import Backend, BackendError, SavedState
from host.backends.cpu import CpuBackend
from host.backends.sampling import GREEDY, Sampling
from host.errors import CheckFailedError, UserError

__all__ = ["Session"]


class _Answer(NamedTuple):
    """What a backend gave."""

    end: int
    """Tokens that it had read."""
    sampling: Sampling
    following: int


class Session:
    """A model on the first of several backends that can run it.

    Parameters
    ----------
    backends
        In the order in which they are tried; each is used until it fails.
    window
        Tokens in the KV cache, the same on every backend; the context unless given.
    canary
        Tokens that a backend other than the CPU has to continue as the CPU does ahead of its use;
        0: it is trusted.
    canary_every
        Tokens between two such trials while a text goes on; 0: none.
    save_every
        Tokens between two saved states; 0: none, a lost sequence is read again from its start.
    notice
        Told, in a sentence, when a backend is left and why.
    """

    def __init__(self, weights: DecoderWeights, backends: Sequence[Backend],
                 window: int | None = None, *, canary: int = 0,
                 canary_every: int = 0, save_every: int = 0,
                 notice: Callable[[str], None] = lambda _: None) -> None:
        self.weights = weights
        self.window = weights.shape.context if window is None else window
        self.tokens: list[int] = []
        """Tokens read so far."""
        self._waiting = list(backends)
        self._current: Backend | None = None
        self._states: list[SavedState] = []
        self._canary, self._canary_every = canary, canary_every
        self._known: list[int] = []
        self._trusted = 0
        """Tokens at the latest good trial."""
        self._answers: list[_Answer] = []
        self.trials = 0
        """Good trials while a text went on."""
        self._doubted = False
        self._latest = 0
        self._save_every = save_every
        self._notice = notice

    @property
    def backend(self) -> Backend:
        """The backend in use; the first that loads, the first time."""
        if self._current is None:
            self._next_backend()
        if self._current is None:
            raise CheckFailedError("no backend is left")
        return self._current

    def close(self) -> None:
        """Let go of every backend."""
        for each in ([self._current] if self._current else []) + self._waiting:
            each.close()
        self._waiting, self._current = [], None

    def reset(self) -> None:
        """Forget the sequence."""
        self.tokens, self._states, self._answers, self._trusted = [], [], [], 0
        if self._current is not None:
            try:
                self._current.reset()
            except BackendError as error:
                self._leave(error)

    def _leave(self, error: BackendError) -> None:
        """Give the current backend up."""
        lost, self._current = self._current, None
        if lost is not None:
            lost.close()
        then = f"{self._waiting[0].name} goes on" if self._waiting else "no other is left"
        self._notice(f"{error}; {then} after {len(self.tokens)} tokens")

    def _next_backend(self) -> None:
        """Load the next backend that can be, and bring it to where the sequence is."""
        while self._waiting and self._current is None:
            self._current = self._waiting.pop(0)
            try:
                self._current.load(self.weights, self.window)
                self._check(self._current)
                self._rebuild(self._current)
            except BackendError as error:
                self._leave(error)

    def _check(self, backend: Backend) -> None:
        """Compare the continuation of a few tokens with the CPU's; the sequence is lost."""
        count = min(self._canary, self.weights.shape.context - 1)
        if count <= 0 or isinstance(backend, CpuBackend):
            return
        if not self._known:
            judge = CpuBackend()
            judge.load(self.weights, self.window)
            self._known = [0]
            for _ in range(count):
                self._known.append(judge.decode(self._known[-1]))
        for place in range(count):
            found = backend.decode(self._known[place])
            if found != self._known[place + 1]:
                raise BackendError(f"{backend.name}: token {place + 1} of a trial is {found}, not "
                                   f"{self._known[place + 1]}: it computes something else")
        backend.reset()

    def _try_again(self, backend: Backend) -> None:
        """Repeat the trial if it is due, and go on where the sequence was."""
        due = 0 < self._canary_every <= len(self.tokens) - self._trusted
        if not due or self._canary <= 0 or isinstance(backend, CpuBackend):
            return
        try:
            state = backend.save()
            backend.reset()
            self._check(backend)
            backend.restore(state)
            if backend.position != len(self.tokens):
                raise BackendError(f"{backend.name}: at position {backend.position} after a trial "
                                   f"instead of {len(self.tokens)}")
        except BackendError as error:
            self._leave(error)
            self._states = [each for each in self._states if each.position <= self._trusted]
            self._doubted = True
            return
        self._trusted, self._answers = len(self.tokens), []
        self.trials += 1

    def _ask_again(self, backend: Backend) -> None:
        """Repeat what was answered since the latest good trial, and tell the first difference.

        The latest answer was not given yet: it is replaced.
        """
        told = False
        for end, sampling, given in self._answers:
            if end <= backend.position:
                continue
            found = backend.prefill(self.tokens[backend.position:end], sampling)
            self._latest = found
            if found != given and not told and end < len(self.tokens):
                self._notice(f"the token behind the first {end} was {given}, {backend.name} gives "
                             f"{found}: the text from there on rests on a wrong token")
                told = True
        self._doubted = False

    def _rebuild(self, backend: Backend) -> None:
        """Bring a freshly loaded backend to the end of the sequence."""
        for state in reversed(self._states):
            try:
                backend.restore(state)
                break
            except BackendError:
                backend.reset()  # of another form: older ones may fit
        if self._doubted:
            self._ask_again(backend)
        if backend.position < len(self.tokens):
            backend.prefill(self.tokens[backend.position:])
        if backend.position != len(self.tokens):
            raise BackendError(f"{backend.name}: at position {backend.position} instead of "
                               f"{len(self.tokens)}")

    def read(self, tokens: Sequence[int], sampling: Sampling = GREEDY) -> int:
        """Read tokens on whichever backend can, and return the one that follows.

        Raises
        ------
        UserError
            A token is outside the vocabulary, none is given, or the context would be exceeded.
        CheckFailedError
            No backend is left; the tokens count as not read.
        """
        shape = self.weights.shape
        if not tokens or any(not 0 <= token < shape.vocab for token in tokens):
            raise UserError(f"tokens must lie in 0..{shape.vocab - 1}, one at least")
        if len(self.tokens) + len(tokens) > shape.context:
            raise UserError(f"{len(self.tokens) + len(tokens)} tokens exceed the context of "
                            f"{shape.context}")
        while True:
            backend = self.backend
            try:
                misfit = backend.limits.misfit(self.weights, self.window,
                                               len(self.tokens) + len(tokens))
                if misfit is not None:
                    raise BackendError(f"{backend.name}: {misfit}")
                following = backend.prefill(tokens, sampling)
                if not 0 <= following < shape.vocab:
                    raise BackendError(f"{backend.name}: {following} is no token")
                break
            except BackendError as error:
                self._leave(error)
        self.tokens += tokens
        if self._canary_every > 0:
            self._answers.append(_Answer(len(self.tokens), sampling, following))
        self._save(backend)
        if self._current is backend:
            self._try_again(backend)
        if self._doubted:
            _ = self.backend  # asks again
            following = self._latest
        return following

    def _save(self, backend: Backend) -> None:
        if self._save_every <= 0:
            return
        saved = self._states[-1].position if self._states else 0
        if len(self.tokens) - saved < self._save_every:
            return
        try:
            self._states = [*self._states[-1:], backend.save()]
        except BackendError as error:
            self._leave(error)

    def generate(self, prompt: Sequence[int], count: int, temperature: float | None = None,
                 seed: int = 0) -> Iterator[int]:
        """Read a prompt and yield `count` tokens, each read back ahead of the next.

        Raises
        ------
        UserError
            As :meth:`read`; or the temperature or seed cannot be.
        """
        try:
            sampling = Sampling.of(temperature, seed)
        except ValueError as error:
            raise UserError(str(error)) from error
        fed = list(prompt)
        for _ in range(count):
            token = self.read(fed, sampling)
            yield token
            fed, sampling = [token], sampling.advanced
