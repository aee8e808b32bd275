#pragma once

#include <string>
#include <vector>

#include "trainer/config/config_node.h"

/// What files that name stages (a pipeline's, a sweep's) ask of their keys. `section` stands in
/// front of a key in messages: "" or "stages[0]". UserError with file and line.
namespace vmla::trainer {

/// Fails on a key of the mapping that is not among `valid`.
void check_keys(const ConfigNode& node,
                const std::string& section,
                const std::vector<std::string>& valid);

/// The value of `key`, which must be there. `section` ends in a dot, or is empty.
const ConfigNode& required(const ConfigNode& node,
                           const std::string& section,
                           const std::string& key);

/// Fails unless `name`, the value of `key`, can be a folder's name and has no dot, which separates
/// a stage from a key.
void check_name(const ConfigNode& node, const std::string& key, const std::string& name);

}  // namespace vmla::trainer
