"""The Lua interpreter of `memory://`: compiles the scripts in `redis/lua/` once and runs them on a `Store`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha1
from itertools import count
from typing import Any

import msgspec
from lupa import lua51
from redis.exceptions import ResponseError

from crawler.frontier.memory.store import Store
from crawler.frontier.memory.values import Status
from crawler.frontier.redis import scripts

# Scripts see what a server shows them and cannot create globals, so a run leaves nothing behind for the next one.
_SANDBOX = b"""
local call, error_reply, sha1hex, unpack_message, encode, decode = ...
local globals, error, tostring, setmetatable, kept = _G, error, tostring, setmetatable, {}
for _, name in ipairs({ 'assert', 'error', 'ipairs', 'math', 'next', 'pairs', 'pcall', 'select', 'string', 'table',
  'tonumber', 'tostring', 'type', 'unpack' }) do kept[name] = globals[name] end
kept.debug = { traceback = debug.traceback } -- lupa needs it
kept.redis = { call = call, error_reply = error_reply, sha1hex = sha1hex }
kept.cmsgpack = { unpack = unpack_message }
kept.cjson = { encode = encode, decode = decode }
local next, pairs = next, pairs
while next(globals) do globals[next(globals)] = nil end
for name, value in pairs(kept) do globals[name] = value end
setmetatable(globals, {
  __index = function(_, name) error('Script attempted to access nonexistent global variable ' .. tostring(name)) end,
  __newindex = function(_, name) error('Attempt to modify a readonly table, global ' .. tostring(name)) end,
})
"""
_BEFORE = b"local KEYS, ARGV = ... "  # on the script's first line, so that line numbers in errors are right
_ESCAPED = {byte: b"\\u%04x" % byte for byte in (*range(32), 127)} | {
    ord(char): b"\\" + char.encode() for char in '"\\/'
}
_ESCAPED |= {8: b"\\b", 9: b"\\t", 10: b"\\n", 12: b"\\f", 13: b"\\r"}


class Scripts:
    """All scripts on one store. Only one thread may use it at a time."""

    def __init__(self, store: Store) -> None:
        self._commands = store.commands
        self._execute = store.execute
        self._lua = lua51.LuaRuntime(encoding=None, register_eval=False, register_builtins=False)
        functions = (self._call, self._error_reply, _sha1hex, self._unpack, self._encode, self._decode)
        self._lua.compile(_SANDBOX)(*functions)
        self._compiled: dict[str, Any] = {}

    def run(self, name: str, key: bytes, *arguments: bytes) -> Any:
        """Run a script by name and return its reply as a server would send it. Raises `ResponseError`."""
        script = self._compiled.get(name)
        if script is None:
            script = self._compiled[name] = self.compile(scripts.source(name), name)
        return self.call(script, [key], arguments)

    def compile(self, source: bytes, name: str) -> Any:
        """Compile a script into a function of KEYS and ARGV."""
        return self._lua.compile(_BEFORE + source, name=b"@" + name.encode())

    def call(self, script: Any, keys: Iterable[bytes], arguments: Iterable[bytes]) -> Any:
        """Run a script that `compile` returned."""
        try:
            return self._reply(script(self._lua.table_from(keys), self._lua.table_from(arguments)))
        except lua51.LuaError as error:
            raise ResponseError(str(error).partition("\nstack traceback")[0]) from None

    def _call(self, name: bytes, *arguments: Any) -> Any:
        """`redis.call`: converts the arguments to strings and the reply to Lua values."""
        command = self._commands.get(name)
        words = [word if type(word) is bytes else _string(word) for word in arguments]
        reply = command(*words) if command else self._execute(name, *words)
        kind = type(reply)
        if kind is int or kind is bytes:
            return reply
        return False if reply is None else self._value(reply)

    def _value(self, reply: Any) -> Any:
        """Convert a reply for Lua: a missing string is false, an array a table, a status a table with `ok`."""
        if reply is None:
            return False
        if type(reply) is list:
            return self._lua.table_from([self._value(part) if type(part) is not bytes else part for part in reply])
        return self._lua.table_from({b"ok": bytes(reply)}) if type(reply) is Status else reply

    def _reply(self, value: Any) -> Any:
        """Convert what a script returned to a reply: a table is an array up to its first nil."""
        match value:
            case None | False:
                return None
            case True:
                return 1
            case bytes():
                return value
            case int() | float():
                return int(value)
        if (error := value[b"err"]) is not None:
            raise ResponseError(error.decode(errors="replace"))
        if (status := value[b"ok"]) is not None:
            return Status(status)
        parts = (value[place] for place in count(1))
        return [self._reply(part) for part in iter(lambda: next(parts), None)]

    def _error_reply(self, text: bytes) -> Any:
        return self._lua.table_from({b"err": text})

    def _unpack(self, packed: bytes) -> Any:
        return self._table(msgspec.msgpack.decode(packed))

    def _decode(self, text: bytes) -> Any:
        return self._table(json.loads(text.decode("utf-8", "surrogateescape")))

    def _table(self, value: Any) -> Any:
        """Convert a decoded value for Lua."""
        kind = type(value)
        if kind is str:
            return value.encode("utf-8", "surrogateescape")
        if kind is dict:
            table = self._table
            return self._lua.table_from({key.encode(): table(part) for key, part in value.items()})
        return self._lua.table_from([self._table(part) for part in value]) if kind is list else value

    def _encode(self, value: Any) -> bytes:
        """`cjson.encode` for strings, numbers, and tables with names."""
        if type(value) is bytes:
            return b'"' + b"".join(_ESCAPED.get(byte) or bytes((byte,)) for byte in value) + b'"'
        if isinstance(value, (int, float)):
            return b"%.14g" % value
        if lua51.lua_type(value) != "table":
            raise ResponseError(f"cjson.encode of {value!r} is not part of memory://")
        return b"{" + b",".join(self._encode(name) + b":" + self._encode(part) for name, part in value.items()) + b"}"


def _string(word: Any) -> bytes:
    if type(word) is int:
        return b"%d" % word
    if type(word) is float:
        return b"%.17g" % word
    raise ResponseError("Lua redis lib command arguments must be strings or integers")


def _sha1hex(text: bytes) -> bytes:
    return sha1(text).hexdigest().encode()  # noqa: S324
