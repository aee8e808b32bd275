#pragma once

#include <optional>
#include <string>
#include <vector>

namespace vmla::launch {

/// One prompt of a video and how long it holds.
struct TimedPrompt {
  std::string text;
  std::optional<double> seconds;  // none: to the end, of the last prompt only
};

/// Reads "text[10s] | other text[5s]": prompts separated by `|`, each followed by its seconds in
/// brackets; the last may leave them out. UserError, naming --prompts-over-time and the part, for
/// anything else.
std::vector<TimedPrompt> parse_prompts_over_time(const std::string& text);

}  // namespace vmla::launch
