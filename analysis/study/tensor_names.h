#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "model/formats/safetensors.h"

/// Names of tensors that are the same but for a layer's number.
namespace vmla::analysis {

/// Stands for the number in a pattern.
inline constexpr std::string_view kLayer = "{layer}";

/// Whether `text` has exactly one "{layer}".
bool is_pattern(std::string_view text);

/// The names of `tensors` that fit the pattern, by their number.
std::map<int64_t, std::string> layers_of(const model::TensorMap& tensors, std::string_view pattern);

/// What stands in front of names that end as `pattern` says: "" or a text that ends with a dot.
std::set<std::string> prefixes_before(const model::TensorMap& tensors, std::string_view pattern);

/// The matrices of the file in one line, numbers in their names replaced by "{layer}": the few
/// whose names look most like attention's, then how many others there are.
std::string listed_patterns(const model::TensorMap& tensors);

/// UserError that lists the layers that have one of the two names alone.
void check_pairs(const std::map<int64_t, std::string>& k_names,
                 const std::map<int64_t, std::string>& v_names,
                 const std::string& k_pattern,
                 const std::string& v_pattern,
                 const std::string& source);

/// The tensor as [outputs, inputs]. UserError unless it is a matrix of finite floating-point
/// numbers.
at::Tensor checked_matrix(const model::TensorMap& tensors,
                          const std::string& name,
                          bool transposed,
                          const std::string& source);

}  // namespace vmla::analysis
