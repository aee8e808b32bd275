#pragma once

#include <string>

namespace vmla::model {

/// What an encoder with weights is made of and computes with. Others ignore it.
struct TextEncoderOptions {
  std::string weights;             // a file or folder (model/text/umt5_weights.h)
  std::string tokenizer;           // a SentencePiece model, or its folder
  std::string device = "cpu";      // or "cuda"
  std::string precision = "fp32";  // of matrix products: or "bf16"
  // How whoever asks calls the first two, for messages: flags or keys.
  std::string weights_option = "--text-weights", tokenizer_option = "--tokenizer";
};

}  // namespace vmla::model
