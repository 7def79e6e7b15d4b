"""Many datagrams per system call: recvmmsg(2), which Python's socket module does not have, through ctypes.

    |datagram 1 ......|datagram 2 ......|...   SLOTS pieces of SLOT_BYTES in one mapping
    |header 1, length |header 2, length |...   struct mmsghdr, which the kernel fills in

Promises: datagrams in the order of reception, each whole or, beyond MAX_DATAGRAM_BYTES, cut just behind them, so that
its length tells. Memory is used as far as datagrams fill it, at most 64 KiB per slot. Never blocks, never raises.

Two things are saved. One system call takes many datagrams. And it keeps the interpreter (PyDLL), which socket.recv
gives away for each datagram and has back from a busy thread only after sys.getswitchinterval(), 5 ms each time.

Source: recvmmsg(2); the structures are those of Linux, where glibc and musl agree.
"""

import ctypes
import mmap
import socket
from ctypes import c_char, c_int, c_size_t, c_uint, c_void_p

MAX_DATAGRAM_BYTES = 65_535
SLOTS = 64
_SLOT_BYTES = MAX_DATAGRAM_BYTES + 1 + 64  # 64 more, so that not all datagrams begin in one set of the cache
_STARTS = range(0, SLOTS * _SLOT_BYTES, _SLOT_BYTES)


class _Iovec(ctypes.Structure):
    _fields_ = (("base", c_void_p), ("size", c_size_t))


class _Header(ctypes.Structure):
    _fields_ = (
        *(("name", c_void_p), ("name_size", c_uint), ("vectors", c_void_p), ("vectors_size", c_size_t)),
        *(("control", c_void_p), ("control_size", c_size_t), ("flags", c_int)),
    )


class _Datagram(ctypes.Structure):
    _fields_ = (("header", _Header), ("length", c_uint))


_recvmmsg = ctypes.PyDLL(None).recvmmsg
_recvmmsg.argtypes = (c_int, c_void_p, c_uint, c_int, c_void_p)
_recvmmsg.restype = c_int


class Slots:
    """Room for SLOTS datagrams. One thread may use it for any number of sockets, one after the other."""

    def __init__(self) -> None:
        self._area = mmap.mmap(-1, SLOTS * _SLOT_BYTES)
        begin = ctypes.addressof(c_char.from_buffer(self._area))
        self._vectors = (_Iovec * SLOTS)(*[_Iovec(begin + start, MAX_DATAGRAM_BYTES + 1) for start in _STARTS])
        vector, step = ctypes.addressof(self._vectors), ctypes.sizeof(_Iovec)
        self._datagrams = (_Datagram * SLOTS)(
            *[_Datagram(_Header(None, 0, vector + slot * step, 1)) for slot in range(SLOTS)]
        )
        self._address = ctypes.addressof(self._datagrams)
        words = memoryview(self._datagrams).cast("B").cast("I")
        self._lengths = words[_Datagram.length.offset // 4 :: ctypes.sizeof(_Datagram) // 4]

    def receive(self, fileno: int) -> tuple[list[bytes], list[int]]:
        """Up to SLOTS datagrams of a socket, and their lengths; none if it is empty or had an error, which is gone."""
        count = _recvmmsg(fileno, self._address, SLOTS, socket.MSG_DONTWAIT, None)
        if count <= 0:
            return [], []
        area = self._area
        lengths = self._lengths[:count].tolist()
        return [area[start : start + length] for start, length in zip(_STARTS, lengths, strict=False)], lengths
