# Pixels to latents and prompts to embeddings: apart from the network, so that data/ need not wait for it.
vmla_library(vmla_codec
  HEADERS
    codec/hashing_text_encoder.h
    codec/space_to_depth_codec.h
    codec/text_encoder.h
    codec/video_codec.h
  SOURCES
    codec/hashing_text_encoder.cpp
    codec/space_to_depth_codec.cpp
    codec/text_encoder.cpp
    codec/video_codec.cpp
  PUBLIC vmla_formats vmla_io vmla_kernels)
