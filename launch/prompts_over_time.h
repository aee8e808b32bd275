#pragma once

#include <optional>
#include <string>
#include <vector>

namespace vmla::launch {

/// One prompt of a video and how long it holds.
struct TimedPrompt {
  std::string text;
  std::optional<double> seconds;  // above 0; none: to the end, for the last prompt only
};

/// Reads "text[10s] | other text[5s]": prompts separated by `|`, each followed by its seconds in
/// brackets, which the last one may lack. At least one. UserError, which names --prompts-over-time
/// and the wrong part.
std::vector<TimedPrompt> parse_prompts_over_time(const std::string& text);

}  // namespace vmla::launch
