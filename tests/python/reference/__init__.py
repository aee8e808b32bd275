"""An independent implementation of the model and its training in plain PyTorch.

It shares no code with the C++ program and is written for clarity: explicit loops over query chunks, dictionaries of
tensors under their original Wan2.1 names, any floating-point dtype. The tests run it in fp64 and compare the program's
fp32 files with it.

Shapes: B batch, F frames, C latent channels, H W latent grid, S tokens a frame, D width, N heads, T text tokens,
G frame slots (F, or 2F for teacher forcing), R latent rank, Q query rank, P rotary channels.
"""
