# Pixels to latents and prompts to embeddings: apart from the network, so that data/ need not wait for it.
vmla_library(vmla_codec
  HEADERS
    hashing_text_encoder.h
    space_to_depth_codec.h
    text_encoder.h
    video_codec.h
  SOURCES
    hashing_text_encoder.cpp
    space_to_depth_codec.cpp
    text_encoder.cpp
    video_codec.cpp
  PUBLIC vmla_io vmla_kernels)
