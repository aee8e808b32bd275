#pragma once

#include <string>
#include <string_view>

namespace vmla::model {

/// A prompt as Wan's text encoder gets it: HTML's character references are replaced twice
/// ("&amp;lt;" is "<"), each run of white space becomes one blank, and there is none at either end.
/// White space is what Unicode calls so. Bytes that are no UTF-8 stay as they are.
std::string clean_prompt(std::string_view prompt);

}  // namespace vmla::model
