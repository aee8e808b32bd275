#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace vmla::model {

/// A tensor's name in Wan's file of UMT5's encoder for its name in transformers' UMT5EncoderModel
/// (docs/algorithms.md 18.2); a name that is Wan's already comes back as it is. Nothing for any
/// other name.
std::optional<std::string> wan_name_of_umt5(std::string_view name);

/// True for a tensor of a whole UMT5 (UMT5ForConditionalGeneration) that its encoder does not use.
bool is_umt5_decoder_name(std::string_view name);

}  // namespace vmla::model
