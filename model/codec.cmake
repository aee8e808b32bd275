# Pixels to latents and prompts to embeddings. What of it needs no tensors is a library of its own.
vmla_library(vmla_codec_options NO_TORCH
  HEADERS
    codec/codec_options.h
  SOURCES
    codec/codec_options.cpp
  PUBLIC vmla_io)

vmla_library(vmla_codec
  HEADERS
    codec/codec_weights.h
    codec/frame_layers.h
    codec/hashing_text_encoder.h
    codec/latent_statistics.h
    codec/space_to_depth_codec.h
    codec/text_encoder.h
    codec/tiled_frames.h
    codec/tiny_vae/tiny_decoder.h
    codec/tiny_vae/tiny_vae.h
    codec/video_codec.h
    codec/wan_vae/load_vae.h
    codec/wan_vae/vae_layers.h
    codec/wan_vae/vae_weights.h
    codec/wan_vae/wan_vae.h
  SOURCES
    codec/codec_weights.cpp
    codec/frame_layers.cpp
    codec/hashing_text_encoder.cpp
    codec/latent_statistics.cpp
    codec/space_to_depth_codec.cpp
    codec/text_encoder.cpp
    codec/tiled_frames.cpp
    codec/tiny_vae/tiny_decoder.cpp
    codec/tiny_vae/tiny_vae.cpp
    codec/video_codec.cpp
    codec/wan_vae/load_vae.cpp
    codec/wan_vae/vae_layers.cpp
    codec/wan_vae/vae_weights.cpp
    codec/wan_vae/wan_vae.cpp
  PUBLIC vmla_codec_options vmla_formats vmla_io vmla_kernels
  PRIVATE nlohmann_json::nlohmann_json)
