"""The exit steps that `vmla train` draws for DMD (kernels/counter_rng): a rollout's cost depends on them, so both sides
of the benchmark take the same ones."""

from __future__ import annotations

MASK32, MASK64 = 2**32 - 1, 2**64 - 1
PURPOSE_EXIT_STEP = 10


def philox4x32_10(counter: list[int], key: list[int]) -> list[int]:
    """Salmon et al., Parallel random numbers: as easy as 1, 2, 3 (SC 2011)."""
    x, k = list(counter), list(key)
    for _ in range(10):
        p, q = 0xD2511F53 * x[0], 0xCD9E8D57 * x[2]
        x = [(q >> 32) ^ x[1] ^ k[0], q & MASK32, (p >> 32) ^ x[3] ^ k[1], p & MASK32]
        k = [(k[0] + 0x9E3779B9) & MASK32, (k[1] + 0xBB67AE85) & MASK32]
    return x


def mix64(z: int) -> int:
    """The finaliser of SplitMix64."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK64
    return z ^ (z >> 31)


def hash_role(name: str) -> int:
    """FNV-1a."""
    value = 2166136261
    for byte in name.encode():
        value = ((value ^ byte) * 16777619) & MASK32
    return value


def uniform(seed: int, step: int, purpose: int, role: int, sample: int, i: int) -> float:
    """The i-th uniform of an address; `role` is hashed."""
    golden = 0x9E3779B97F4A7C15
    h = mix64((seed + golden) & MASK64)
    h = mix64(((h ^ (purpose | role << 32)) + golden) & MASK64)
    h = mix64(((h ^ (step >> 32 | (sample >> 32) << 32)) + golden) & MASK64)
    block = i // 2
    words = philox4x32_10([block & MASK32, block >> 32, step & MASK32, sample & MASK32], [h & MASK32, h >> 32])
    bits = words[2 * (i % 2)] << 32 | words[2 * (i % 2) + 1]
    return (bits >> 11) * 2.0**-53


def exit_index(role: str, step: int, choices: int, seed: int = 0) -> int:
    return min(int(uniform(seed, step, PURPOSE_EXIT_STEP, hash_role(role), 0, 0) * choices), choices - 1)
