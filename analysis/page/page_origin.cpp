#include "analysis/page/page_origin.h"

#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdlib>
#include <ctime>
#include <optional>
#include <string_view>

#include "build_commit.h"
#include "model/io/format.h"

namespace vmla::analysis {
namespace {

std::optional<std::time_t> fixed_date() {
  const char* value = std::getenv("SOURCE_DATE_EPOCH");
  if (value == nullptr) return std::nullopt;
  const std::string_view text = value;
  int64_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  return whole && seconds >= 0 ? std::optional<std::time_t>(seconds) : std::nullopt;
}

std::string date_text(std::time_t seconds) {
  std::tm utc{};
  std::array<char, 64> text{};
  if (::gmtime_r(&seconds, &utc) == nullptr) return "date unknown";
  return std::string(text.data(),
                     std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M UTC", &utc));
}

std::string host_text() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "";
  return formatted(", on {}", name.data());
}

}  // namespace

std::string page_origin() {
  const std::string commit = kBuildCommit;
  const std::optional<std::time_t> fixed = fixed_date();
  return formatted("vmla {}{}, {}{}",
                   kBuildVersion,
                   commit.empty() ? "" : ", commit " + commit,
                   date_text(fixed.value_or(std::time(nullptr))),
                   fixed ? "" : host_text());
}

}  // namespace vmla::analysis
