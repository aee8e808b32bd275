#pragma once

#include <map>
#include <string>

namespace vmla::analysis {

/// The scalars of a yaml text, and its lists as "[a, b]", by their keys joined by dots
/// ("optimizer.lr"). UserError, with `name` in front, where the text is no yaml.
std::map<std::string, std::string> flat_yaml(const std::string& text, const std::string& name);

}  // namespace vmla::analysis
