# Cleaning and splitting of prompts.
vmla_library(vmla_text NO_TORCH
  HEADERS
    text/html5_entities.h
    text/html_unescape.h
    text/prompt_cleaning.h
    text/sentencepiece_model.h
    text/tokenizer.h
    text/umt5_names.h
  SOURCES
    text/html_unescape.cpp
    text/prompt_cleaning.cpp
    text/sentencepiece_model.cpp
    text/tokenizer.cpp
    text/umt5_names.cpp
  PUBLIC vmla_io
  PRIVATE vmla_sentencepiece)

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
    codec/latent_scale.h
    codec/latent_statistics.h
    codec/space_to_depth_codec.h
    codec/text_encoder.h
    codec/text_encoder_options.h
    codec/tiled_frames.h
    codec/tiny_vae/tiny_decoder.h
    codec/tiny_vae/tiny_vae.h
    codec/umt5_text_encoder.h
    codec/video_codec.h
    codec/wan_vae/load_vae.h
    codec/wan_vae/vae_layers.h
    codec/wan_vae/vae_weights.h
    codec/wan_vae/wan_vae.h
    text/umt5_config_json.h
    text/umt5_encoder.h
    text/umt5_weights.h
  SOURCES
    codec/codec_weights.cpp
    codec/frame_layers.cpp
    codec/hashing_text_encoder.cpp
    codec/latent_scale.cpp
    codec/latent_statistics.cpp
    codec/space_to_depth_codec.cpp
    codec/text_encoder.cpp
    codec/tiled_frames.cpp
    codec/tiny_vae/tiny_decoder.cpp
    codec/tiny_vae/tiny_vae.cpp
    codec/umt5_text_encoder.cpp
    codec/video_codec.cpp
    codec/wan_vae/load_vae.cpp
    codec/wan_vae/vae_layers.cpp
    codec/wan_vae/vae_weights.cpp
    codec/wan_vae/wan_vae.cpp
    text/umt5_config_json.cpp
    text/umt5_encoder.cpp
    text/umt5_weights.cpp
  PUBLIC vmla_codec_options vmla_formats vmla_io vmla_kernels vmla_text
  PRIVATE nlohmann_json::nlohmann_json)
