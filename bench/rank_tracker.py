"""Python peer of bench/rank_tracker.cpp: effective rank of 30 layers of Wan 1.3B's shape with torch.

Times torch.linalg.svdvals of the composed map (fp64 and fp32) and the Gram route written in Python.
Usage: python bench/rank_tracker.py [--layers N] [--threads N]
"""

import argparse
import time

import torch

LAYERS, ROWS, RANK, WIDTH = 30, 2688, 192, 1536


def gram_route(up: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """Singular values of up @ down from an R x R eigenproblem."""
    up, down = up.double(), down.double()
    root = torch.linalg.cholesky(down @ down.T)
    return torch.linalg.eigvalsh(root.T @ (up.T @ up) @ root).clamp_min(0).sqrt().flip(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=2, help="layers given to the full SVD (seconds each)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    layers = [(torch.randn(ROWS, RANK) * 0.02, torch.randn(RANK, WIDTH) * 0.02) for _ in range(LAYERS)]

    best = min(measure(lambda: [gram_route(up, down) for up, down in layers]) for _ in range(5))
    print(f"Gram route in Python, {LAYERS} layers, {args.threads} threads: {best:.3f} processor seconds (best of 5)")
    for dtype in (torch.float64, torch.float32):
        taken = measure(lambda: [torch.linalg.svdvals((u.to(dtype) @ d.to(dtype))) for u, d in layers[: args.layers]])
        whole = taken / args.layers * LAYERS
        print(f"torch.linalg.svdvals, {dtype}: {whole:.1f} s for {LAYERS} layers, {whole / best:.0f} times the Gram route")


def measure(action) -> float:
    """Processor seconds of this process: they stay meaningful on a machine that is busy with other work."""
    start = time.process_time()
    action()
    return time.process_time() - start


if __name__ == "__main__":
    main()
