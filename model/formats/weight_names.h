#pragma once

#include <optional>
#include <string>
#include <string_view>

/// Tensor names of the layouts that weights come in. Ours are Wan2.1's (docs/algorithms.md 2.2).
namespace vmla::model {

/// Name of a dense Wan tensor in diffusers' WanTransformer3DModel, and back. Nothing for a name
/// that the other layout does not have.
std::optional<std::string> wan_to_diffusers(std::string_view name);
std::optional<std::string> diffusers_to_wan(std::string_view name);

/// True for a name that only diffusers' layout has.
bool is_diffusers_name(std::string_view name);

}  // namespace vmla::model
