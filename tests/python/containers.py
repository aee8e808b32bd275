"""Video files put together by hand, byte by byte: what no encoder of ours writes."""

import struct


def jpegs_of(avi: bytes) -> list[bytes]:
    """The pictures of a Motion JPEG .avi."""
    at, pictures = avi.index(b"movi") + 4, []
    while avi[at : at + 4] == b"00dc":
        (size,) = struct.unpack_from("<I", avi, at + 4)
        pictures.append(avi[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    return pictures


def _element(name: str, content: bytes) -> bytes:
    return bytes.fromhex(name) + struct.pack(">Q", len(content) | 1 << 56) + content


def _number(name: str, value: int) -> bytes:
    return _element(name, value.to_bytes(8, "big"))


def matroska(jpegs, times_ms, size, seconds=None, sound=None, codec=b"A_AAC") -> bytes:
    """Pictures at times; `seconds`: as the file claims; `sound`: packets, one beside each picture."""
    info = _number("2AD7B1", 1_000_000)
    if seconds is not None:
        info += _element("4489", struct.pack(">d", seconds * 1000))
    picture = _number("B0", size) + _number("BA", size)
    tracks = _element("AE", _number("D7", 1) + _number("73C5", 1) + _number("83", 1) + _element("86", b"V_MJPEG")
                      + _element("E0", picture))  # fmt: skip
    if sound:
        hearing = _element("B5", struct.pack(">d", 48000.0)) + _number("9F", 2)
        tracks += _element("AE", _number("D7", 2) + _number("73C5", 2) + _number("83", 2) + _element("86", codec)
                           + _element("63A2", bytes.fromhex("1190")) + _element("E1", hearing))  # fmt: skip
    clusters = b""
    for i, (jpeg, time) in enumerate(zip(jpegs, times_ms, strict=True)):
        blocks = _element("A3", b"\x81\x00\x00\x80" + jpeg)
        if sound:
            blocks += _element("A3", b"\x82\x00\x00\x80" + sound[i])
        clusters += _element("1F43B675", _number("E7", time) + blocks)
    head = _element("4286", b"\x01") + _element("4282", b"matroska") + _element("4287", b"\x04")
    return _element("1A45DFA3", head) + _element("18538067", _element("1549A966", info) + _element("1654AE6B", tracks) + clusters)


def gif(size: int, levels: list[int]) -> bytes:
    """One grey picture a level, a tenth of a second each."""
    palette = bytes(v for level in range(128) for v in (2 * level,) * 3)
    out = b"GIF89a" + struct.pack("<HHBBB", size, size, 0xF6, 0, 0) + palette
    for level in levels:
        # 8-bit codes of pixels; a clear code before the table would make them longer.
        bits, count = 0, 0
        for i in range(size * size):
            for code in ([128] if i % 100 == 0 else []) + [level // 2]:
                bits |= code << count
                count += 8
        bits |= 129 << count
        data = bits.to_bytes(count // 8 + 1, "little")
        blocks = b"".join(bytes([len(data[i : i + 255])]) + data[i : i + 255] for i in range(0, len(data), 255))
        out += b"\x21\xf9\x04\x00" + struct.pack("<H", 10) + b"\x00\x00"
        out += b"\x2c" + struct.pack("<HHHHB", 0, 0, size, size, 0) + b"\x07" + blocks + b"\x00"
    return out + b"\x3b"
