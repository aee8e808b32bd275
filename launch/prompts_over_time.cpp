#include "launch/prompts_over_time.h"

#include <cmath>
#include <string_view>

#include "launch/options/parse_number.h"
#include "model/io/error.h"

namespace vmla::launch {
namespace {

constexpr char kForm[] = "\"text[10s] | other text[5s]\"";

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

/// The text and the seconds of "text[10s]". None if `part` does not end in such a bracket; other
/// brackets belong to the text.
std::optional<TimedPrompt> read_timed(std::string_view part) {
  const size_t bracket = part.rfind('[');
  if (bracket == std::string_view::npos || !part.ends_with("s]")) return std::nullopt;
  const std::string_view number = part.substr(bracket + 1, part.size() - bracket - 3);
  const auto seconds = parse_number<double>(number);
  if (!seconds) return std::nullopt;
  if (!std::isfinite(*seconds) || *seconds <= 0) {
    fail_user("--prompts-over-time: '{}' lasts {} s; it must be above 0", part, number);
  }
  return TimedPrompt{std::string(trimmed(part.substr(0, bracket))), *seconds};
}

}  // namespace

std::vector<TimedPrompt> parse_prompts_over_time(const std::string& text) {
  std::vector<TimedPrompt> prompts;
  std::string_view rest = text;
  for (bool last = false; !last;) {
    const size_t bar = rest.find('|');
    last = bar == std::string_view::npos;
    const std::string_view part = trimmed(rest.substr(0, bar));
    if (!last) rest.remove_prefix(bar + 1);
    if (const auto timed = read_timed(part)) {
      prompts.push_back(*timed);
    } else if (last && !part.empty()) {
      prompts.push_back({std::string(part), std::nullopt});
    } else {
      fail_user(
          "--prompts-over-time: '{}' (prompt {}) does not say how long it lasts; the form is {}",
          part,
          prompts.size() + 1,
          kForm);
    }
  }
  return prompts;
}

}  // namespace vmla::launch
