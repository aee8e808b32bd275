#pragma once

#include <string>
#include <vector>

namespace YAML {  // NOLINT(readability-identifier-naming): yaml-cpp's name
class Node;
}

namespace vmla::io {

/// Parses the yaml documents of `text`, the only way in which this program does, and makes sure
/// that what it walks afterwards is no larger than the text promises. UserError `name:line: what`
/// where the text is no UTF-8 or no yaml, is nested more than 32 levels deep, or becomes more
/// values than it has bytes: an anchor may be used many times, and one that holds several uses of
/// another multiplies. `name` says in messages what the text is.
std::vector<YAML::Node> parse_yaml_documents(const std::string& text, const std::string& name);

}  // namespace vmla::io
