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

# Pixels to latents and prompts to embeddings.
vmla_library(vmla_codec
  HEADERS
    codec/hashing_text_encoder.h
    codec/latent_statistics.h
    codec/space_to_depth_codec.h
    codec/text_encoder.h
    codec/text_encoder_options.h
    codec/umt5_text_encoder.h
    codec/video_codec.h
    text/umt5_config_json.h
    text/umt5_encoder.h
    text/umt5_weights.h
  SOURCES
    codec/hashing_text_encoder.cpp
    codec/latent_statistics.cpp
    codec/space_to_depth_codec.cpp
    codec/text_encoder.cpp
    codec/umt5_text_encoder.cpp
    codec/video_codec.cpp
    text/umt5_config_json.cpp
    text/umt5_encoder.cpp
    text/umt5_weights.cpp
  PUBLIC vmla_io vmla_kernels vmla_model vmla_text
  PRIVATE nlohmann_json::nlohmann_json)
