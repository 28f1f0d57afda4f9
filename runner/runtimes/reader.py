"""What is said of a file that a runtime cannot load: what the runtime says, and which version of it can."""

import re
from dataclasses import dataclass

from runner import install
from runner.errors import RuntimeUnavailable


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """A runtime that is installed here, by the names that it has in messages and for `pip`."""

    title: str
    package: str
    version: str

    def cannot_load(
        self, file: str, why: str, *, made_with: str | None, least: str | None = None, otherwise: str = ""
    ) -> RuntimeUnavailable:
        """Return the error of a file: `made_with` is the version that it was made with, if that is known.

        `least` is the first version that reads what this one does not, where the runtime says what that is.
        `otherwise` is advised where neither is newer than what is here.
        """
        return RuntimeUnavailable(
            f"{self.title} {self.version} cannot load it: {why}",
            where=file,
            advice=self._newer(made_with, least) or otherwise or self._again(made_with),
        )

    def _newer(self, made_with: str | None, least: str | None) -> str:
        """Return the command that installs a version which can, or nothing where none is known to be newer."""
        if least is not None:
            return f"{self.package} {least} or later, which reads that: {self._install(least)}"
        if made_with is not None and _numbers(made_with) > _numbers(self.version):
            made = _public(made_with)
            return f"{self.package} {made}, which it was made with, or later: {self._install(made)}"
        return ""

    def _again(self, made_with: str | None) -> str:
        if made_with is None:
            return f"{self.package} newer than {self.version}, or pack it again"
        return f"pack it again: it was made with {self.package} {_public(made_with)}, which is no newer"

    def _install(self, least: str) -> str:
        return install.command((f"{self.package}>={least}",), install.here())


def _public(version: str) -> str:
    """Return a version without the name of a build, such as +cpu."""
    return version.partition("+")[0]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", _public(version))))
