"""The user's modules in a process that runs tasks: importable while it works for their job.

Must not know what their functions are for.
"""

from __future__ import annotations

import importlib
import linecache
import sys
from collections.abc import Mapping
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from minispark.compute.user_functions import UserFunctions, user_errors
from minispark.errors import TaskError


class UserModules:
    """The modules of one job, by (name, source)."""

    def __init__(self, modules: tuple[tuple[str, str], ...] = ()) -> None:
        self.modules = modules
        self._finder = _Finder(dict(modules))

    def load(self) -> None:
        """Make the modules importable; nothing of them runs yet."""
        sys.meta_path.insert(0, self._finder)

    def unload(self) -> None:
        """Forget the modules, and what they defined."""
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        for name, _ in self.modules:
            sys.modules.pop(name, None)

    def instead(self, modules: tuple[tuple[str, str], ...]) -> UserModules:
        """Those modules, loaded in place of these; where they are these, nothing happens."""
        if modules == self.modules:
            return self
        self.unload()
        others = UserModules(modules)
        others.load()
        return others

    def functions(self) -> UserFunctions:
        """What steps name in these modules."""
        return UserFunctions(self.find, dict(self.modules))

    def find(self, name: str) -> Any:
        """What `module:function` names. Raises TaskError, also for what the module raises."""
        module_name, _, attribute = name.partition(":")
        with user_errors(name, None):
            module = importlib.import_module(module_name)
        found = getattr(module, attribute, None)
        if not callable(found):
            raise TaskError(f"{module_name}.py defines no function {attribute!r}")
        return found


class _Finder(MetaPathFinder, InspectLoader):
    """Finds and loads the modules from their sources."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = sources

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if name not in self._sources:
            return None
        return ModuleSpec(name, self, origin=f"{name}.py")

    def get_source(self, name: str) -> str:
        return self._sources[name]

    def exec_module(self, module: ModuleType) -> None:
        source, filename = self._sources[module.__name__], f"{module.__name__}.py"
        # the name without a folder is what the user calls it; its lines are shown in tracebacks
        linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
        exec(compile(source, filename, "exec"), module.__dict__)
